"""Finding an engine that works: the first that does, remembered, and why the others do not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.model.errors import Unavailable
from zlayer.runtime.oci import probe
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.site import Site, _which

pytestmark = pytest.mark.anyio

WORKS = 'exec: "/zlayer-probe-absent": no such file'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty PATH of our own, but for a shell."""
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("sh", "echo"):
        (path / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(path))
    _which.cache_clear()
    yield path
    _which.cache_clear()


def put(programs: Path, name: str, says: str = "") -> None:
    (programs / name).write_text(
        f"#!/bin/sh\necho {name} >> {programs}/calls\ncase $1 in --version) echo {name} version 1.2;; "
        f"*) echo '{says}'; exit 1;; esac\n"
    )
    (programs / name).chmod(0o755)


def calls(programs: Path) -> list[str]:
    return (programs / "calls").read_text().split() if (programs / "calls").exists() else []


async def test_the_first_that_works_and_then_from_memory(programs: Path, tmp_path: Path) -> None:
    put(programs, "conmon")
    put(programs, "crun", "cgroups in hybrid mode not supported")
    put(programs, "runc", WORKS)
    site = Site(tmp_path / "run", "zl-none", Hierarchies())
    tools = await probe.find_tools(site)
    assert str(tools.engine) == "runc 1.2"
    before = len(calls(programs))
    assert await probe.find_tools(site) == tools
    assert len(calls(programs)) == before
    (programs / "runc").touch()
    assert await probe.find_tools(site) == tools
    assert len(calls(programs)) > before


async def test_none_works_and_each_says_why(programs: Path, tmp_path: Path) -> None:
    put(programs, "conmon")
    put(programs, "crun", "unknown version")
    with pytest.raises(Unavailable, match=r"crun 1\.2: unknown version") as caught:
        await probe.find_tools(Site(tmp_path / "run", "zl-none", Hierarchies()))
    assert "runc" in caught.value.hint


async def test_nothing_installed(programs: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "run", "zl-none", Hierarchies())
    with pytest.raises(Unavailable, match="conmon"):
        await probe.find_tools(site)
    put(programs, "conmon")
    with pytest.raises(Unavailable, match="youki"):
        await probe.find_tools(site, "youki")


def test_how_to_install(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('NAME="x"\nID=mint\nID_LIKE="ubuntu debian"\n')
    assert probe.install("crun", release=release) == "apt install crun"
    release.write_text("ID=fedora\n")
    assert probe.install("crun", release=release) == "dnf install crun"
    assert probe.install("crun", release=tmp_path / "no") == "install crun"


def ended_pid() -> int:
    with subprocess.Popen(["/bin/true"]) as process:
        return process.pid


async def test_what_a_killed_prober_left_is_taken_away(programs: Path, tmp_path: Path) -> None:
    put(programs, "conmon")
    put(programs, "crun", WORKS)
    site = Site(tmp_path / "run", "zl-none", Hierarchies())
    dead, living = (site.run / f"probe-{pid}-x" for pid in (ended_pid(), os.getpid()))
    for bundle in (dead, living):
        bundle.mkdir(parents=True)
        (bundle / "config.json").touch()
    await probe.find_tools(site)
    assert not dead.exists()
    assert living.exists()
