"""`scale` and `depends`: how many instances, and after what."""

from __future__ import annotations

from typing import Any

from zlayer.spec.health import duration
from zlayer.spec.model import AdaptiveScale, DependencySpec, FixedScale, ManualScale, Scale
from zlayer.spec.nodes import Node, Table
from zlayer.spec.records import Field, ListOf, Record, table
from zlayer.spec.report import At
from zlayer.spec.shapes import Choice, Json, Number, Text
from zlayer.spec.syntax import NAME_PATTERN, check_name

MAX_REPLICAS = 10_000
MODES = ("adaptive", "fixed", "manual")
_SYNONYMS = {"count": "replicas", "minimum": "min", "maximum": "max", "min_replicas": "min", "max_replicas": "max"}


def _range(made: AdaptiveScale, found: Table, at: At) -> None:
    if made.min > made.max:
        node = found.get("min") or found.get("max") or found
        default = "" if "max" in found.entries else ", the default"
        message = f"min ({made.min}) is above max ({made.max}{default})"
        (at / "min").refuse(node, message, kind="InvalidScaleRange")


def _mode(name: str) -> Field:
    return Field(Choice("", (name,)), required=True)


_KINDS: dict[str, Record[Any]] = {
    "adaptive": Record(
        AdaptiveScale,
        {
            "mode": _mode("adaptive"),
            "min": Field(Number("Starts with so many. Default 1.", 0, MAX_REPLICAS, fault="InvalidScaleRange")),
            "max": Field(Number("Default 10.", 1, MAX_REPLICAS, fault="InvalidScaleRange")),
            "cooldown": Field(duration("Between two changes. Default 30s.")),
        },
        "Between min and max.",
        later={"targets": None},
        synonyms=_SYNONYMS,
        check=_range,
    ),
    "fixed": Record(
        FixedScale,
        {
            "mode": _mode("fixed"),
            "replicas": Field(Number("How many.", 0, MAX_REPLICAS, fault="InvalidScaleRange"), required=True),
        },
        "Always so many.",
        synonyms=_SYNONYMS,
    ),
    "manual": Record(
        ManualScale,
        {"mode": _mode("manual")},
        "One at first; then only `zlayer scale` changes the count.",
        synonyms=_SYNONYMS,
    ),
}


class ScaleShape:
    """The union under `scale`, told apart by `mode`."""

    def read(self, node: Node, at: At) -> Scale | None:
        found = table(node, at, "a map with 'mode'")
        if found is None:
            return None
        tag = found.get("mode")
        if tag is None:
            near = "mode: fixed" if "replicas" in found.entries else "mode: adaptive"
            at.refuse(found, "the key 'mode' is missing: adaptive, fixed or manual", suggestion=near, kind="MissingKey")
            return None
        name = Choice("", MODES).read(tag, at / "mode")
        if name is None:
            return None
        made: Scale | None = _KINDS[name].read(found, at)
        return made

    def schema(self) -> Json:
        return {"oneOf": [record.schema() for record in _KINDS.values()], "description": "Default: adaptive, 1 to 10."}


DEPENDS = ListOf(
    Record(
        DependencySpec,
        {
            "service": Field(Text("A service of this file.", check_name, NAME_PATTERN), required=True),
            "condition": Field(Choice("What must hold. Default healthy.", ("healthy", "started", "ready"))),
            "timeout": Field(duration("Default 300s.")),
            "on_timeout": Field(Choice("Default fail.", ("fail", "warn", "continue"))),
        },
        synonyms={"name": "service"},
        expected="a map such as {service: db}",
        short="service",
    ),
    "Services that come first.",
)
