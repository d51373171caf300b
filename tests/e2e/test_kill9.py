"""kill -9 of the daemon at random moments: after each restart what is wanted is what is there, and nothing else.

`ZLAYER_KILL_ROUNDS` sets how many rounds (20 by default; 50 is the figure of the acceptance), `ZLAYER_KILL_SEED`
replays a run: the seed is printed, and stands in every failure.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zlayer.client.client import Client
from zlayer.client.results import Deployment
from zlayer.client.transport import Address
from zlayer.model.errors import NotFound
from zlayer.testing.imagery_push import Target, push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.ledger import held, imbalance, owed
from zlayer.testing.site import Site, deployment, service

ROUNDS = int(os.environ.get("ZLAYER_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("ZLAYER_KILL_SEED", str(random.SystemRandom().randrange(10**6))))
SERVE = {"entrypoint": ["sh", "-c"], "args": ["echo born; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}
BELL = "echo waiting; trap 'echo rang; exit 7' USR1; while :; do sleep 9 & wait $!; done"
ENDS = "echo x >> /out/{0}; echo said-{0}; sleep 0.{1}; exit 3"
ANSWERS = {0, 1, 3, 7, 125, 255}
"""Done, failed, the one-off's own, no daemon, no one-off, a code nobody knows; never a complaint about our input."""
PATIENCE = 60.0

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(60 + 15 * ROUNDS)]


@dataclass(frozen=True)
class Wish:
    """What is wanted of deployment `shop`; no replicas: it is not there."""

    replicas: int
    version: int


@dataclass(frozen=True)
class Move:
    """A command, and what is wanted once it is accepted. `keeps`: replicas it must not touch."""

    name: str
    argv: tuple[str, ...]
    after: Wish
    keeps: Callable[[int], bool]


