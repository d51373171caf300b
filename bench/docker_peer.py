"""docker over a dockerd of its own: a peer. A library, not a figure.

With docker-compose it is in a network namespace of its own; to move images it is not, but makes no network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zlayer.runtime.oci.cgroups.hierarchy import mounted

WITHIN = 60.0


class Compose:
    """`cycle` brings services up and down again; the image is local."""

    def __init__(self, root: Path, image: str, netns: str) -> None:
        self.root, self.image, self.netns = root, image, netns
        self.socket = root / "docker.sock"
        self.environ = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "COMPOSE_PROJECT_NAME": "bench"}
        self.inside = ["nsenter", f"--net=/run/netns/{netns}"]

    def call(self, *argv: str) -> str:
        done = subprocess.run(
            [*self.inside, *argv], env=self.environ, cwd=self.root, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr[-2000:]}")
        return done.stdout

    def cycle(self, services: int, replicas: int) -> tuple[float, float]:
        file = self.root / "docker-compose.json"
        shapes = {f"s{n}": {"image": self.image, "stop_grace_period": "0s"} for n in range(services)}
        file.write_text(json.dumps({"version": "3", "services": shapes}))
        scale = [word for name in shapes for word in ("--scale", f"{name}={replicas}")]
        began = time.perf_counter()
        self.call("docker-compose", "-f", str(file), "up", "-d", *scale)
        up = time.perf_counter()
        self.call("docker-compose", "-f", str(file), "down", "-t", "0")
        return up - began, time.perf_counter() - up


@contextmanager
def compose(root: Path, image: str) -> Iterator[Compose | None]:
    """None, said aloud, where dockerd or docker-compose is not installed. `image` is brought in from its registry."""
    if not (shutil.which("dockerd") and shutil.which("docker-compose")):
        print("docker-compose and dockerd are not installed: no peer (apt-get install docker.io docker-compose)")
        yield None
        return
    netns = f"zlbench-d{os.getpid()}"
    home = root / "docker"
    home.mkdir()
    subprocess.run(["ip", "netns", "add", netns], check=True)
    subprocess.run(["ip", "-n", netns, "link", "set", "lo", "up"], check=True)
    peer = Compose(home, image, netns)
    daemon = _dockerd(peer, home)
    try:
        _until_answers(peer)
        _bring(peer, home, image)
        yield peer
    finally:
        daemon.terminate()
        daemon.wait(60)
        subprocess.run(["ip", "netns", "del", netns], check=True)
        mounted().remove(f"/{netns}")


class Docker:
    """`call` runs docker's command."""

    def __init__(self, root: Path) -> None:
        self.root, self.socket = root, root / "docker.sock"
        self.environ = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}

    def call(self, *args: str) -> None:
        done = subprocess.run(["docker", *args], env=self.environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(args)}: {done.stderr[-2000:]}")


@contextmanager
def mover(root: Path) -> Iterator[Docker | None]:
    """A dockerd that pulls and loads. None, said aloud, where it is not installed. It runs in the caller's cgroup."""
    if not (shutil.which("dockerd") and shutil.which("docker")):
        print("dockerd is not installed: no peer (apt-get install docker.io)")
        yield None
        return
    home = root / "docker"
    home.mkdir()
    peer = Docker(home)
    argv = [
        "dockerd", "--data-root", str(home / "data"), "--exec-root", str(home / "exec"), "--bridge", "none",
        "-H", f"unix://{peer.socket}", "-p", str(home / "pid"), "--storage-driver", "overlay2", "--iptables=false",
        "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--log-level", "error",
    ]  # fmt: skip
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _until_answers(peer)
        yield peer
    finally:
        daemon.terminate()
        daemon.wait(60)


def _dockerd(peer: Compose, home: Path) -> subprocess.Popen[bytes]:
    argv = [
        *peer.inside, "dockerd", "--data-root", str(home / "data"), "--exec-root", str(home / "exec"),
        "-H", f"unix://{peer.socket}", "-p", str(home / "pid"), "--storage-driver", "overlay2",
        "--cgroup-parent", f"/{peer.netns}", "--bip", "10.205.0.1/24", "--log-level", "error",
    ]  # fmt: skip
    with (home / "log").open("wb") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _until_answers(peer: Compose | Docker) -> None:
    deadline = time.monotonic() + WITHIN
    while subprocess.run(["docker", "version"], env=peer.environ, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise RuntimeError((peer.root / "log").read_text()[-2000:])
        time.sleep(0.1)


def _bring(peer: Compose, home: Path, image: str) -> None:
    """By an archive: the registry listens on the host's loopback, which the daemon cannot see."""
    archive = home / "image.tar"
    copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"docker-archive:{archive}:{image}"]
    subprocess.run(copy, check=True)
    peer.call("docker", "load", "-q", "-i", str(archive))
