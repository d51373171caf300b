"""What the benchmarks share: a daemon of their own, an image from a real registry, and peers run as they come.

The peers get what makes them faster where they have a choice: no network for podman, a bundle made beforehand for the
bare runtime. This is a library; the figures come from its neighbours.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processor import Account, inside
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci.cgroups.hierarchy import mounted
from zlayer.runtime.oci.config import Place, config_of
from zlayer.runtime.oci.engine import to_cover
from zlayer.runtime.oci.mountspace import cover, separate
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.registry import Registry
from zlayer.testing.sandbox import Sandbox, sandbox
from zlayer.testing.site import CONFIG, Site


@dataclass(frozen=True, slots=True)
class Bench:
    """`image` is pulled already. `client` talks to the daemon's socket."""

    site: Site
    image: str
    client: Client

    @property
    def engine(self) -> str:
        """The engine it chose, which its peers get too."""
        listed = json.loads(self.site.cli("runtimes", "--format", "json").stdout)
        return str(next(each["name"] for each in listed if each["selected"]))


def shield(engine: str) -> None:
    """Let the calling thread see what this engine may, where it would refuse the machine (crun, hybrid cgroups).

    What our daemon does for its engines is done for the peers too: they could not run this engine here.
    """
    if (covered := to_cover(engine, mounted())) is not None:
        separate()
        cover(covered)


@contextmanager
def bench(engine: str = "auto") -> Iterator[Bench]:
    with Site(f'{CONFIG}runtime = "{engine}"\n') as site, Registry(site.root) as registry:
        image = push(registry.target, "bench/busybox", "1", busybox_image())
        site.start()
        site.cli("pull", image)
        yield Bench(site, image, Client(Address(path=str(site.paths.socket)), timeout=120))


class Bare:
    """`create/start/wait/delete` of an engine on a bundle made beforehand; every namespace of ours, no network."""

    def __init__(self, box: Sandbox, engine: str = "runc") -> None:
        self.box, self.engine = box, engine
        self.state = box.root / "s"
        self.state.mkdir()

    def bundle(self, request: CreateRequest) -> Path:
        bundle = request.directory / "bare"
        bundle.mkdir(parents=True)
        config = config_of(request, Place(f"/{self.box.cgroup}/{request.id}", mounted()))
        linux = config["linux"]
        if not any(n["type"] == "network" for n in linux["namespaces"]):
            linux["namespaces"].append({"type": "network"})
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def run(self, name: str, bundle: Path) -> None:
        self._call("create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), name)
        fd = os.pidfd_open(int((bundle / "pid").read_text()))
        self._call("start", name)
        select.select([fd], [], [])
        os.close(fd)
        self._call("delete", name)

    def _call(self, *args: str) -> None:
        argv = [self.engine, "--root", str(self.state), *args]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Podman:
    """podman with its own storage and the same image, in a network namespace of its own so that its rules stay there.

    `run` gives each container podman's default network, as ours gets one; `bare_run` none (its cheapest start).
    """

    def __init__(self, root: Path, image: str, engine: str = "runc") -> None:
        self.image = image
        conf = root / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{image.split("/", maxsplit=1)[0]}"\ninsecure = true\n')
        self.environ = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(conf)}
        self.netns = f"zlbench{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True)
        self._viewer = _viewer(engine)
        self._see = ["-m", "-t", str(self._viewer.pid)] if self._viewer else []
        self._podman = [
            "podman",
            "--root", str(root / "pr"), "--runroot", str(root / "pp"), "--storage-driver", "overlay",
            "--runtime", engine, "--cgroup-manager", "cgroupfs", "--events-backend", "none",
        ]  # fmt: skip
        self.argv = ["nsenter", *self._see, f"--net=/run/netns/{self.netns}", *self._podman]
        self.pull()

    def pull(self) -> None:
        """From outside the namespace: the registry listens on our loopback."""
        self.outside("pull", "-q", self.image)

    def outside(self, *args: str) -> None:
        see = ["nsenter", *self._see] if self._see else []
        argv = [*see, *self._podman, *args]
        done = subprocess.run(argv, env=self.environ, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"podman {' '.join(args)}: {done.stderr.decode()}")

    def call(self, *args: str) -> str:
        done = subprocess.run([*self.argv, *args], env=self.environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"podman {' '.join(args)}: {done.stderr}")
        return done.stdout

    def run(self, *args: str) -> None:
        self.call("run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=10000:10000", *args)

    def bare_run(self, *args: str) -> None:
        self.run("--network", "none", *args)

    def close(self) -> None:
        self.call("rm", "-fa", "-t", "0")
        self.call("rmi", "-fa")
        subprocess.run(["ip", "netns", "del", self.netns], check=True)
        if self._viewer is not None:
            self._viewer.kill()
            self._viewer.wait()


def _viewer(engine: str) -> subprocess.Popen[bytes] | None:
    """A process that holds a mount namespace in which this engine works, where it would refuse ours."""
    if (covered := to_cover(engine, mounted())) is None:
        return None
    script = f"mount -t tmpfs tmpfs {covered} && echo && exec sleep 86400"
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline(), "no mount namespace for podman"
    return process


@contextmanager
def podman(root: Path, image: str, engine: str = "runc") -> Iterator[Podman | None]:
    """None, said aloud, where podman is not installed."""
    if shutil.which("podman") is None:
        print("podman is not installed: no peer (apt-get install podman)")
        yield None
        return
    peer = Podman(root, image, engine)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def bare(engine: str = "runc") -> Iterator[Bare]:
    with sandbox() as box:
        try:
            yield Bare(box, engine)
        finally:  # the runtime never removes the parent it was given
            for parent in Path("/sys/fs/cgroup").glob(f"*/{box.cgroup}"):
                parent.rmdir()


@dataclass(frozen=True, slots=True)
class Way:
    """One of several ways to do the same. `account` counts its processor time; it runs in the first cgroup of it."""

    run: Callable[[], None]
    account: Account


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds as they passed, and of processors."""

    wall: float
    processor: float


def interleave(ways: Mapping[str, Way], rounds: int) -> dict[str, list[Spent]]:
    """What each way took, in turn and in rotating order; the first round warms up and is not counted."""
    names = list(ways)
    spent: dict[str, list[Spent]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            way = ways[name]
            with inside(way.account.names[0]):
                before, began = way.account.seconds(), time.perf_counter()
                way.run()
                wall = time.perf_counter() - began
            if number:
                spent[name].append(Spent(wall, way.account.seconds() - before))
    return spent


def table(spent: Mapping[str, Sequence[Spent]], against: str) -> None:
    """Medians, minima, and the ratio to one of them (the median of the ratios of each round); processor time alike."""
    head = f"{'median ms':>10}{'min':>8}{'ratio':>8}{'processor':>11}{'ratio':>8}"
    print(f"{'against ' + against:30}{head}   (load {os.getloadavg()[0]:.1f})")
    for name, each in spent.items():
        pairs = list(zip(each, spent[against], strict=True))
        wall, busy = [one.wall for one in each], [one.processor for one in each]
        ratios = [statistics.median(getattr(a, f) / getattr(b, f) for a, b in pairs) for f in Spent.__slots__]
        print(f"{name:30}{statistics.median(wall) * 1e3:10.1f}{min(wall) * 1e3:8.1f}{ratios[0]:8.2f}", end="")
        print(f"{statistics.median(busy) * 1e3:11.1f}{ratios[1]:8.2f}")


__all__ = ["Bare", "Bench", "Podman", "Way", "bare", "bench", "interleave", "podman", "shield", "table"]
