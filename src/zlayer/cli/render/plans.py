"""A plan as lines: what is new, replaced, removed, and why."""

from __future__ import annotations

from zlayer.cli.render.colour import paint
from zlayer.client.results import Change, Plan

SIGNS = {
    "create": ("+", "green", "new"),
    "start": ("+", "green", "started"),
    "replace": ("~", "yellow", "replaced"),
    "stop": ("-", "red", "stopped"),
    "remove": ("-", "red", "removed"),
    "keep": (" ", "dim", "unchanged"),
}


def summary(plan: Plan, *, colour: bool) -> str:
    """`shop: 2 new, 1 replaced, 3 unchanged`."""
    counts: dict[str, int] = {}
    for change in plan.changes:
        counts[change.action] = counts.get(change.action, 0) + 1
    words = [f"{counts[action]} {SIGNS[action][2]}" for action in SIGNS if action in counts]
    told = ", ".join(words) if words else "nothing to do"
    return f"{paint(plan.deployment, 'bold', colour=colour)}: {told}"


def lines(plan: Plan, *, colour: bool) -> list[str]:
    """The summary and a line for each change; what is kept is counted, not listed."""
    out = [summary(plan, colour=colour)]
    return out + [_change(change, colour=colour) for change in plan.changes if change.action != "keep"]


def _change(change: Change, *, colour: bool) -> str:
    sign, name, _ = SIGNS.get(change.action, ("?", "", change.action))
    slot = f"-{change.slot}" if change.slot else ""
    why = f": {change.reason}" if change.reason else ""
    return paint(f"  {sign} {change.action} {change.service}{slot}{why}", name, colour=colour)
