"""Twenty services with five replicas each, from nothing to all ready, and back. Needs root.

    python bench/deploy.py [--services 20] [--replicas 5] [--rounds 2]

Ours: one `up -d` of the whole file, every service behind the proxy on a host name of its own; done when each answers a
request through it. Peers get what they can do: docker-compose `up -d` with `--scale` (no proxy, no health gate) over a
dockerd of its own in a network namespace, podman one `run -d` per container, four at a time; done when the command
returns. The image is local everywhere. Interleaved; medians.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from docker_peer import compose
from peers import Bench, Podman, bench, podman
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import web_image
from zlayer.testing.registry import Registry
from zlayer.testing.site import deployment, service

Spent = tuple[float, float]


def main(services: int, replicas: int, rounds: int) -> None:
    with ExitStack() as stack:
        ours = stack.enter_context(bench())
        registry = stack.enter_context(Registry(ours.site.root / "more"))
        image = push(registry.target, "bench/web", "1", web_image())
        ours.site.cli("pull", image)
        ways: dict[str, Callable[[], Spent]] = {"zlayer": lambda: _ours(ours, image, services, replicas)}
        peer = stack.enter_context(podman(ours.site.root, image))
        if peer is not None:
            ways["podman"] = lambda: _podman(peer, services * replicas)
        docker = stack.enter_context(compose(ours.site.root, image))
        if docker is not None:
            ways["docker-compose"] = lambda: docker.cycle(services, replicas)
        _race(ways, rounds, services * replicas)


def _race(ways: dict[str, Callable[[], Spent]], rounds: int, count: int) -> None:
    spent: dict[str, list[Spent]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            spent[name].append(ways[name]())
            print(f"{name:16} up {spent[name][-1][0]:6.1f} s, down {spent[name][-1][1]:6.1f} s", flush=True)
    base = statistics.median(up for up, _ in spent["zlayer"])
    print(f"\n{count} containers (load {os.getloadavg()[0]:.1f})   up s  per s  against ours   down s")
    for name, rows in spent.items():
        up, down = statistics.median(u for u, _ in rows), statistics.median(d for _, d in rows)
        print(f"{name:28}{up:10.1f}{count / up:7.1f}{up / base:14.1f}{down:9.1f}")


def _ours(ours: Bench, image: str, services: int, replicas: int) -> Spent:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    shapes = {f"s{n}": _service(image, replicas, port, f"s{n}.test") for n in range(services)}
    path = ours.site.write(deployment("bench", **shapes))
    began = time.perf_counter()
    ours.site.cli("up", "-d", path, timeout=600)
    for number in range(services):
        _answers(port, f"s{number}.test")
    up = time.perf_counter()
    ours.site.cli("down", "bench", timeout=600)
    return up - began, time.perf_counter() - up


def _service(image: str, replicas: int, port: int, host: str) -> dict[str, object]:
    endpoint = {"name": "http", "protocol": "http", "port": port, "target_port": 80, "expose": "public", "host": host}
    return service(image, replicas, endpoints=[endpoint], stop_grace_period="0s", stop_signal="SIGKILL")


def _answers(port: int, host: str) -> None:
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/", headers={"Host": host})
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise AssertionError(f"{host} does not answer")


def _podman(peer: Podman, count: int) -> Spent:
    with ThreadPoolExecutor(4) as pool:
        began = time.perf_counter()
        list(pool.map(lambda n: peer.run("-d", "--name", f"d{n}", peer.image), range(count)))
        up = time.perf_counter()
        list(pool.map(lambda n: peer.call("rm", "-f", "-t", "0", f"d{n}"), range(count)))
        return up - began, time.perf_counter() - up


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    main(given.services, given.replicas, given.rounds)
