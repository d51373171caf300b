from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from zlayer.runtime.oci.mountspace import MountSpace, MountSpaceError, View

pytestmark = [pytest.mark.anyio, pytest.mark.root]


@pytest.fixture
def space(tmp_path: Path) -> Iterator[MountSpace]:
    with contextlib.closing(MountSpace((tmp_path,))) as space:
        yield space


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Sequence[Path]]:
    """Two file systems of ours in the test's own namespace, a file `who` in each."""
    places = [tmp_path / "one", tmp_path / "two"]
    with contextlib.ExitStack() as stack:
        for place in places:
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
            stack.callback(partial(subprocess.run, ["umount", place], check=True))
            (place / "who").write_text(place.name)
        yield places


def sh(script: str) -> str:
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout


def table() -> str:
    return Path("/proc/self/mountinfo").read_text()


async def test_only_what_is_carried_is_seen(space: MountSpace, mounts: Sequence[Path]) -> None:
    one, two = mounts
    seen = await space.run(partial(sh, f"cat {one}/who; ls {two}; cat /proc/self/mountinfo"), View(carry=[one]))
    assert seen.startswith("one")
    assert str(two) not in seen
    assert str(two) in table()
    again = await space.run(partial(sh, "cat /proc/self/mountinfo"), View())
    assert str(one) not in again  # each has a copy of its own


async def test_whole_shows_what_came_after_the_first(space: MountSpace, mounts: Sequence[Path]) -> None:
    await space.run(partial(sh, ":"), View())
    seen = await space.run(partial(sh, "cat /proc/self/mountinfo"), View(whole=True))
    assert all(str(place) in seen for place in mounts)


async def test_what_has_no_place_in_the_small_one_gets_the_whole(space: MountSpace, mounts: Sequence[Path]) -> None:
    one, two = mounts
    (one / "below").mkdir()
    seen = await space.run(partial(sh, "cat /proc/self/mountinfo"), View(carry=[one / "below"]))
    assert str(two) in seen
    seen = await space.run(partial(sh, "cat /proc/self/mountinfo"), View(carry=[one / "missing"]))
    assert str(two) in seen


@pytest.mark.parametrize("whole", [True, False])
async def test_a_covered_mount_is_empty_there_and_untouched_here(
    space: MountSpace, mounts: Sequence[Path], *, whole: bool
) -> None:
    one = mounts[0]
    view = View(carry=() if whole else [one], whole=whole, covered=one)
    assert await space.run(partial(sh, f"ls {one}; touch {one}/trace; ls {one}"), view) == "trace\n"
    assert [path.name for path in one.iterdir()] == ["who"]


async def test_it_comes_home_after_an_error(space: MountSpace, mounts: Sequence[Path], tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        await space.run(partial(sh, "exit 3"), View())
    with pytest.raises(MountSpaceError):
        await space.run(partial(sh, ":"), View(covered=tmp_path / "missing"))
    before = table()
    assert "two" in await space.run(partial(sh, f"cat {mounts[1]}/who"), View(carry=[mounts[1]]))
    assert table() == before


async def test_close_before_use_and_twice() -> None:
    space = MountSpace(())
    space.close()
    space.close()
