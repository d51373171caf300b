"""Which OCI engine really works here, found by letting each create a container that can only fail at its very end.

The container's program does not exist: an engine that gets as far as looking for it has made namespaces, cgroups,
mounts and the seccomp filter. What works is remembered in the run directory until a binary or the boot changes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anyio

from zlayer.model.errors import Unavailable, ZlayerError
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci import spawn
from zlayer.runtime.oci.config import Place, config_of
from zlayer.runtime.oci.engine import Engine
from zlayer.runtime.oci.layout import boot_id, write_whole
from zlayer.runtime.oci.site import ENGINES, Site

_ABSENT = "/zlayer-probe-absent"
_SECONDS = 20.0
_WAY = 2
"""Changes with how engines are tried: what an earlier release found is asked again."""
_INSTALL = {
    "debian": "apt install {}", "ubuntu": "apt install {}", "fedora": "dnf install {}", "rhel": "dnf install {}",
    "arch": "pacman -S {}", "alpine": "apk add {}", "suse": "zypper install {}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tools:
    """What a container is made with. `conmon` is a path."""

    engine: Engine
    conmon: str


async def find_tools(site: Site, engine: str = "auto") -> Tools:
    """The first engine that works, or the one asked for. `Unavailable` says for each why not, and how to mend it."""
    conmon = shutil.which("conmon")
    if conmon is None:
        raise Unavailable("conmon is not installed", hint=install("conmon"))
    names = ENGINES if engine == "auto" else (engine,)
    paths = {name: path for name in names if (path := shutil.which(name))}
    if not paths:
        raise Unavailable(f"no OCI engine is installed ({', '.join(names)})", hint=install("runc"))
    site.run.mkdir(parents=True, exist_ok=True, mode=0o700)
    await _sweep(site)
    cache_file = site.run / f"oci-probe-{engine}.json"
    key = _key([*paths.values(), conmon])
    if found := _remembered(cache_file, key):
        return Tools(site.engine(*found), conmon)
    reasons: list[str] = []
    for name, path in paths.items():
        candidate = site.engine(name, await _version(path))
        reason = await _try(candidate, site)
        if not reason:
            write_whole(cache_file, json.dumps({"key": key, "engine": name, "version": candidate.version}))
            return Tools(candidate, conmon)
        reasons.append(f"{candidate}: {reason}")
    others = [name for name in ("runc", "crun") if name not in paths]
    hint = install(others[0]) if others else "run as root, with cgroups mounted; `zlayer doctor` checks both"
    raise Unavailable(f"no OCI engine works here: {'; '.join(reasons)}", hint=hint)


def install(package: str, *, release: Path = Path("/etc/os-release")) -> str:
    """The command that installs a package on this distribution."""
    try:
        text = release.read_text()
    except OSError:
        text = ""
    ids = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text, re.MULTILINE)).split()
    command = next((_INSTALL[name] for name in ids if name in _INSTALL), None)
    return command.format(package) if command else f"install {package}"


async def _version(path: str) -> str:
    try:
        output = (await spawn.run([path, "--version"], timeout=_SECONDS)).output
    except ZlayerError:
        return "unknown"
    found = re.search(r"version:? (\S+)", output)
    return found[1] if found else "unknown"


async def _try(engine: Engine, site: Site) -> str:
    """Why this engine does not work here; empty when it does."""
    engine.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    bundle = Path(tempfile.mkdtemp(prefix=f"probe-{os.getpid()}-", dir=site.run))
    name = bundle.name
    try:
        (bundle / "rootfs").mkdir()
        request = CreateRequest(id=name, directory=bundle, rootfs=bundle / "rootfs", argv=(_ABSENT,))
        document = config_of(request, Place(site.cgroup_of(name), site.hierarchies))
        (bundle / "config.json").write_text(json.dumps(document))
        done = await engine.run("create", "--bundle", str(bundle), name, timeout=_SECONDS)
        if done.code == 0 or _ABSENT in done.output:
            return ""
        return engine.refusal("create", done.output).message.removeprefix(f"{engine.name}: ")
    except ZlayerError as error:
        return error.message
    finally:
        with anyio.CancelScope(shield=True):
            await _tidy(engine, site, bundle)


async def _sweep(site: Site) -> None:
    """Take away what a prober that was killed has left."""
    for bundle in site.run.glob("probe-*"):
        prober = bundle.name.split("-")[1]
        if not Path("/proc", prober).exists():
            for name in ENGINES:
                await _tidy(site.engine(name), site, bundle)


async def _tidy(engine: Engine, site: Site, bundle: Path) -> None:
    name = bundle.name
    if engine.container_state(name).exists():
        await engine.run("delete", "--force", name, timeout=_SECONDS)
    await anyio.to_thread.run_sync(site.hierarchies.remove, site.cgroup_of(name))
    shutil.rmtree(bundle, ignore_errors=True)


@cache
def _kernel() -> str:
    return Path("/proc/version").read_text()


def _key(paths: Sequence[str]) -> str:
    """Changes with every binary, the kernel and the boot (cgroups may be mounted differently)."""
    files = [(path, Path(path).stat().st_mtime_ns, Path(path).stat().st_size) for path in paths]
    return json.dumps([_WAY, files, boot_id(), _kernel()])


def _remembered(file: Path, key: str) -> tuple[str, str] | None:
    try:
        stored = json.loads(file.read_text())
        return (str(stored["engine"]), str(stored["version"])) if stored["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
