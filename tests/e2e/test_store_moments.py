"""kill -9 and a full disk at random moments of pull, import, making a layer and collection.

After each: the store verifies clean or is repaired, the same command succeeds, and once its image is removed (or it
was given up) and the rest pruned, the store holds and weighs what it did before. `ZLAYER_STORE_ROUNDS` sets how many
rounds (20 by default; 200 is the acceptance), `ZLAYER_STORE_SEED` replays a run: it is printed, and in every failure.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from zlayer.image.stock import tree_size
from zlayer.model.errors import Unsupported
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import FaultyRegistry
from zlayer.testing.small_site import SmallSite

ROUNDS = int(os.environ.get("ZLAYER_STORE_ROUNDS", "20"))
SEED = int(os.environ.get("ZLAYER_STORE_SEED", str(random.SystemRandom().randrange(10**6))))
DISK = 80 << 20
TOLERANCE = 256 << 10
"""Bytes by which the file system may weigh more: blocks of directories that have grown stay theirs."""
GIVEN_UP = 0.25
"""Part of the rounds in which nobody tries again: what was begun must go all the same."""
PATIENCE = 240.0
NO_SPACE = ("space", "full")
STAY = "trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"
STRIKES = ("kill the daemon", "kill the worker", "fill the disk")

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600 + 20 * ROUNDS)]


@dataclass(frozen=True)
class Move:
    """A command, the image it is about, and what tells that it is there: the sha256 of `big` in its top layer."""

    name: str
    argv: tuple[str, ...]
    image: str
    marks: tuple[tuple[str, str], ...]
    """Diff id, and the sha256 of the file `big` in it."""
    setup: tuple[str, ...] = ()

    @property
    def collects(self) -> bool:
        return bool(self.setup)


@dataclass(frozen=True)
class Cost:
    """What a move takes undisturbed: seconds and bytes."""

    seconds: float
    size: int


class Drill:
    """One small daemon, one image that stays, and moves that are struck."""

    def __init__(self, site: SmallSite, registry: FaultyRegistry) -> None:
        self.site = site
        self.chance = random.Random(SEED)
        self.said = f"seed {SEED}: before the first round"
        base = busybox_image()
        self.kept = registry.hold("kept", "1", base)
        site.start()
        site.cli("run", "-d", "--name", "rock", self.kept, "sh", "-c", STAY)  # what runs is not given back
        self.moves = self._moves(registry, base)
        self.struck: Counter[tuple[str, str]] = Counter()
        self.repaired = 0
        self.costs = {move.name: self._cost(move) for move in self.moves}
        self._tidy()
        self.rooms, self.weight = self._rooms(), self._weight()

    def _moves(self, registry: FaultyRegistry, base: OciImage) -> Sequence[Move]:
        root = self.site.root
        big, small = os.urandom(3 << 20), Tar()
        for number in range(1200):
            small.file(f"many/{number % 40}/{number}", os.urandom(300))
        layers = [layer(Tar().file("big", big)), layer(small, "zstd"), layer(Tar().file("x", big[: 1 << 20]), "none")]
        pulled = registry.hold("team/big", "1", image([*base.layers, *layers], {"Cmd": ["sh"]}))
        marks = ((layers[0].diff_id, hashlib.sha256(big).hexdigest()),)
        self.site.cli("pull", pulled)
        archive, tree = root / "big.tar", root / "tree.tar"
        self.site.cli("export", pulled, "-o", str(archive))
        self.site.cli("image", "rm", pulled)
        made = os.urandom(4 << 20)
        tar = Tar().file("big", made)
        for number in range(600):
            tar.file(f"many/{number}", os.urandom(200))
        tree.write_bytes(raw := tar.finish())
        tree_mark = ((f"sha256:{hashlib.sha256(raw).hexdigest()}", hashlib.sha256(made).hexdigest()),)
        imported = ("import", str(archive), "-t", "imported:1")
        return (
            Move("pull", ("pull", pulled), pulled, marks),
            Move("import", imported, "imported:1", marks),
            Move("make a layer", ("import", str(tree), "--rootfs", "-t", "made:1"), "made:1", tree_mark),
            Move("remove", ("image", "rm", "imported:1"), "imported:1", (), imported),
            Move("prune", ("system", "prune", "-a"), "imported:1", (), imported),
        )

    def _cost(self, move: Move) -> Cost:
        if move.collects:
            self.site.cli(*move.setup)
        free, began = self.site.free, time.monotonic()
        self.site.cli(*move.argv)
        cost = Cost(time.monotonic() - began, free - self.site.free)
        self._check_there(move)
        self._tidy()
        return cost

    # a round

    def round(self, number: int) -> None:
        move = self.moves[number % len(self.moves)]
        strikes = [strike for strike in STRIKES if not (move.collects and "worker" in strike)]
        strike = self.chance.choice(strikes)
        if move.collects:
            self.site.cli(*move.setup)
        self.said = f"seed {SEED}, round {number}: {move.name}, {strike}"
        cost = self.costs[move.name]
        if strike == "fill the disk":
            self._filled(move, int(self.chance.random() * 1.15 * max(cost.size, 0)))
        elif strike == "kill the daemon":
            self._killed(move, self.chance.uniform(0.4 if move.collects else 0.2, 1.1) * cost.seconds)
        else:
            self._orphaned(move, self.chance.random() * cost.seconds * 0.6)
        self.site.until(lambda: not self._workers(), f"{self.said}: workers have gone")
        self.site.until(lambda: not self._scraps(), f"{self.said}: scraps have gone: {self._scraps()}")
        self._verified()
        if self.chance.random() < GIVEN_UP:
            self.said += ", given up"
        else:
            self._again(move)
            self._verified()
        self._tidy()
        self._check_back()
        print(self.said)

    def _filled(self, move: Move, left: int) -> None:
        with self.site.leaving(left) if left > 0 else self.site.full():
            done = self.site.cli(*move.argv, check=False, timeout=PATIENCE)
            self.said += f" but for {left} bytes: {done.returncode}"
        if done.returncode != 0:
            self.struck[move.name, "fill the disk"] += 1
            assert "Traceback" not in done.stderr, f"{self.said}\n{done.stderr}"
            given_back = move.collects and "no image" in done.stderr  # by the daemon, which was short of space
            assert given_back or any(word in done.stderr for word in NO_SPACE), (
                f"{self.said}\n{done.stderr}\n{self.site.log()}"
            )

    def _killed(self, move: Move, delay: float) -> None:
        with self._going(move) as command:
            try:
                command.wait(delay)
            except subprocess.TimeoutExpired:
                self.struck[move.name, "kill the daemon"] += 1
            self.site.kill()
            self._ended(command)
        self.said += f" after {delay:.3f} s: {command.returncode}"
        self.site.start(within=PATIENCE)

    def _orphaned(self, move: Move, delay: float) -> None:
        with self._going(move) as command:
            while command.poll() is None and not self._workers():
                time.sleep(0.002)
            time.sleep(delay)  # the moment is what is tried
            for pid in self._workers():
                os.kill(pid, signal.SIGKILL)
                self.struck[move.name, "kill the worker"] += 1
            self._ended(command)
        self.said += f" after {delay:.3f} s: {command.returncode}"

    @contextmanager
    def _going(self, move: Move) -> Iterator[subprocess.Popen[bytes]]:
        environ = {**self.site.environ, "ZLAYER_HOST": f"unix://{self.site.paths.socket}"}
        with (self.site.root / "command.out").open("wb") as out:
            command = subprocess.Popen(
                self.site.argv(*move.argv), env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
            try:
                yield command
            finally:
                command.kill()
                command.wait()

    def _ended(self, command: subprocess.Popen[bytes]) -> None:
        try:
            command.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.said}: the command hangs\n{self.site.log()}") from None
        told = (self.site.root / "command.out").read_text()
        assert "Traceback" not in told, f"{self.said}\n{told}"
        assert command.returncode != 2, f"{self.said}: taken for our fault\n{told}"

    def _workers(self) -> list[int]:
        """Image workers among the children of the daemon."""
        assert self.site.daemon is not None
        found = []
        for task in Path(f"/proc/{self.site.daemon.pid}/task").iterdir():
            children = map(int, (task / "children").read_text().split())
            found += [pid for pid in children if b"zlayer.image.worker" in _command(pid)]
        return found

    # what must be true after it

    def _verified(self) -> None:
        done = self.site.cli("image", "verify", check=False)
        if done.returncode == 1 and "bad" in done.stderr:
            self.said += ", repaired"
            self.repaired += 1
            done = self.site.cli("image", "verify", "--repair", check=False)
        assert done.returncode == 0, f"{self.said}\n{done.stdout}{done.stderr}\n{self.site.log()}"
        assert self.kept in self._names(), f"{self.said}: an image nobody touched has gone"

    def _again(self, move: Move) -> None:
        there = move.image in " ".join(self._names())
        if move.name == "remove" and not there:
            return
        done = self.site.cli(*move.argv, check=False)
        assert done.returncode == 0, f"{self.said}, again: {done.stderr}\n{self.site.log()}"
        self._check_there(move)

    def _check_there(self, move: Move) -> None:
        names = " ".join(self._names())
        if move.collects:
            assert move.image not in names, f"{self.said}: {move.image} is still there"
            return
        assert move.image in names, f"{self.said}: {move.image} is not there"
        for diff_id, expected in move.marks:
            content = (self.site.paths.layers / diff_id.removeprefix("sha256:") / "diff" / "big").read_bytes()
            assert hashlib.sha256(content).hexdigest() == expected, f"{self.said}: a wrong file"

    def _tidy(self) -> None:
        for name in self._names():
            if name != self.kept:
                self.site.cli("image", "rm", name)
        self.site.cli("system", "prune")

    def _check_back(self) -> None:
        left = self._rooms() - self.rooms  # what of the kept image is missing, `image verify` has said
        assert not left, f"{self.said}: {sorted(left)} is left"
        more = self._weight() - self.weight
        assert more <= TOLERANCE, f"{self.said}: {more} bytes have not come back"

    def _names(self) -> list[str]:
        return self.site.cli("image", "ls", "-q").stdout.split()

    def _rooms(self) -> frozenset[str]:
        """Names of all that images may leave, temporary files and half downloads too; trees by their layer's name."""
        found = []
        for room in ("images", "images/tmp", "blobs/sha256", "blobs/tmp", "blobs/partial", "layers", "trust"):
            path = self.site.data / room
            found += [f"{room}/{one.name}" for one in path.iterdir()] if path.is_dir() else []
        return frozenset(found) - {"images/tmp"}

    def _scraps(self) -> list[str]:
        return [one for one in self._rooms() if "/tmp/" in one or "/." in one]

    def _weight(self) -> int:
        """Bytes taken on the file system, but for the daemon's log and state."""
        disk = os.statvfs(self.site.data)
        rooms = ("blobs", "layers", "images")
        others = [path for path in self.site.data.iterdir() if path.name not in rooms]
        rest = sum(tree_size(path) if path.is_dir() else path.lstat().st_blocks * 512 for path in others)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize - rest


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.fixture
def drill() -> Iterator[Drill]:
    with ExitStack() as stack:
        try:
            site = stack.enter_context(SmallSite(DISK))
        except Unsupported as reason:
            pytest.skip(reason.message)
        yield Drill(site, stack.enter_context(FaultyRegistry()))


def test_no_moment_harms_the_store(drill: Drill) -> None:
    print(f"{ROUNDS} rounds, ZLAYER_STORE_SEED={SEED}; {drill.costs}")
    for number in range(ROUNDS):
        drill.round(number)
    print(f"struck: {dict(drill.struck)}; repaired: {drill.repaired}")
    assert drill.struck.total() >= ROUNDS // 3, "hardly anything was cut off"
