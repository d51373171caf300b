"""Clearing away what a killed create left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import pytest

from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.layout import Layout
from zlayer.runtime.oci.site import Site
from zlayer.runtime.oci.unmaker import clear, locked

pytestmark = pytest.mark.anyio


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "c")
    made.prepare()
    return made


async def test_nothing_there_is_nothing_done(tmp_path: Path) -> None:
    await clear(Site(tmp_path / "run", "zl-none", Hierarchies()), Layout(tmp_path / "no"), "c")


async def test_a_monitor_that_holds_the_lock_is_killed(layout: Layout, tmp_path: Path) -> None:
    site = Site(tmp_path / "run", "zl-none", Hierarchies())
    state = site.engine("runc").container_state("c")
    state.mkdir(parents=True)
    with locked(layout) as fd:
        argv = ["sh", "-c", "while :; do sleep 1; done", str(layout.bundle)]
        child = subprocess.Popen(argv, pass_fds=(fd,))  # noqa: ASYNC220  # it stands for a conmon
    with pytest.raises(BlockingIOError), locked(layout):
        pass
    with anyio.fail_after(30):
        await clear(site, layout, "c")
    assert child.wait() == -9
    assert not layout.bundle.exists()
    assert not state.exists()


def test_the_lock_is_free_once_nobody_holds_it(layout: Layout) -> None:
    for _ in range(2):
        with locked(layout), pytest.raises(BlockingIOError), locked(layout):
            pass
