"""From a replica that is ready to its first request through the proxy, and its name's first answer. Needs root.

    python bench/ready.py [--services 200] [--rounds 30]

A deployment of many services behind the proxy; one of them goes from nothing to one replica and back, again and again.
Ready is when the agent saw it so (`ready_at` in the store); the first answers are asked for every four milliseconds,
from the node itself: asking harder takes a core from those who work.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sqlite3
import statistics
import struct
import threading
import time
from contextlib import closing
from ipaddress import IPv4Address, IPv4Network

from peers import Bench, bench
from zlayer.client.results import Deployment
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import web_image
from zlayer.testing.registry import Registry
from zlayer.testing.site import deployment, service

WITHIN, SETTLE = 20.0, 300.0
HOST = "one.test"


def main(services: int, rounds: int) -> None:
    with bench() as ours, Registry(ours.site.root / "more") as registry:
        image = push(registry.target, "bench/web", "1", web_image())
        ours.site.cli("pull", image)
        port = _free_port()
        shapes = {f"s{n}": _shape(image, port, f"s{n}.test", 1) for n in range(services - 1)}
        shapes["one"] = _shape(image, port, HOST, 1) | {"scale": {"mode": "manual"}}
        ours.client.deploy(json.dumps(deployment("bench", **shapes)))
        _settled(ours)
        gateway = _gateway(ours)
        spans: dict[str, list[float]] = {"first request": [], "first answer of its name": []}
        for _ in range(rounds):
            ours.client.scale("bench", {"one": 0})
            _settled(ours)
            for name, moment in _first(ours, port, gateway).items():
                spans[name].append(moment)
        print(f"{services} services, {rounds} rounds (load {os.getloadavg()[0]:.1f})")
        print(f"{'ms after ready':28}{'median':>8}{'p95':>8}{'max':>8}")
        for name, all_of in spans.items():
            ordered = sorted(all_of)
            p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
            print(f"{name:28}{statistics.median(ordered):8.1f}{p95:8.1f}{ordered[-1]:8.1f}")


def _shape(image: str, port: int, host: str, replicas: int) -> dict[str, object]:
    endpoint = {"name": "http", "protocol": "http", "port": port, "target_port": 80, "expose": "public", "host": host}
    return service(
        image, replicas, endpoints=[endpoint], stop_grace_period="0s", stop_signal="SIGKILL", update={"drain": "1s"}
    )


def _first(ours: Bench, port: int, gateway: str) -> dict[str, float]:
    """Milliseconds from ready to each of the first answers."""
    found: dict[str, float] = {}
    watchers = [
        threading.Thread(target=_until, args=(found, "first request", lambda: _requested(port))),
        threading.Thread(target=_until, args=(found, "first answer of its name", lambda: _named(gateway))),
    ]
    for one in watchers:
        one.start()
    ours.client.scale("bench", {"one": 1})
    for one in watchers:
        one.join()
    _settled(ours)
    ready = _ready_at(ours)
    return {name: (moment - ready) * 1e3 for name, moment in found.items()}


def _until(found: dict[str, float], name: str, true: object) -> None:
    assert callable(true)
    deadline = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < deadline, name
        time.sleep(0.004)
    found[name] = time.time()


def _requested(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": HOST})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _named(gateway: str) -> bool:
    """One A question for one.service.local (RFC 1035); True when an address came."""
    labels = b"".join(bytes([len(part)]) + part for part in (b"one", b"service", b"local"))
    question = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.sendto(question, (gateway, 53))
        try:
            return int.from_bytes(client.recv(512)[6:8], "big") > 0
        except OSError:
            return False


def _gateway(ours: Bench) -> str:
    """The name server's address: of the deployment's first block."""
    address = min(IPv4Address(one.ip) for one in ours.client.containers("bench") if one.ip)
    return str(IPv4Network((int(address) & ~63, 26)).network_address + 1)


def _ready_at(ours: Bench) -> float:
    [instance] = [one for one in ours.client.containers("bench") if one.service == "one" and one.state == "running"]
    with closing(sqlite3.connect(f"file:{ours.site.paths.state}?mode=ro", uri=True)) as store:
        [(value,)] = store.execute("SELECT value FROM item WHERE key = ?", (f"/status/{instance.id}",)).fetchall()
    return float(json.loads(value)["ready_at"])


def _settled(ours: Bench) -> None:
    deadline = time.monotonic() + SETTLE
    for item in ours.client.follow("bench", patience=SETTLE):
        if isinstance(item, Deployment) and item.status == "running":
            return
        if isinstance(item, Deployment) and (item.status == "failed" or time.monotonic() > deadline):
            raise SystemExit(f"the deployment is {item.status}: {item.message}\n{ours.site.log()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    main(given.services, given.rounds)
