"""What can run containers here: every engine we know, tried one by one, for `zlayer runtimes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zlayer.model.errors import Unavailable
from zlayer.runtime.oci.probe import ENGINES, find_tools


async def probe_runtimes(run: Path, cgroup_parent: str, selected: str) -> list[dict[str, Any]]:  # Any: JSON values
    """One entry per engine; `selected` is the engine this daemon uses. Results of a boot are remembered."""
    return [await _entry(run, cgroup_parent, name, selected) for name in ENGINES]


async def _entry(run: Path, cgroup_parent: str, name: str, selected: str) -> dict[str, Any]:
    entry = {"name": name, "ok": True, "engine": "", "reason": "", "fix": "", "selected": name == selected}
    try:
        tools = await find_tools(run, cgroup_parent, name)
    except Unavailable as error:
        return {**entry, "ok": False, "reason": error.message, "fix": error.hint}
    return {**entry, "engine": str(tools.engine)}
