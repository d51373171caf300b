"""Layers made by mmdebstrap and by apt in a chroot, cached as compressed archives."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from zlayer.model.errors import Failed, Unsupported
from zlayer.testing.debian_recipes import Recipe
from zlayer.testing.imagery import Layer, layer_from_file
from zlayer.testing.imagery_tar import write_tree

_VERSION = 1
"""Part of every key: raise it when the way layers are made changes."""
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")

_INSTALL = """
set -eu
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
for file in /etc/resolv.conf /etc/hosts; do
    if [ -e "$ROOT$file" ]; then mount --bind "$file" "$ROOT$file"; fi
done
printf '#!/bin/sh\\nexit 101\\n' > "$ROOT/usr/sbin/policy-rc.d"
chmod 0755 "$ROOT/usr/sbin/policy-rc.d"
exec chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \\
    PACKAGES="$PACKAGES" sh -euc "
        $PREPARE
        apt-get -qq update
        apt-get -qq install -y --no-install-recommends \\$PACKAGES
        apt-get clean
        $CONFIGURE
        rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old
        rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /tmp/*
    "
"""


class LayerCache:
    """Layers in `directory`: `<name>-<key>.tar.gz` and beside it a JSON with the digests. Safe in many processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def base(self) -> Layer:
        """Debian's required packages and apt, of the suite this machine runs."""
        sources = _apt_sources()
        key = [_suite(), platform.machine(), *(path.read_text() for path in sources)]
        return self._cached("debian", key, lambda work: _bootstrap(work / "tree", sources))

    def of(self, recipe: Recipe) -> Layer:
        """The recipe's packages over `base`."""
        base = self.base()
        key = [base.diff_id, json.dumps(asdict(recipe), sort_keys=True)]
        return self._cached(recipe.name, key, lambda work: _install(recipe, base, work))

    def _cached(self, name: str, key: Sequence[str], make: Callable[[Path], Path]) -> Layer:
        digest = hashlib.sha256(json.dumps([_VERSION, *key]).encode()).hexdigest()[:16]
        archive = self._directory / f"{name}-{digest}.tar.gz"
        notes = archive.with_suffix(".json")
        self._directory.mkdir(parents=True, exist_ok=True)
        with _locked(self._directory / f"{name}.lock"):
            if not notes.exists():
                _check_machine()
                with tempfile.TemporaryDirectory(prefix="zl", dir=self._directory) as work:
                    digests = Path(work) / "digests"
                    digests.write_text(json.dumps(_pack(make(Path(work)), archive)))
                    digests.rename(notes)
            said = json.loads(notes.read_text())
        return layer_from_file(archive, said["diff_id"], said["digest"])


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise Unsupported("images are made from Debian packages by root only", hint="Run it as root.")
    if shutil.which("mmdebstrap") is None:
        raise Unsupported("mmdebstrap is not installed", hint="apt-get install mmdebstrap")


def _suite() -> str:
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME")
    if release.get("ID") != "debian" or not suite:
        raise Unsupported("Debian images are made on Debian only", hint="Use a Debian machine or container.")
    return suite


def _apt_sources() -> list[Path]:
    """The machine's sources that name its own suite: not those of other vendors."""
    folder = Path("/etc/apt/sources.list.d")
    found = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    sources = [path for path in found if path.exists() and _suite() in path.read_text()]
    if not sources:
        raise Unsupported(f"no apt source of this machine names {_suite()}", hint="See /etc/apt/sources.list.d.")
    return sources


def archive_of_packages(packages: Sequence[str], archive: Path) -> None:
    """A root file system as mmdebstrap writes it, in a tar: the packages unpacked, nothing set up.

    Errors: `Unsupported` where it cannot be made, `Failed` when it is not.
    """
    _check_machine()
    options = ["--mode=root", "--variant=extract", "--format=tar", "--quiet", f"--include={','.join(packages)}"]
    settings = sorted(Path("/etc/apt/apt.conf.d").glob("*"))
    options += [f"--aptopt={path}" for path in settings if "Acquire::" in path.read_text()]
    _run(["mmdebstrap", *options, _suite(), str(archive), *map(str, _apt_sources())])


def _bootstrap(tree: Path, sources: Sequence[Path]) -> Path:
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    settings = sorted(Path("/etc/apt/apt.conf.d").glob("*"))
    options += [f"--aptopt={path}" for path in settings if "Acquire::" in path.read_text()]
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--quiet", *options]
    _run([*command, _suite(), str(tree), *map(str, sources)])
    for name in ("etc/resolv.conf", "etc/hosts", "etc/hostname"):
        (tree / name).write_text("")
    return tree


def _install(recipe: Recipe, base: Layer, work: Path) -> Path:
    """apt in an overlay over the base; what it wrote is the layer. The mounts die with their namespace."""
    lower, upper, root = work / "lower", work / "upper", work / "root"
    for path in (lower, upper, root, work / "work"):
        path.mkdir(mode=0o755)
    assert isinstance(base.blob.content, Path)
    _run(["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xzf", str(base.blob.content), "-C", str(lower)])
    for name, text in recipe.files.items():
        file = upper / name
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    environment = {
        "LOWER": str(lower), "UPPER": str(upper), "WORK": str(work / "work"), "ROOT": str(root),
        "PACKAGES": " ".join(recipe.packages), "PREPARE": recipe.prepare, "CONFIGURE": recipe.configure,
    }  # fmt: skip
    unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    _run([*unshared, "sh", "-c", _INSTALL], {**os.environ, **environment})
    return upper


def _pack(tree: Path, archive: Path) -> dict[str, str]:
    """Write `tree` as a gzip layer to `archive`, whole or not at all; returns the digests."""
    partial = archive.with_suffix(".partial")
    with partial.open("wb") as out:
        sink = Sink(out.write)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            write_tree(tar, tree)
        sink.finish()
    partial.rename(archive)
    return {"diff_id": f"sha256:{sink.raw.hexdigest()}", "digest": f"sha256:{sink.packed.hexdigest()}"}


class Sink:
    """Compress what is written, and hash it before and after."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self._write = write
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
        self.raw, self.packed = hashlib.sha256(), hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.raw.update(data)
        self._forward(self._gzip.compress(data))
        return len(data)

    def finish(self) -> None:
        self._forward(self._gzip.flush())

    def _forward(self, data: bytes) -> None:
        self.packed.update(data)
        self._write(data)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr).decode(errors="replace").strip()[-2000:]
        raise Failed(f"{command[0]} failed with {done.returncode}:\n{tail}", hint="Is the package archive reachable?")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
