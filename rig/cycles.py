"""A deployment up, scaled and down again, many times over: nothing of it is left on the machine.

What is counted is more than what a daemon could forget to take away whole: also what it could leave inside what stays
while it runs, which is its nftables table, its proxy's maps and servers, its certificates and its store.
"""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

import anyio

from diary import Diary, Row
from stage import Measure, free_ports
from zlayer.client.client import Client
from zlayer.client.results import Deployment
from zlayer.client.transport import Address
from zlayer.model.paths import Paths
from zlayer.proxy.haproxy.difference import Command
from zlayer.proxy.haproxy.process import STATS
from zlayer.proxy.haproxy.runtime import ask
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import web_image
from zlayer.testing.leaks import snapshot_machine
from zlayer.testing.registry import Registry
from zlayer.testing.site import CONFIG, Site, deployment, service

Holding = tuple[str, str]
"""What kind of thing, and which."""
WITHIN = 30.0
QUIET = ("/events/", "/nodes/")
"""Keys of the store that tell what has been, and of the node itself."""


def cycles(measure: Measure, diary: Diary) -> Row:
    """The whole phase. Each thing that is left counts as lost."""
    row, spans = Row(), []
    with Site(CONFIG) as site, Registry(site.root) as registry:
        image = push(registry.target, "rig/web", "1", web_image())
        site.start()
        site.cli("pull", image)
        turning = Cycle(site, Client(Address(path=str(site.paths.socket)), timeout=120), image)
        turning.up(0)  # what stays once it was there (a proxy, a name server, a CA) is there before
        height = Counter(_holdings(site.paths))
        turning.down(0)
        before = _at_rest(site, None)
        for number in range(1, measure.cycles + 1):
            diary.note(f"cycle {number}")
            began = time.monotonic()
            turning.up(number)
            turning.down(number)
            spans.append(time.monotonic() - began)
        after = _at_rest(site, before)
        for kind, which in sorted((after - before).elements()):
            row.add(kind, time.time(), f"left: {which}", diary)
        for line in _figures({"before": before, "with one up": height, "after": after}):
            print(line, flush=True)
    row.did = f"{len(spans)} times up, scaled and down, {statistics.median(spans):.1f} s each, at most {max(spans):.1f}"
    return row


@dataclass(frozen=True, slots=True)
class Cycle:
    """A deployment of another name each time, with everything that leaves a trace; its host and so its certificate
    stay: one that nobody uses is kept for days on purpose."""

    site: Site
    client: Client
    image: str

    def up(self, number: int) -> None:
        name = f"cycle{number}"
        self.client.deploy(json.dumps(_shape(name, self.image)))
        self._runs(name)
        self.site.cli("scale", "--deployment", name, "--wait", f"web={number % 3 + 2}")

    def down(self, number: int) -> None:
        self.site.cli("down", f"cycle{number}")

    def _runs(self, name: str) -> None:
        for item in self.client.follow(name, patience=WITHIN):
            if isinstance(item, Deployment) and item.status in ("running", "failed"):
                assert item.status == "running", item.message
                return


def _shape(name: str, image: str) -> dict[str, Any]:
    plain, tls = free_ports()
    ends = [
        {"name": "http", "protocol": "http", "port": plain, "target_port": 80, "expose": "public"},
        {"name": "tls", "protocol": "https", "port": tls, "target_port": 80, "expose": "public", "host": "cycle.test"},
        {"name": "inside", "protocol": "http", "port": 8081, "target_port": 80},
        {"name": "udp", "protocol": "udp", "port": 5353, "target_port": 5353},
    ]
    ending: dict[str, Any] = {"stop_grace_period": "0s", "stop_signal": "SIGKILL"}
    web = service(image, endpoints=ends, port_mappings=[{"container_port": 80}], update={"drain": "1s"}, **ending)
    return deployment(name, web=web, other=service(image, **ending))


def _at_rest(site: Site, before: Counter[Holding] | None) -> Counter[Holding]:
    """What there is when nothing changes any more, or nothing is there that was not before."""
    deadline, last = time.monotonic() + WITHIN, Counter[Holding]()
    while True:
        now = Counter(_holdings(site.paths))
        rests = now == last if before is None else not now - before
        if rests or time.monotonic() > deadline:
            return now
        last = now
        time.sleep(1.5)


def _holdings(paths: Paths) -> Iterator[Holding]:
    """Everything of this daemon, by kind."""
    census = snapshot_machine(paths.root)
    for field in fields(census):
        for name in getattr(census, field.name):
            yield field.name, _program(name) if field.name == "processes" else name
    yield from _ruleset(f"zlayer_{paths.id}")
    for line in _output("ip", "-o", "route", "show", "table", "all").splitlines():
        if f"zl{paths.id}" in line:
            yield "kernel routes", line
    yield from anyio.run(_proxy, paths)
    with closing(sqlite3.connect(f"file:{paths.state}?mode=ro", uri=True, timeout=5)) as store:
        keys = [str(key) for (key,) in store.execute("SELECT key FROM item")]
    yield from (("store keys", key) for key in keys if not key.startswith(QUIET))
    yield from (("directories", entry.name) for entry in paths.containers.iterdir())
    yield from (("engine states", state.name) for state in (paths.run / "oci").glob("*/*"))


def _program(process: str) -> str:
    """Without its pid, and without what tells of its predecessors: an engine's worker gives way to another."""
    return re.sub(r" -sf [\d ]*\d| -x \S+", "", process.partition(" ")[2])


def _ruleset(table: str) -> Iterator[Holding]:
    """Rules, and elements of sets and maps, of every family (nft's JSON, libnftables-json(5))."""
    listed = json.loads(_output("nft", "-j", "-n", "list", "ruleset") or '{"nftables": []}')
    for each in listed["nftables"]:
        for kind, body in each.items():
            if kind == "metainfo" or body.get("table", body.get("name")) != table:
                continue
            where = f"{body['family']} {body.get('chain') or body.get('name')}"
            if kind == "rule":
                yield "nft rules", f"{where}: {json.dumps(body['expr'])}"
            for element in body.get("elem", ()) if kind in ("set", "map") else ():
                yield "nft entries", f"{where}: {json.dumps(element)}"


async def _proxy(paths: Paths) -> list[Holding]:
    """What a worker of the engine has in it; names of slots and workers do not count."""
    socket = paths.run / "proxy" / STATS
    if not socket.exists():
        return []
    maps, servers, certificates = await ask(
        socket, [Command(f"show {what}") for what in ("map", "servers state", "ssl cert")]
    )
    names = [line.split()[1].strip("()") for line in maps.splitlines() if not line.startswith("#") and "(" in line]
    entries = await ask(socket, [Command(f"show map {name}") for name in names])
    found = [
        ("proxy map entries", f"{name}: {line.partition(' ')[2]}")
        for name, text in zip(names, entries, strict=True)
        for line in text.splitlines()
        if line
    ]
    found += [("proxy servers", " ".join(line.split()[1:5])) for line in servers.splitlines()[2:] if line]
    found += [("proxy certificates", line) for line in certificates.splitlines() if line and not line.startswith("#")]
    return found


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout


def _figures(counted: Mapping[str, Counter[Holding]]) -> Iterator[str]:
    """How many of each kind there were, and are."""
    kinds = sorted({kind for one in counted.values() for kind, _ in one})
    yield " " * 24 + "".join(f"{name:>14}" for name in counted)
    for kind in kinds:
        counts = (sum(count for (which, _), count in one.items() if which == kind) for one in counted.values())
        yield f"    {kind:20}" + "".join(f"{count:>14}" for count in counts)
