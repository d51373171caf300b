"""Layers unpacked in other processes: the same outcome, and nobody left behind, whoever dies when."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore, Partial, alive
from zlayer.image.unpack import Unpacked, unpack_here
from zlayer.image.unpackers import Unpackers, can_start
from zlayer.model.errors import Corrupt, Failed, Unavailable
from zlayer.testing.imagery_tar import Tar

DIGEST = "sha256:" + "0" * 64
NOISE = random.Random(7).randbytes(6 << 20)
RAW = Tar().file("deep/a", NOISE).directory("d").file("d/\udcff", b"name").finish()

pytestmark = pytest.mark.skipif(not can_start(), reason="no pidfd_open on this kernel")


class Arriving:
    """A download into `partial`, a piece at each call; `then` runs when so many bytes have come."""

    def __init__(self, partial: Partial, body: bytes, then: Callable[[], None] = lambda: None, at: int = 0) -> None:
        self._partial, self._body, self._then, self._when = partial, body, then, at
        self.position = 0

    def readinto(self, buffer: memoryview, /) -> int:
        if self.position >= self._when:
            self._when = sys.maxsize
            self._then()
        piece = self._body[self.position : self.position + 300_000]
        self._partial.append(memoryview(piece))
        self.position += len(piece)
        return len(piece)


@pytest.fixture
def unpackers() -> Iterator[Unpackers]:
    made = Unpackers()
    yield made
    made.close()


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[Partial]:
    with BlobStore(tmp_path / "blobs").partial(DIGEST) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (made := tmp_path / "target").mkdir()
    return made


def here(body: bytes, tmp_path: Path) -> Unpacked:
    (target := tmp_path / "here").mkdir()
    with BlobStore(tmp_path / "other").partial(DIGEST) as partial:
        partial.append(memoryview(body))
        return unpack_here(partial, None, target, lambda _: None)


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_the_outcome_is_that_of_this_process(
    unpackers: Unpackers, partial: Partial, target: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(RAW)
    done = unpackers(partial, Arriving(partial, body), target, lambda _: None)
    wanted = here(body, tmp_path)
    assert (done.diff_id, done.marks) == (wanted.diff_id, wanted.marks)
    assert done.seal["entries"] == wanted.seal["entries"] == 4
    assert (target / "deep/a").read_bytes() == NOISE
    assert (target / "d/\udcff").read_bytes() == b"name"


def test_what_is_here_whole_needs_no_download(unpackers: Unpackers, partial: Partial, target: Path) -> None:
    partial.append(memoryview(gzip.compress(RAW)))
    assert unpackers(partial, None, target, lambda _: None).seal["entries"] == 4


def test_several_at_once(unpackers: Unpackers, tmp_path: Path) -> None:
    done: list[Unpacked] = []

    def one(number: int) -> None:
        (target := tmp_path / f"t{number}").mkdir()
        with BlobStore(tmp_path / "blobs").partial(f"sha256:{number:064}") as partial:
            done.append(unpackers(partial, Arriving(partial, gzip.compress(RAW)), target, lambda _: None))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.diff_id for one in done}) == 1
    assert len(done) == 4


def test_a_bad_archive_ends_the_download_early(unpackers: Unpackers, partial: Partial, target: Path) -> None:
    arriving = Arriving(partial, b"no archive" * 4_000_000, lambda: time.sleep(0.5), at=20_000_000)
    with pytest.raises(Corrupt, match="checksum"):
        unpackers(partial, arriving, target, lambda _: None)
    assert arriving.position < 40_000_000


def test_a_download_that_fails_leaves_no_process(unpackers: Unpackers, partial: Partial, target: Path) -> None:
    def fail() -> None:
        assert len(below(os.getpid())) >= 2
        raise Unavailable("the line is cut")

    with pytest.raises(Unavailable, match="cut"):
        unpackers(partial, Arriving(partial, gzip.compress(RAW), fail, at=4_000_000), target, lambda _: None)
    assert not [pid for pid in below(os.getpid()) if str(target) in targets(pid)]


def test_a_process_that_is_killed_is_told(partial: Partial, target: Path) -> None:
    unpackers, nursery = started()

    def kill() -> None:
        (victim,) = below(nursery)
        os.kill(victim, signal.SIGKILL)

    with pytest.raises(Failed, match="ended before it was done"):
        unpackers(partial, Arriving(partial, gzip.compress(RAW), kill, at=4_000_000), target, lambda _: None)
    unpackers.close()


def test_without_its_nursery_it_fails_and_does_not_hang(partial: Partial, target: Path) -> None:
    unpackers, nursery = started()
    os.kill(nursery, signal.SIGKILL)
    os.waitpid(nursery, 0)
    with pytest.raises(Failed):
        unpackers(partial, Arriving(partial, gzip.compress(RAW)), target, lambda _: None)
    unpackers.close()


_KILLED = """
import os, pathlib, sys, time
from zlayer.image.blobs import BlobStore
from zlayer.image.unpackers import Unpackers
unpackers = Unpackers()
root = pathlib.Path(sys.argv[1])
(root / "t").mkdir()
class Arriving:
    def readinto(self, buffer):
        print("at it", flush=True)
        time.sleep(60)
with BlobStore(root / "b").partial("sha256:" + "0" * 64) as partial:
    unpackers(partial, Arriving(), root / "t", lambda _: None)
"""


def test_none_outlives_a_pull_that_is_killed(tmp_path: Path) -> None:
    pull = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert pull.stdout is not None
    assert pull.stdout.readline() == b"at it\n"
    children = below(pull.pid)
    assert len(children) == 2
    os.kill(pull.pid, signal.SIGKILL)
    pull.wait()
    pull.stdout.close()
    for _ in range(500):
        if not any(map(alive, children)):
            return
        time.sleep(0.01)
    raise AssertionError(f"still there: {children}")


def started() -> tuple[Unpackers, int]:
    """With the process id of its nursery: other tests of this process have children too."""
    before = set(below(os.getpid(), deep=False))
    unpackers = Unpackers()
    (nursery,) = set(below(os.getpid(), deep=False)) - before
    return unpackers, nursery


def below(pid: int, *, deep: bool = True) -> list[int]:
    """The processes that `pid` has started and that live, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            if alive(child):
                found += [child, *(below(child) if deep else ())]
    return found


def targets(pid: int) -> list[str]:
    """What its descriptors lead to."""
    try:
        return [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return []
