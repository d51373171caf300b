"""Push, export and import of an image of 8 layers, 200 MB packed: ours beside its peers and by hand. Needs root.

    python bench/image_move.py [--where tmpfs ext4] [--what push export import] [--rounds 5] [--size 200] [--no-peers]

Each is a command that ends when all is there; ours talks to its running daemon. By hand is what must be done in any
case: for a push the packed layers, to be found in files, sent by `curl`, as many at a time as we send; for an export
`tar` of the same files; for an import `tar` of the archive and `pigz -dc | tar` of each layer, two at a time. It checks
nothing, and knows beforehand what is what. The registry is Debian's, new and empty for every push, and keeps what it
gets in memory. podman and docker do not keep layers packed: to push or export they pack them anew (push) or not at all
(export), and skopeo copies from a directory and back and unpacks nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from docker_peer import Docker, mover
from image_peers import Book, Step, Where, emptied, measure, memory, nothing, orderly, place, ratios, report, verdict
from machine_image import described, machine_image
from peers import Podman, podman
from processor import Account, cgroup, inside
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.testing.imagery import Blob, OciImage
from zlayer.testing.imagery_push import push
from zlayer.testing.registry import Registry
from zlayer.testing.site import Site

OURS, HAND, PODMAN, DOCKER, SKOPEO = "zlayer", "by hand", "podman", "docker", "skopeo"
AT_ONCE = 4
"""Blobs on their way at a time, as ours has it."""
NAME = "bench/image:1"

_SEND = """set -e
at=$(curl -sSf -X POST -o /dev/null -D - "$BASE/blobs/uploads/" | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
case $at in *\\?*) at="$at&digest=$0";; *) at="$at?digest=$0";; esac
curl -sSf -o /dev/null -H 'Content-Type: application/octet-stream' -T "$1" "$at"
"""
_UNPACK = 'set -o pipefail; mkdir "$1"; pigz -dc "$0" | tar -x --numeric-owner -C "$1"'


def main(wheres: list[Where], whats: list[str], rounds: int, size: int, *, here: bool, alone: bool) -> None:
    with memory() as work, Registry(work) as source:
        made = machine_image(work, size)
        print(described(made))
        reference = push(source.target, "bench/image", "1", made)
        for where in wheres:
            with place(where, here=here), cgroup(f"zlbench-{os.getpid()}") as group, contextlib.ExitStack() as stack:
                setting = Setting(work, made, reference, group, stack, alone=alone)
                for what in whats:
                    print(f"\n{what}, on {where}, {rounds} rounds")
                    books = measure(setting.ways(what), rounds)
                    report(books, OURS)
                    _judge(what, books)


def _judge(what: str, books: dict[str, Book]) -> None:
    figure = ratios(books, HAND, OURS)
    verdict(f"{what}: throughput by that by hand", figure, ">= 0.9", good=figure >= 0.9)


class Setting:
    """The image with everybody who is to move it, a cgroup for each, and the registry of the push that is next."""

    def __init__(
        self, work: Path, made: OciImage, reference: str, group: str, stack: contextlib.ExitStack, *, alone: bool
    ) -> None:
        self.work, self.made, self.reference, self.stack = work, made, reference, stack
        self.root = Path("/tmp/peers")
        stack.callback(shutil.rmtree, self.root, ignore_errors=True)
        self.root.mkdir()
        self.files = self.root / "files"
        self.files.mkdir()
        for blob in (*made.blobs(), made.manifest):
            _file(self.files, blob).write_bytes(blob.read())
        names = (OURS, HAND, PODMAN, DOCKER, SKOPEO)
        self.accounts = {name: Account([stack.enter_context(cgroup(f"{group}/{name.split()[0]}"))]) for name in names}
        self.site = stack.enter_context(Site())
        self.podman: Podman | None
        self.docker: Docker | None
        with inside(self.accounts[OURS].names[0]):
            self.site.start()
        self.podman = self.docker = None
        if not alone:
            self._meet_peers(stack)
        self.skopeo = not alone and shutil.which("skopeo") is not None
        self.client = Client(Address(path=str(self.site.paths.socket)), timeout=120)
        self.archive = self._taken_in()
        self.target = stack.enter_context(contextlib.ExitStack())
        self.address = ""

    def _meet_peers(self, stack: contextlib.ExitStack) -> None:
        with inside(self.accounts[PODMAN].names[0]):
            engine = "runc" if shutil.which("runc") else "crun"
            self.podman = stack.enter_context(podman(self.root, self.reference, engine))
        with inside(self.accounts[DOCKER].names[0]):
            self.docker = stack.enter_context(mover(self.root))

    def _taken_in(self) -> Path:
        """An archive of the image; ours and docker get it from there, so that nobody knows a registry that has it."""
        archive = self.root / "image.tar"
        self.site.cli("pull", self.reference)
        self.site.cli("export", self.reference, "-o", str(archive))
        self.client.remove_image(self.reference)
        self.site.cli("import", str(archive), "-t", NAME)
        if self.docker is not None:
            self.docker.call("load", "-q", "-i", str(archive))
        if self.skopeo:
            copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{self.reference}"]
            subprocess.run([*copy, f"dir:{self.root / 'dir'}"], check=True)
        return archive

    def ways(self, what: str) -> dict[str, Step]:
        return {"push": self._push, "export": self._export, "import": self._import}[what]()

    def _step(self, name: str, run: Callable[[], object], prepare: Callable[[], object] = nothing) -> Step:
        return Step(run, self.accounts[name], prepare)

    def _offered(
        self, run: dict[str, Callable[[], object]], prepare: dict[str, Callable[[], object]]
    ) -> dict[str, Step]:
        there = {PODMAN: self.podman is not None, DOCKER: self.docker is not None, SKOPEO: self.skopeo}
        return {name: self._step(name, run[name], prepare.get(name, nothing)) for name in run if there.get(name, True)}

    # Push.

    def _push(self) -> dict[str, Step]:
        def to() -> str:
            return f"{self.address}/{NAME}"

        ways: dict[str, Callable[[], object]] = {
            OURS: lambda: self.site.cli("push", "-q", NAME, to()),
            HAND: self._push_by_hand,
            PODMAN: lambda: self._podman("push", "-q", "--tls-verify=false", self.reference, f"docker://{to()}"),
            DOCKER: self._push_by_docker,
            SKOPEO: lambda: _skopeo("--dest-tls-verify=false", f"dir:{self.root / 'dir'}", f"docker://{to()}"),
        }
        return self._offered(ways, dict.fromkeys(ways, self._another_registry))

    def _another_registry(self) -> None:
        self.target.close()
        directory = self.work / "target"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        self.address = self.target.enter_context(Registry(directory)).address

    def _push_by_hand(self) -> None:
        base = f"http://{self.address}/v2/bench/image"
        blobs = sorted(self.made.blobs(), key=lambda blob: -blob.size)
        words = "\n".join(word for blob in blobs for word in (blob.digest, str(_file(self.files, blob))))
        argv = ["xargs", "-n2", f"-P{AT_ONCE}", "bash", "-c", _SEND]
        subprocess.run(argv, input=words, text=True, check=True, env={**os.environ, "BASE": base})
        manifest = self.made.manifest
        put = ["curl", "-sSf", "-o", "/dev/null", "-H", f"Content-Type: {manifest.media_type}"]
        subprocess.run([*put, "-T", str(_file(self.files, manifest)), f"{base}/manifests/1"], check=True)

    def _push_by_docker(self) -> None:
        self._docker("tag", self.reference, f"{self.address}/{NAME}")
        self._docker("push", "-q", f"{self.address}/{NAME}")
        self._docker("rmi", f"{self.address}/{NAME}")

    # Export.

    def _export(self) -> dict[str, Step]:
        out = self.root / "out.tar"
        gone = lambda: out.unlink(missing_ok=True)  # noqa: E731
        ways: dict[str, Callable[[], object]] = {
            OURS: lambda: self.site.cli("export", NAME, "-o", str(out)),
            HAND: lambda: subprocess.run(["tar", "-cf", out, "-C", self.files, "."], check=True),
            PODMAN: lambda: self._podman("save", "-q", "-o", str(out), self.reference),
            DOCKER: lambda: self._docker("save", "-o", str(out), self.reference),
            SKOPEO: lambda: _skopeo(f"dir:{self.root / 'dir'}", f"oci-archive:{out}"),
        }
        return self._offered(ways, dict.fromkeys(ways, gone))

    # Import.

    def _import(self) -> dict[str, Step]:
        by_hand = self.root / "by-hand"
        ways: dict[str, Callable[[], object]] = {
            OURS: lambda: self.site.cli("import", "-q", str(self.archive), "-t", NAME),
            HAND: lambda: self._import_by_hand(by_hand),
            PODMAN: lambda: self._podman("load", "-q", "-i", str(self.archive)),
            DOCKER: lambda: self._docker("load", "-q", "-i", str(self.archive)),
            SKOPEO: lambda: _skopeo(f"oci-archive:{self.archive}", f"dir:{by_hand}"),
        }
        forget: dict[str, Callable[[], object]] = {
            OURS: self._forget,
            HAND: emptied(by_hand),
            PODMAN: lambda: self._podman("rmi", "-fa"),
            DOCKER: lambda: self._docker("image", "prune", "-af"),
            SKOPEO: emptied(by_hand),
        }
        return self._offered(ways, forget)

    def _forget(self) -> None:
        for one in self.client.images():
            self.client.remove_image(one.reference)

    def _import_by_hand(self, target: Path) -> None:
        subprocess.run(["tar", "-xf", self.archive, "-C", target], check=True)
        ordered = sorted(self.made.layers, key=lambda layer: -layer.blob.size)
        sources = (target / "blobs" / layer.blob.digest.replace(":", "/") for layer in ordered)
        words = "\n".join(word for n, source in enumerate(sources) for word in (str(source), str(target / f"l{n}")))
        subprocess.run(["xargs", "-n2", "-P2", "bash", "-c", _UNPACK], input=words, text=True, check=True)

    def _podman(self, *args: str) -> None:
        assert self.podman is not None
        self.podman.outside(*args)

    def _docker(self, *args: str) -> None:
        assert self.docker is not None
        self.docker.call(*args)


def _file(directory: Path, blob: Blob) -> Path:
    return directory / blob.digest.rpartition(":")[2]


def _skopeo(*args: str) -> None:
    subprocess.run(["skopeo", "copy", "-q", *args], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", nargs="+", choices=["tmpfs", "ext4"], default=["tmpfs", "ext4"])
    parser.add_argument("--what", nargs="+", choices=["push", "export", "import"], default=["push", "export", "import"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=200, help="MB (10^6), packed")
    parser.add_argument("--no-peers", action="store_true", help="only ours and what is done by hand")
    parser.add_argument("--here", action="store_true", help="on /tmp as it is, journal or not")
    given = parser.parse_args()
    orderly()
    main(given.where, given.what, given.rounds, given.size, here=given.here, alone=given.no_peers)
