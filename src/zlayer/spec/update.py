"""`update`: how a changed service is replaced."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from zlayer.model.endpoint import Update
from zlayer.spec.health import duration
from zlayer.spec.nodes import Listing, Node, Scalar, Table, kind, shorten
from zlayer.spec.records import Field, ListOf, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Choice, Flag, Json, Number, described, scalar
from zlayer.spec.traffic import StepSpec, UpdateSpec

SHARE_PATTERN = r"^(100|[0-9]{1,2})%$"
STRATEGIES = ("rolling", "blue_green", "canary")
MAX_STEPS = 50


class Share:
    """A number of replicas, or a share of them: `2`, `25%`."""

    def __init__(self, about: str) -> None:
        self.about = about

    def read(self, node: Node, at: At) -> int | str | None:
        found = scalar(node, at, "a whole number or a share such as 25%")
        if found is None:
            return None
        value = found.value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000:
            return value
        if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
            return f"{int(value[:-1])}%"
        message = f"{at.key} is a whole number of replicas or a share such as 25%, not {kind(found)}"
        at.refuse(node, message, suggestion=_meant(found))
        return None

    def schema(self) -> Json:
        share: Json = {"type": "string", "pattern": SHARE_PATTERN}
        return described({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10_000}, share]}, self.about)


def _meant(found: Scalar) -> str:
    text = found.text.strip()
    if isinstance(found.value, float) and 0 < found.value < 1:
        return f"{round(found.value * 100)}%"
    if part := re.fullmatch(r"([0-9]{1,2})(?:\.[0-9]+)? ?(?:%|percent)", text):
        return f"{part[1]}%"
    return text if isinstance(found.value, str) and re.fullmatch(r"[0-9]{1,4}", text) else ""


def _rising(items: tuple[tuple[int, StepSpec], ...], found: Listing, at: At) -> None:
    if not found.items or len(found.items) > MAX_STEPS:
        at.refuse(found, f"a canary has 1 to {MAX_STEPS} steps, not {len(found.items)}")
    for (_, before), (i, step) in pairwise(items):
        if step.weight <= before.weight:
            message = f"the weights of a canary rise: {step.weight} comes after {before.weight}"
            (at / i / "weight").refuse(found.items[i], message)


STEPS = ListOf(
    Record(
        StepSpec,
        {
            "weight": Field(Number("Percent of the traffic to the new revision.", 1, 100), required=True),
            "pause": Field(duration("How long. Left out: until `zlayer resume`.")),
        },
        synonyms={"setWeight": "weight", "percent": "weight", "duration": "pause", "wait": "pause"},
        expected="a map such as {weight: 10, pause: 5m}",
        short="weight",
    ),
    "Of a canary. Default: 10 % and 50 %, a minute each; 100 % comes after the last.",
    _rising,
)


def _update(**values: Any) -> UpdateSpec:  # Any: fields read by their shapes
    if values.get("strategy") == "canary":
        usual = tuple(StepSpec(weight=step.weight, pause=step.pause) for step in Update().steps)
        values["steps"] = values.get("steps") or usual
    return UpdateSpec(**values)


def _check(made: UpdateSpec, found: Table, at: At) -> None:
    if made.steps and made.strategy != "canary":
        _refuse(found, at, "steps", f"steps are those of a canary, not of {made.strategy}", "strategy: canary")
    side_by_side = made.strategy in ("blue_green", "canary")
    if made.order == "stop_first" and side_by_side:
        message = f"{made.strategy} needs old and new side by side, so it cannot stop first"
        _refuse(found, at, "order", message, "start_first")
    elif made.order == "stop_first" and "max_surge" in found.entries and not none(made.max_surge):
        _refuse(found, at, "max_surge", "stop_first never has more replicas than wanted: only max_unavailable counts")
    elif made.order != "stop_first" and none(made.max_surge):
        if made.strategy == "canary":
            _refuse(found, at, "max_surge", "a canary stands beside the old replicas: max_surge must be above 0")
        elif made.strategy == "rolling" and none(made.max_unavailable):
            message = "max_surge and max_unavailable are both 0: nothing could ever be replaced"
            _refuse(found, at, "max_surge", message)


def none(share: int | str) -> bool:
    return share in (0, "0%")


def _refuse(found: Table, at: At, key: str, message: str, suggestion: str = "") -> None:
    node = found.entries[key][0] if key in found.entries else found
    (at / key).refuse(node, shorten(message, 200), suggestion=suggestion, kind="Conflict")


UPDATE = Record(
    _update,
    {
        "strategy": Field(
            Choice(
                "Default rolling.",
                STRATEGIES,
                synonyms={"bluegreen": "blue_green", "RollingUpdate": "rolling", "recreate": "rolling"},
            )
        ),
        "order": Field(Choice("Default auto: start-first where two can live side by side.",
                              ("auto", "start_first", "stop_first"))),
        "max_surge": Field(Share("Replicas above the wanted count meanwhile. Default 25%, rounded up.")),
        "max_unavailable": Field(Share("Replicas that may be missing meanwhile. Default 0; shares are rounded down.")),
        "min_ready": Field(duration("Ready for so long before it gets traffic and the old one leaves. Default 5s.")),
        "deadline": Field(duration("Without progress for so long, the revision has failed. Default 5m.")),
        "drain": Field(duration("How long a replica that leaves may finish what it has. Default 30s.")),
        "rollback": Field(Flag("Go back to the previous revision when this one has failed. Default true.")),
        "steps": Field(STEPS),
    },
    "How a changed service is replaced.",
    synonyms={
        "type": "strategy", "maxSurge": "max_surge", "maxUnavailable": "max_unavailable", "monitor": "min_ready",
        "minReadySeconds": "min_ready", "min_ready_seconds": "min_ready", "delay": "min_ready",
        "progressDeadlineSeconds": "deadline", "timeout": "deadline", "parallelism": "max_surge",
        "failure_action": "rollback", "auto_rollback": "rollback", "auto_revert": "rollback",
        "max_failure_ratio": "rollback", "max_parallel": "max_surge", "min_healthy_time": "min_ready",
        "healthy_deadline": "deadline", "grace": "drain", "drain_timeout": "drain", "weights": "steps",
        "canary": "steps", "canary_steps": "steps",
    },
    check=_check,
    expected="a map such as {strategy: rolling}",
    short="strategy",
)  # fmt: skip
