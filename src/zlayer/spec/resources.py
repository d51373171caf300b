"""`resources` and `ulimits`: upper bounds of one container."""

from __future__ import annotations

from zlayer.spec.model import ResourcesSpec, UlimitSpec
from zlayer.spec.nodes import Node, Scalar, Table
from zlayer.spec.records import Field, MapOf, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Flag, Json, Number, Quantity, Text, described
from zlayer.spec.storage import memory
from zlayer.spec.syntax import CPUSET_PATTERN, check_cpuset, check_ulimit
from zlayer.spec.units import format_memory, parse_cpu

CPU = Quantity(
    "Cores, as a number or text: 0.5, 2.",
    parse_cpu,
    {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\s*[+]?[0-9.eE+-]+\s*$"}]},
    "a number of cores",
)


class Swap:
    """A size, or -1 for without end."""

    def read(self, node: Node, at: At) -> float | None:
        if isinstance(node, Scalar) and node.text == "-1" and not node.tag:
            return -1
        return memory("").read(node, at)

    def schema(self) -> Json:
        about = "Memory plus swap; -1 is without end. Needs memory."
        return described({"anyOf": [memory("").schema(), {"enum": [-1, "-1"]}]}, about)


class Pids:
    """At least 1, or -1 for without end, which is the same as leaving it out."""

    def read(self, node: Node, at: At) -> int | None:
        if isinstance(node, Scalar) and node.value == -1 and not node.tag:
            return None
        return Number("", 1).read(node, at)

    def schema(self) -> Json:
        number = Number("", 1).schema()
        return described({"anyOf": [number, {"const": -1}]}, "Processes and threads; -1 is without end.")


def _consistent(made: ResourcesSpec, found: Table, at: At) -> None:
    def refuse(name: str, message: str) -> None:
        if (node := found.get(name)) is not None:
            (at / name).refuse(node, message, kind="InvalidMemoryFormat")

    swap, limit, reserved = made.memory_swap, made.memory, made.memory_reservation
    if swap is not None and "memory" not in found.entries:
        refuse("memory_swap", "memory_swap needs memory beside it")
    elif swap is not None and limit is not None and swap != -1 and swap < limit:
        refuse("memory_swap", f"memory_swap is memory plus swap: not below memory ({format_memory(limit)})")
    if reserved is not None and limit is not None and reserved > limit:
        refuse("memory_reservation", f"memory_reservation is above memory ({format_memory(limit)})")


RESOURCES = Record(
    ResourcesSpec,
    {
        "cpu": Field(CPU),
        "memory": Field(memory("Bytes with Ki, Mi, Gi or Ti: 512Mi.")),
        "memory_swap": Field(Swap()),
        "memory_reservation": Field(memory("Soft limit under pressure.")),
        "memory_swappiness": Field(Number("0-100", 0, 100)),
        "pids_limit": Field(Pids()),
        "cpuset": Field(Text("CPUs it may use: 0-3 or 0,2.", check_cpuset, CPUSET_PATTERN, loose=True)),
        "cpu_shares": Field(Number("Weight; 1024 is one share.", 2, 262_144)),
        "blkio_weight": Field(Number("10-1000", 10, 1000)),
        "oom_score_adj": Field(Number("-1000-1000", -1000, 1000)),
        "oom_kill_disable": Field(Flag("Wait instead of being killed when memory is out.")),
    },
    "Upper bounds; left out means unlimited.",
    later={"gpu": None},
    synonyms={"cpus": "cpu", "mem": "memory", "mem_limit": "memory", "pids": "pids_limit", "cores": "cpu"},
    check=_consistent,
)


def _ulimit(*, soft: int | None = None, hard: int | None = None) -> UlimitSpec:
    """When one is missing it copies the other; `_ordered` refuses neither."""
    first = soft if soft is not None else (hard if hard is not None else 0)
    return UlimitSpec(soft=first, hard=hard if hard is not None else first)


def _ordered(made: UlimitSpec, found: Table, at: At) -> None:
    if not found.entries.keys() & {"soft", "hard"}:
        at.refuse(found, "give soft, hard or both", kind="MissingKey")
    elif made.hard != -1 and (made.soft == -1 or made.soft > made.hard):
        at.refuse(found, f"soft ({made.soft}) is above hard ({made.hard})", kind="InvalidUlimit")


_BOUND = Number("-1 is without end.", -1, 2**63 - 1)
_ULIMIT: Record[UlimitSpec] = Record(
    _ulimit, {"soft": Field(_BOUND), "hard": Field(_BOUND)}, check=_ordered, expected="a map with soft and hard"
)
ULIMITS = MapOf(
    _ULIMIT,
    check_ulimit,
    "Limits of setrlimit(2) by name: nofile, nproc, memlock…",
)
