"""What the rig does behind the proxy, and the stage it does it on."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.testing.debian_images import default_cache
from zlayer.testing.debian_layers import LayerCache
from zlayer.testing.debian_recipes import PYTHON
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry
from zlayer.testing.site import CONFIG, Site, deployment

HERE = Path(__file__).parent
WITHIN = 60.0


@dataclass(frozen=True)
class Tally:
    """Counts of the load so far: good answers by kind, failures by kind, and the first failures in words."""

    good: Mapping[str, int]
    bad: Mapping[str, int]
    words: tuple[str, ...]
    p99: Mapping[str, float]


class Stage:
    """A deployment `rig` behind two public ports, and the load on them."""

    def __init__(self, site: Site, image: str, ports: tuple[int, int], slow: float) -> None:
        self.site, self.image, self.slow = site, image, slow
        self.plain, self.tls = ports
        self.client = Client(Address(path=str(site.paths.socket)), timeout=120)
        self.revision = 0
        self._load: subprocess.Popen[str] | None = None

    def deploy(self, replicas: int, **env: str) -> str:
        """Wish for the next revision; its number as the application answers with it."""
        self.revision += 1
        wanted = str(self.revision)
        self.client.deploy(json.dumps(self.spec(replicas, {"REVISION": wanted, **env})))
        return wanted

    def spec(self, replicas: int, env: Mapping[str, str]) -> dict[str, Any]:  # Any: a deployment file
        shared: dict[str, Any] = {"target_port": 8080, "expose": "public", "timeouts": {"response": "60s"}}
        web: dict[str, Any] = {
            "image": {"name": self.image},
            "scale": {"mode": "fixed", "replicas": replicas},
            "env": {"SLOW": str(self.slow), **env},
            "endpoints": [
                {"name": "http", "protocol": "http", "port": self.plain, **shared},
                {"name": "tls", "protocol": "https", "port": self.tls, "tls": {"mode": "self_signed"}, **shared},
            ],
            "health": {"interval": "1s", "check": {"type": "http", "path": "/", "port": 8080}},
            "update": {"min_ready": "0s", "drain": f"{self.slow + 5:g}s"},
            "stop_grace_period": "5s",
        }
        return deployment("rig", web=web)

    def serves(self, revision: str) -> None:
        """Returns when ten answers in a row are of the revision."""
        deadline = time.monotonic() + WITHIN
        row = 0
        while row < 10:
            row = row + 1 if self.answer().startswith(f"{revision} ") else 0
            if row == 0:
                assert time.monotonic() < deadline, f"revision {revision} does not serve\n{self.site.log()}"
                time.sleep(0.02)

    def answer(self) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.plain}/", timeout=10) as reply:
                return str(reply.read().decode())
        except OSError:
            return ""

    def begin(self) -> None:
        """The load, in a process of its own."""
        argv = [sys.executable, str(HERE / "load.py"), str(self.plain), str(self.tls)]
        self._load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(1)

    def end(self) -> None:
        if self._load is not None:
            assert self._load.stdin is not None
            self._load.stdin.close()
            self._load.wait(60)

    def tally(self) -> Tally:
        assert self._load is not None
        assert self._load.stdin is not None
        assert self._load.stdout is not None
        self._load.stdin.write("\n")
        self._load.stdin.flush()
        told = json.loads(self._load.stdout.readline())
        bad = {kind: sum(words.values()) for kind, words in told["bad"].items()}
        words = tuple(
            f"{time.strftime('%H:%M:%S', time.localtime(at))} {kind}: {what}" for at, kind, what in told["first"]
        )
        return Tally(told["good"], bad, words, told["p99_ms"])


@contextmanager
def stage(slow: float) -> Iterator[Stage]:
    """Everything up, one replica answering, the load running; all of it gone afterwards."""
    with Site(CONFIG) as site, Registry(site.root) as registry:
        reference = push(registry.target, "rig/app", "1", app_image())
        site.start()
        on = Stage(site, reference, free_ports(), slow)
        on.serves(on.deploy(1))
        on.begin()
        try:
            yield on
        finally:
            on.end()
            site.cli("down", "rig", check=False)


def app_image() -> OciImage:
    """Debian's Python with `app.py` in it."""
    layers = LayerCache(default_cache())
    files = Tar().file("app.py", (HERE / "app.py").read_bytes(), mode=0o755)
    return image([layers.base(), layers.of(PYTHON), layer(files)], {**PYTHON.config, "Cmd": ["python3", "/app.py"]})


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def updates(replicas: int) -> Callable[[Stage, argparse.Namespace], str]:
    def run(on: Stage, given: argparse.Namespace) -> str:
        on.serves(on.deploy(replicas))
        for _ in range(given.updates):
            on.serves(on.deploy(replicas))
        return f"{given.updates} updates of {replicas} replica{'s' if replicas > 1 else ''}"

    return run


def kills(on: Stage, given: argparse.Namespace) -> str:
    """kill -9 of the daemon at a different point of each update."""
    count = max(3, given.updates // 5)
    for number in range(count):
        revision = on.deploy(4)
        time.sleep(0.15 * (number % 12))
        on.site.kill()
        on.site.start()
        on.serves(revision)
    return f"{count} updates with the daemon killed half-way"


def reloads(on: Stage, given: argparse.Namespace) -> str:
    """Listeners that come and go: what no runtime API can do."""
    count = max(3, given.updates // 5)
    for number in range(count):
        port = free_ports()[0]
        other = {
            "image": {"name": on.image},
            "scale": {"mode": "fixed", "replicas": 1},
            "endpoints": [{"name": "http", "protocol": "http", "port": port, "target_port": 8080, "expose": "public"}],
            "stop_grace_period": "1s",
        }
        name = f"other{number}"
        on.client.deploy(json.dumps(deployment(name, web=other)))
        _until_open(port)
        on.client.remove(name)
    return f"{count} listeners added and removed"


def _until_open(port: int) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
                return
        except OSError:
            assert time.monotonic() < deadline, f"port {port} does not answer"
            time.sleep(0.05)


def scales(on: Stage, given: argparse.Namespace) -> str:
    """Up and down, without an update."""
    count = max(3, given.updates // 5)
    for number in range(count):
        on.client.scale("rig", {"web": 1 + number % 4})
        time.sleep(0.5)
    return f"{count} times scaled"


PHASES: dict[str, Callable[[Stage, argparse.Namespace], str]] = {
    "updates-1": updates(1),
    "updates-4": updates(4),
    "kill-9": kills,
    "reloads": reloads,
    "scales": scales,
}
