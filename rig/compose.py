"""The same load on docker compose, for the record: one service with a published port, recreated again and again.

dockerd runs in a network namespace of its own (`bench/docker_peer.py`) and the load beside it in there. A published
port leads to one container, so there is one replica; nothing ends TLS, so there are no clients of that. What is lost
is counted by the same clients, and is not the rig's failure. There is no drain, so no goodbye is too early.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from crowd import PLAIN, crowd
from diary import Diary, Row
from load import Order
from stage import DRAIN, WITHIN, Measure, app_image
from zlayer.testing.imagery_push import push
from zlayer.testing.registry import Registry

sys.path.append(str(Path(__file__).parents[1] / "bench"))

from docker_peer import Compose
from docker_peer import compose as dockerd

PORT = 18080


def compose(measure: Measure) -> Iterator[Row]:
    """Under the load of the rig, and once more without slow answers: those are what compose waits longest for.

    Nothing, and that is said, where docker is not installed.
    """
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zl", dir="/tmp")))
        registry = stack.enter_context(Registry(root))
        image = push(registry.target, "rig/app", "1", app_image())
        peer = stack.enter_context(dockerd(root, image))
        if peer is None:
            return
        up(peer, image, measure, 0)
        stack.callback(peer.call, "docker-compose", "-f", str(_file(peer)), "down", "-t", "0")
        _until_answers(peer)
        quick = {kind: count for kind, count in PLAIN.items() if kind != "slow"}
        for name, workers in (("compose", PLAIN), ("compose-quick", quick)):
            row = _recreated(peer, image, measure, workers)
            row.phase = name
            yield row


def _recreated(peer: Compose, image: str, measure: Measure, workers: Mapping[str, int]) -> Row:
    diary = Diary()
    with crowd(Order(PORT, dict(workers), drain=0.0), diary, around=peer.inside) as clients:
        began = time.monotonic()
        for number in range(1, measure.recreations + 1):
            diary.note(f"revision {number} wished")
            up(peer, image, measure, number)
            diary.note(f"docker-compose up has returned for revision {number}")
            time.sleep(1.0)  # clients have a second of each revision: back to back there would be nothing but gaps
        row = clients.count()
    row.seconds = round(time.monotonic() - began, 1)
    row.did = (
        f"{measure.recreations} times recreated by docker-compose up -d, 1 replica, {row.dark:.0f} s of no answers"
    )
    return row


def up(peer: Compose, image: str, measure: Measure, revision: int) -> None:
    """As an operator does: another environment, `up -d`. Its grace is enough for every answer under way."""
    finish = measure.slow + DRAIN
    web = {
        "image": image,
        "environment": {"REVISION": str(revision), "SLOW": f"{measure.slow:g}", "FINISH": f"{finish:g}"},
        "ports": [f"127.0.0.1:{PORT}:8080"],
        "stop_grace_period": f"{finish:g}s",
    }
    _file(peer).write_text(json.dumps({"version": "3", "services": {"web": web}}))
    peer.call("docker-compose", "-f", str(_file(peer)), "up", "-d")


def _file(peer: Compose) -> Path:
    return peer.root / "rig-compose.json"


def _until_answers(peer: Compose) -> None:
    deadline = time.monotonic() + WITHIN
    ask = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/', timeout=5)"
    argv: Sequence[str] = [*peer.inside, sys.executable, "-c", ask]
    while subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise AssertionError(f"docker's published port does not answer: {(peer.root / 'log').read_text()[-2000:]}")
        time.sleep(0.1)
