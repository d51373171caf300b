"""Counting what is left on a machine: mounts, cgroups, network namespaces, links, nft tables, routes, processes.

A census is taken before and after, and compared. Only tests' directories and names made from a short id count, so
other work on the machine does not disturb it; `data_dir` narrows it to one daemon and what lies below its directory.
Reads only.
Links, tables and routes are those of the calling thread's network namespace.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from zlayer.model.paths import Paths
from zlayer.network.inet import PROTOCOL, routes
from zlayer.network.names import claim_priority
from zlayer.network.netlink import Netlink

CGROUPS = Path("/sys/fs/cgroup")
OURS = re.compile(r"/zl[A-Za-z0-9_]{8}(?![A-Za-z0-9_])|/pytest-of-")
"""A test's directory: `mkdtemp(prefix="zl")` or pytest's own."""
LINK = re.compile(r"zl[0-9a-f]{8}-[0-9a-f]{1,4}|v[0-9a-f]{14}")
TABLE = re.compile(r"table \w+ (zlayer_\S+)")


@dataclass(frozen=True, slots=True)
class Census:
    """Sorted names of what there is; two are equal when nothing came and nothing went."""

    mounts: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    netns: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    """Ranges that a daemon has claimed."""
    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose things count: one daemon's, or everybody's that looks like ours."""

    root: str | None
    id: str | None

    def path(self, path: str) -> bool:
        if self.root is None:
            return bool(OURS.search(path))
        return path == self.root or path.startswith(self.root + "/")

    def name(self, name: str) -> bool:
        return "zlayer" in name if self.id is None else self.id in name

    def link(self, name: str) -> bool:
        if self.id is None:
            return bool(LINK.fullmatch(name))
        return name.startswith(f"zl{self.id}-") or (name.startswith(f"v{self.id[:4]}") and bool(LINK.fullmatch(name)))

    def mentions(self, text: str) -> bool:
        return self.root in text if self.root else bool(OURS.search(text))


def snapshot_machine(data_dir: Path | None = None) -> Census:
    """What is there now: of one daemon when its data directory is given, else of everything with our names."""
    root = data_dir.resolve() if data_dir else None
    scope = Scope(str(root) if root else None, Paths(root).id if root else None)
    mounts = [(path, kind) for path, kind in _mounts() if scope.path(path)]
    return Census(
        mounts=_sorted(path for path, kind in mounts if kind != "nsfs"),
        netns=_sorted(path for path, kind in mounts if kind == "nsfs"),
        cgroups=_sorted(_cgroups(scope)),
        links=_sorted(name for _, name in socket.if_nameindex() if scope.link(name)),
        tables=_sorted(name for name in _tables() if scope.name(name)),
        routes=_sorted(_claims(scope)),
        processes=_sorted(_processes(scope)),
    )


def diff(before: Census, after: Census) -> str:
    """One line per thing that came or went, as `+ links: zl12345678`; empty when nothing did."""
    lines: list[str] = []
    for field in fields(Census):
        old, new = set(getattr(before, field.name)), set(getattr(after, field.name))
        lines += [f"+ {field.name}: {name}" for name in sorted(new - old)]
        lines += [f"- {field.name}: {name}" for name in sorted(old - new)]
    return "\n".join(lines)


def left_over(before: Census, after: Census) -> str:
    """Only what came and did not go: the leaks of what ran in between."""
    return "\n".join(line for line in diff(before, after).splitlines() if line.startswith("+"))


def _sorted(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _mounts() -> Iterator[tuple[str, str]]:
    """Mount point and file system type, octal escapes of mountinfo undone (proc(5))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        yield re.sub(r"\\(\d{3})", _unescape, head.split()[4]), tail.split()[0]


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


def _cgroups(scope: Scope) -> Iterator[str]:
    """Directories in every hierarchy named after us, and all below them."""
    for where, names, _ in os.walk(CGROUPS):
        inside = scope.name(os.path.relpath(where, CGROUPS))
        for name in names:
            path = f"{where}/{name}"
            if (inside or scope.name(name)) and not Path(path).is_symlink():
                yield path


def _tables() -> list[str]:
    try:
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        return []
    return TABLE.findall(listed.stdout)


def _claims(scope: Scope) -> Iterator[str]:
    with Netlink() as netlink:
        for route in routes(netlink):
            mine = scope.id is None or route.priority == claim_priority(scope.id)
            if route.unreachable and route.protocol == PROTOCOL and mine:
                yield f"{route.destination} metric {route.priority}"


def _processes(scope: Scope) -> Iterator[str]:
    """`pid argv` of living processes that name a data directory in argv, working directory or environment.

    The caller and its ancestors do not count: a test's own arguments and environment name its directories.
    """
    family = _ancestors()
    for entry in os.listdir("/proc"):  # noqa: PTH208 (names only)
        if not entry.isdigit() or int(entry) in family:
            continue
        try:
            if _state(entry) in "ZX":
                continue
            argv = _read(entry, "cmdline")
            told = (argv, str(Path(f"/proc/{entry}/cwd").readlink()), _data_dir(_read(entry, "environ")))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(scope.mentions(text) for text in told):
            yield f"{entry} {argv.replace(chr(0), ' ').strip()[:200]}"


def _state(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _read(pid: str, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")


def _data_dir(environ: str) -> str:
    return next((line for line in environ.split("\0") if line.startswith("ZLAYER_DATA_DIR=")), "")


def _ancestors() -> set[int]:
    family, pid = set[int](), os.getpid()
    while pid > 1:
        family.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return family
