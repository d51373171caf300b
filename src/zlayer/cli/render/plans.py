"""A plan as lines: what is new, replaced, removed, and why."""

from __future__ import annotations

from zlayer.cli.render.colour import paint, visible
from zlayer.client.results import Plan

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
    told = ", ".join(["nothing to do", *words] if plan.empty else words)
    return f"{paint(plan.deployment, 'bold', colour=colour)}: {told}"


def lines(plan: Plan, *, colour: bool) -> list[str]:
    """The summary and what changes, replicas with the same fate in one line; what is kept is counted, not listed."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for change in plan.changes:
        if change.action != "keep":
            groups.setdefault((change.service, change.action, change.reason or ""), []).append(change.slot)
    out = [summary(plan, colour=colour)]
    for (service, action, reason), slots in groups.items():
        sign, name, _ = SIGNS.get(action, ("?", "", action))
        why = f": {visible(reason)}" if reason else ""
        out.append(paint(f"  {sign} {action} {service}{numbers(slots)}{why}", name, colour=colour))
    return out


def numbers(slots: list[int]) -> str:
    """`-2` for one replica, `-1..4,7` for several, nothing for a service as a whole."""
    runs: list[list[int]] = []
    for slot in sorted(set(slots) - {0}):
        if runs and runs[-1][-1] == slot - 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    told = ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
    return f"-{told}" if told else ""