class Drill:
    """One daemon that is killed again and again, with what must be true in between."""

    def __init__(self, site: Site, image: str, target: Target) -> None:
        self.site, self.image, self.target = site, image, target
        self.images: dict[int, str] = {}
        """By version: every other change is one of image, which is pulled while the daemon dies."""
        self.chance = random.Random(SEED)
        self.wish = Wish(0, 1)
        self.out = site.root / "out"
        self.out.mkdir()
        self.api = Client(Address(path=str(site.paths.socket)), timeout=20)
        self.accepted: Counter[str] = Counter()
        self.cut_off = 0
        self.said = ""
        """What happens in this round, for failures."""

    # the moves

    def move(self, number: int) -> Move:
        now = self.wish
        if now.replicas == 0:
            return self.up("up", Wish(self.chance.randint(1, 3), now.version))
        kind = self.chance.choice(("up", "grow", "shrink", "change", "change", "run", "run --rm", "down"))
        if kind in ("run", "run --rm"):
            script = ENDS.format(number, self.chance.randint(0, 5))
            argv = (*kind.split(), "--name", "once", "-v", f"{self.out}:/out", self.image, "sh", "-c", script)
            return Move(kind, argv, now, lambda slot: True)
        if kind == "down":
            return Move(kind, ("down", "shop"), Wish(0, now.version), lambda slot: False)
        if kind == "change":
            return self.up(kind, Wish(now.replicas, now.version + 1))
        if kind == "up":
            return self.up("no-op up", now)
        count = now.replicas + self.chance.randint(1, 2) if kind == "grow" else max(1, now.replicas - 1)
        return Move(
            kind,
            ("scale", "--deployment", "shop", "--wait", f"web={count}"),
            Wish(count, now.version),
            lambda slot: slot <= min(count, now.replicas),
        )

    def up(self, kind: str, after: Wish) -> Move:
        changed = after.version != self.wish.version
        web = service(self.image_of(after.version), after.replicas, command=SERVE, env={"VERSION": str(after.version)})
        path = self.site.write(deployment("shop", web=web), f"shop-{after.version}.yml")
        return Move(kind, ("up", "-d", path), after, lambda slot: not changed)

    def image_of(self, version: int) -> str:
        base = version - version % 2
        if base and base not in self.images:
            made = busybox_image(files={"version": str(base).encode(), "filler": os.urandom(1 << 20)})
            self.images[base] = push(self.target, f"kill/{SEED}", str(base), made)
        return self.images.get(base, self.image)

    # a round

    def round(self, number: int) -> None:
        move = self.move(number)
        bell = self.hang_bell() if self.chance.random() < 0.4 else None
        before = self.api_instances()
        delay = self.chance.choice((0.15, 0.5, 1.5)) * self.chance.random()
        self.said = f"seed {SEED}, round {number}: kill after {delay:.3f} s of zlayer {' '.join(move.argv[:2])}"
        with (self.site.root / "command.out").open("w+") as output:
            command = subprocess.Popen(
                self.site.argv(*move.argv), env=self.environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
            with suppress(subprocess.TimeoutExpired):
                command.wait(delay)
            done = command.returncode
            self.site.kill()
            if bell is not None:
                os.kill(int(bell["pid"]), signal.SIGUSR1)
            if self.chance.random() < 0.25:
                self.stumble()
            self.site.start()
            code = self.ended(command)
        self.said += f" (it answered {done} before, {code} at last)"
        assert code in ANSWERS, f"{self.said}: {self.command_output()}"
        self.wish = self.settled(move, acknowledged=done == 0 and not move.name.startswith("run"))
        self.accepted[move.name] += self.wish == move.after
        self.cut_off += done is None
        self.untouched(before, move)
        if move.name.startswith("run"):
            self.check_run(number, removed="--rm" in move.argv)
        if bell is not None:
            self.check_bell(bell)
        self.balance()
        print(self.said)

    def stumble(self) -> None:
        """A daemon that is killed on its way up."""
        daemon = subprocess.Popen(
            self.site.argv("serve"),
            env=self.site.environ,
            cwd=self.site.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(0.4 + 0.8 * self.chance.random())
        daemon.kill()
        daemon.wait()
        self.said += ", and killed again as it started"

    @property
    def environ(self) -> dict[str, str]:
        """Told where the daemon is, a command does not start one of its own."""
        return {**self.site.environ, "ZLAYER_HOST": f"unix://{self.site.paths.socket}"}

    def ended(self, command: subprocess.Popen[bytes]) -> int:
        try:
            return command.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait()
            raise AssertionError(f"{self.said}: the command hangs\n{self.command_output()}") from None

    def command_output(self) -> str:
        return (self.site.root / "command.out").read_text()

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > deadline:
                shown = "\n".join(str(one) for one in self.api_instances().values())
                raise AssertionError(f"{self.said}: not {what}\n{shown}\n{self.site.log()}\n{self.command_output()}")
            time.sleep(0.03)

    def api_instances(self) -> dict[str, dict[str, Any]]:
        return {one.id: {name: getattr(one, name) for name in FIELDS} for one in self.api.containers()}

    def shop(self) -> Deployment | None:
        try:
            return self.api.deployment("shop")
        except NotFound:
            return None

    # what must be true after it

    def settled(self, move: Move, *, acknowledged: bool) -> Wish:
        """Desired is observed, and it is either the old wish or the new one."""

        def calm() -> bool:
            shop = self.shop()
            return shop is None or (shop.status == "running" and shop.services[0].settled)

        self.until(calm, "settled")
        shop = self.shop()
        if shop is None:
            now = Wish(0, move.after.version)
        else:
            version = self.api.spec("shop").partition('"VERSION": "')[2].partition('"')[0]
            now = Wish(shop.services[0].desired, int(version))
            slots = sorted(i["replica"] for i in self.api_instances().values() if self.serves(i, "shop"))
            assert slots == list(range(1, now.replicas + 1)), f"{self.said}: replicas {slots} of {now}"
        allowed = {move.after} if acknowledged else {self.wish, move.after}
        if now.replicas == 0:
            assert any(wish.replicas == 0 for wish in allowed), f"{self.said}: shop is gone, {allowed} were wanted"
            return Wish(0, max(wish.version for wish in allowed))
        assert now in allowed, f"{self.said}: {now} is none of {allowed}"
        return now

    @staticmethod
    def serves(one: dict[str, Any], name: str) -> bool:
        return bool(one["deployment"] == name and one["state"] == "running")

    def untouched(self, before: dict[str, dict[str, Any]], move: Move) -> None:
        """What the change was not about is the same container: its id, process and start."""
        after = self.api_instances()
        accepted = self.wish == move.after
        for one in before.values():
            ours = self.serves(one, "shop") and (move.keeps(one["replica"]) or not accepted)
            if ours or self.serves(one, "steady"):
                assert one == after.get(one["id"]), f"{self.said}: was {one}, is {after.get(one['id'])}"
                assert one["id"] in Path(f"/proc/{one['pid']}/cgroup").read_text()
        if move.name == "change" and accepted and before and self.wish.replicas:
            old = {one["id"] for one in before.values() if self.serves(one, "shop")}
            assert not old & after.keys(), f"{self.said}: {old & after.keys()} were not replaced"

    def check_run(self, number: int, *, removed: bool) -> None:
        def one_offs() -> list[dict[str, Any]]:
            return [one for one in self.api_instances().values() if one["service"] == "once"]

        def over() -> bool:
            return all(one["state"] in ("exited", "failed") for one in one_offs()) and not (removed and one_offs())

        self.until(over, "over")
        marks = (self.out / str(number)).read_text() if (self.out / str(number)).exists() else ""
        assert marks in ("", "x\n"), f"{self.said}: it ran {len(marks) // 2} times"
        for one in one_offs():
            text = "".join(line.data for line in self.api.instance_logs(one["id"]))
            if marks:
                assert (one["exit_code"], text) == (3, f"said-{number}"), f"{self.said}: {one} {text!r}"
            else:
                assert one["reason"], f"{self.said}: nothing says why it did not run: {one}"
            self.site.cli("rm", one["id"])

    def hang_bell(self) -> dict[str, Any]:
        """A container that will end, with a last word, while the daemon is dead."""
        done = self.site.cli("run", "-d", "--name", "bell", self.image, "sh", "-c", BELL)
        bell = done.stdout.strip()
        self.until(lambda: [line.data for line in self.api.instance_logs(bell)] == ["waiting"], "the bell hangs")
        return self.api_instances()[bell]

    def check_bell(self, bell: dict[str, Any]) -> None:
        self.until(lambda: self.api_instances()[bell["id"]]["state"] == "exited", "the bell has ended")
        now = self.api_instances()[bell["id"]]
        assert (now["exit_code"], now["started_at"]) == (7, bell["started_at"]), f"{self.said}: {now}"
        assert [line.data for line in self.api.instance_logs(bell["id"])] == ["waiting", "rang"], self.said
        self.site.cli("rm", "bell")

    def balance(self) -> None:
        """Nothing is held but what is owed."""
        assert self.site.daemon is not None
        deadline = time.monotonic() + PATIENCE
        pids = [self.site.daemon.pid]
        paths = self.site.paths
        while wrong := imbalance(owed(paths, self.api_instances().values()), held(paths, pids)) + self.halves():
            assert time.monotonic() < deadline, f"{self.said}: leaked (+) or missing (-)\n{wrong}\n{self.site.log()}"
            time.sleep(0.05)

    def halves(self) -> str:
        """Files of pulls that are neither whole nor kept for going on."""
        blobs, layers = self.site.paths.blobs, self.site.paths.layers
        return "\n".join(f"+ {path}" for path in [*(blobs / "tmp").glob("*"), *layers.glob(".*")])


FIELDS = (
    "id",
    "deployment",
    "service",
    "replica",
    "state",
    "ip",
    "pid",
    "restarts",
    "started_at",
    "exit_code",
    "reason",
)


@pytest.fixture
def drill(busybox: str, registries: Any) -> Iterator[Drill]:  # Any: see conftest
    with Site() as site:
        site.start()
        yield Drill(site, busybox, registries.plain.target)


def test_kill_nine_at_any_moment_changes_nothing_that_is_wanted(drill: Drill) -> None:
    print(f"{ROUNDS} rounds, ZLAYER_KILL_SEED={SEED}")
    site = drill.site
    empty = site.census()
    site.cli("up", "-d", site.write(deployment("steady", rock=service(drill.image, 2, command=SERVE)), "steady.yml"))
    for number in range(ROUNDS):
        drill.round(number)
    for rock in drill.api_instances().values():
        if rock["deployment"] == "steady":
            assert [line.data for line in drill.api.instance_logs(rock["id"])] == ["born"], drill.said
    print(f"accepted: {dict(drill.accepted)}; cut off: {drill.cut_off}")
    assert drill.cut_off >= ROUNDS // 4
    assert drill.accepted.total() >= ROUNDS // 4
    for name in site.cli("ps", "-q").stdout.split():
        site.cli("down", name)
    assert site.instances() == []
    drill.said = f"seed {SEED}: at the end"
    drill.balance()
    with closing(sqlite3.connect(f"file:{site.paths.state}?mode=ro", uri=True)) as db:
        kinds = {key.split("/")[1] for (key,) in db.execute("SELECT key FROM item")}
    assert kinds - {"acme"} == {"nodes", "events", "networks"}, kinds  # one-offs keep their network
    now = site.census()
    assert (now.mounts, now.netns, now.cgroups, now.links) == (empty.mounts, empty.netns, empty.cgroups, empty.links)
    assert now.processes == empty.processes
