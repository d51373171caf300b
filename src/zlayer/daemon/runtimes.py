"""What can run containers here: every engine we know, tried one by one, for `zlayer runtimes`."""

from __future__ import annotations

from typing import Any

from zlayer.model.paths import Paths
from zlayer.runtime.oci.driver import OciRuntime
from zlayer.runtime.oci.site import ENGINES


async def probe_runtimes(paths: Paths, cgroup_parent: str, selected: str) -> list[dict[str, Any]]:  # Any: JSON values
    """One entry per engine; `selected` is the engine this daemon uses. Results of a boot are remembered."""
    return [await _entry(paths, cgroup_parent, name, selected) for name in ENGINES]


async def _entry(paths: Paths, cgroup_parent: str, name: str, selected: str) -> dict[str, Any]:
    probe = await OciRuntime(paths.containers, paths.run, cgroup_parent, name).probe()
    return {
        "name": name,
        "ok": probe.ok,
        "engine": probe.engine,
        "reason": probe.reason,
        "fix": probe.fix,
        "selected": name == selected,
    }
