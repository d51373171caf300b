"""The pull of an image of 8 layers, 200 MB packed, from a registry on loopback: ours beside its peers. Needs root.

    python bench/image_pull.py [--where tmpfs ext4] [--rounds 7] [--size 200] [--here]

The image is made of this machine's files (machine_image.py); the registry keeps it in memory. Ours is `zlayer pull`
with its daemon running; podman's `podman pull`; docker's `docker pull` with a dockerd of its own. All three unpack and
check digests; all have an empty store at each round. The pipeline is `curl | pigz -dc | tar`, two layers at a time,
which checks nothing and keeps nothing; `tee` keeps the packed layer as we do. skopeo copies to a directory and does not
unpack. `on disk` is the same with a syncfs after it: ours syncs itself before it says that an image is there, the
others leave that to chance. `user` is processor time in programs, of all that was started and of the daemons.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
from pathlib import Path

from docker_peer import mover
from image_peers import Step, Where, emptied, measure, memory, orderly, pipeline, place, ratios, report, verdict
from machine_image import described, machine_image
from peers import podman
from processor import Account, cgroup, inside
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.testing.imagery import OciImage
from zlayer.testing.imagery_push import push
from zlayer.testing.registry import Registry
from zlayer.testing.site import Site

OURS, PODMAN, DOCKER = "zlayer pull", "podman pull", "docker pull"
PIPE, KEEPING, SKOPEO = "curl | pigz -dc | tar", "curl | tee | pigz -dc | tar", "skopeo copy (not unpacked)"


def main(wheres: list[Where], rounds: int, size: int, *, here: bool) -> None:
    with memory() as work, Registry(work) as registry:
        made = machine_image(work, size)
        print(described(made))
        reference = push(registry.target, "bench/image", "1", made)
        for where in wheres:
            with place(where, here=here), cgroup(f"zlbench-{os.getpid()}") as own:
                print(f"\nto {where}, {rounds} rounds")
                _on(where, Setting(registry, made, reference, own), rounds)


class Setting:
    """The image in its registry, and a cgroup for each way to pull it."""

    def __init__(self, registry: Registry, made: OciImage, reference: str, group: str) -> None:
        self.registry, self.made, self.reference, self.group = registry, made, reference, group
        self.root = Path("/tmp/peers")

    def ways(self, stack: contextlib.ExitStack) -> dict[str, Step]:
        stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.root.mkdir()
        groups = {n: Account([stack.enter_context(cgroup(f"{self.group}/{n}"))]) for n in ("z", "p", "d", "s")}
        ways = {OURS: self._ours(stack, groups["z"])}
        with inside(groups["p"].names[0]):
            engine = "runc" if shutil.which("runc") else "crun"
            if (theirs := stack.enter_context(podman(self.root, self.reference, engine))) is not None:
                ways[PODMAN] = Step(theirs.pull, groups["p"], lambda: theirs.outside("rmi", "-fa"))
        with inside(groups["d"].names[0]):
            if (docker := stack.enter_context(mover(self.root))) is not None:
                prune = lambda: docker.call("image", "prune", "-af")  # noqa: E731
                ways[DOCKER] = Step(lambda: docker.call("pull", "-q", self.reference), groups["d"], prune)
        target = self.root / "shell"
        for name, keep in ((PIPE, False), (KEEPING, True)):
            run = pipeline(self.registry, self.made, target, keep=keep)
            ways[name] = Step(run, groups["s"], emptied(target))
        if shutil.which("skopeo"):
            copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{self.reference}", f"dir:{target}"]
            ways[SKOPEO] = Step(lambda: subprocess.run(copy, check=True), groups["s"], emptied(target))
        return ways

    def _ours(self, stack: contextlib.ExitStack, account: Account) -> Step:
        site = stack.enter_context(Site())
        with inside(account.names[0]):
            site.start()
        client = Client(Address(path=str(site.paths.socket)), timeout=120)

        def forget() -> None:
            for one in client.images():
                client.remove_image(one.reference)

        return Step(lambda: site.cli("pull", self.reference), account, forget)


def _on(where: Where, setting: Setting, rounds: int) -> None:
    with contextlib.ExitStack() as stack:
        books = measure(setting.ways(stack), rounds)
    report(books, OURS)
    if where == "tmpfs":
        speed = ratios(books, PIPE, OURS)
        verdict("the pipeline's time by ours", speed, ">= 1.3", good=speed >= 1.3)
        if PODMAN in books:
            faster = ratios(books, PODMAN, OURS)
            verdict("podman's time by ours", faster, ">= 4", good=faster >= 4)
            user = ratios(books, OURS, PODMAN, "user")
            verdict("our user time by podman's", user, "<= 0.25", good=user <= 0.25)
    elif rivals := [name for name in (PODMAN, DOCKER) if name in books]:
        best = min(rivals, key=lambda name: statistics.median(books[name].wall))
        slower = statistics.median(books[OURS].wall) / statistics.median(books[best].wall)
        verdict(f"our median by that of {best}", slower, "<= 1", good=slower <= 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", nargs="+", choices=["tmpfs", "ext4"], default=["tmpfs", "ext4"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=200, help="MB (10^6), packed")
    parser.add_argument("--here", action="store_true", help="on /tmp as it is, journal or not")
    given = parser.parse_args()
    orderly()
    main(given.where, given.rounds, given.size, here=given.here)
