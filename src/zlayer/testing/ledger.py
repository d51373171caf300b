"""What a daemon at rest may hold of a machine, by what `ps -c` shows, against what it does hold.

A running container is owed one root mount, one network namespace, one veth, one cgroup per hierarchy, one monitor, one
engine state and one address; whatever is listed is owed a directory. Anything more is a leak, anything less a lie.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zlayer.model.paths import Paths
from zlayer.network.names import bridge_name, veth_name
from zlayer.testing.leaks import Census, snapshot_machine

ENGINES = ("haproxy ", "zlayer.network.dns ")
"""How the command lines of a daemon's own engines begin, after the interpreter. They stay with it."""
MONITOR = re.compile(r"\d+ \S*conmon .*?-c (\S+) ")


@dataclass(frozen=True, slots=True)
class Holdings:
    """Instance ids, but for `links` (names) and `strangers` (processes that are neither daemon nor monitor)."""

    mounts: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    monitors: frozenset[str]
    engine_states: frozenset[str]
    addresses: frozenset[str]
    directories: frozenset[str]
    strangers: frozenset[str] = frozenset()


def owed(paths: Paths, instances: Iterable[Mapping[str, Any]]) -> Holdings:
    """From the entries of `ps -c`."""
    listed = list(instances)
    running = frozenset(one["id"] for one in listed if one["state"] == "running")
    return Holdings(
        mounts=running,
        namespaces=running,
        links=frozenset(bridges(paths) | {veth_name(paths.id, one) for one in running}),
        cgroups=running,
        monitors=running,
        engine_states=running,
        addresses=frozenset(f"{one['ip']} {one['id']}" for one in listed if one["id"] in running),
        directories=frozenset(one["id"] for one in listed),
    )


def held(paths: Paths, daemons: Iterable[int]) -> Holdings:
    """What is there now. `daemons` are the pids that may serve the data directory."""
    census = snapshot_machine(paths.root)
    allowed = {str(pid) for pid in daemons}
    monitors = {line: found[1] for line in census.processes if (found := MONITOR.match(line))}
    return Holdings(
        mounts=frozenset(Path(path).parent.name for path in census.mounts if path != str(paths.root)),
        namespaces=frozenset(Path(path).name for path in census.netns),
        links=frozenset(census.links),
        cgroups=_cgroups(paths, census),
        monitors=frozenset(monitors.values()),
        engine_states=frozenset(state.name for state in (paths.run / "oci").glob("*/*")),
        addresses=addresses(paths),
        directories=frozenset(entry.name for entry in paths.containers.iterdir()),
        strangers=frozenset(
            p
            for p in census.processes
            if p not in monitors and p.partition(" ")[0] not in allowed and not any(name in p for name in ENGINES)
        ),
    )


def imbalance(owed: Holdings, held: Holdings) -> str:
    """One line per thing too many (+) or missing (-); empty when all is as it should be."""
    lines: list[str] = []
    for field in fields(Holdings):
        wanted, present = getattr(owed, field.name), getattr(held, field.name)
        lines += [f"+ {field.name}: {name}" for name in sorted(present - wanted)]
        lines += [f"- {field.name}: {name}" for name in sorted(wanted - present)]
    return "\n".join(lines)


def addresses(paths: Paths) -> frozenset[str]:
    """`ip instance` of every address given out, read beside the daemon."""
    with closing(sqlite3.connect(f"file:{paths.state}?mode=ro", uri=True, timeout=5)) as db:
        rows = db.execute("SELECT key, value FROM item WHERE key GLOB '/addresses/*'").fetchall()
    return frozenset(f"{key.rpartition('/')[2]} {json.loads(value)}" for key, value in rows)


def bridges(paths: Paths) -> set[str]:
    """A bridge for every network that was given out."""
    with closing(sqlite3.connect(f"file:{paths.state}?mode=ro", uri=True, timeout=5)) as db:
        rows = db.execute("SELECT value FROM item WHERE key GLOB '/networks/*'").fetchall()
    return {bridge_name(paths.id, json.loads(value)["number"]) for (value,) in rows}


def _cgroups(paths: Paths, census: Census) -> frozenset[str]:
    parent = f"/zlayer-{paths.id}/"
    return frozenset(path.partition(parent)[2].partition("/")[0] for path in census.cgroups if parent in path)
