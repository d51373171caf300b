"""Names on this machine."""

from __future__ import annotations

from pathlib import Path

from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.site import Site


def test_everything_hangs_on_run_and_parent(tmp_path: Path) -> None:
    site = Site(tmp_path, "zlayer-1234", Hierarchies())
    assert site.cgroup_of("a-b-1") == "/zlayer-1234/a-b-1"
    assert site.monitors == "/zlayer-1234-monitors"
    assert site.engine("runc", "1").state == tmp_path / "oci/runc"
    assert site.engine("no-such-engine").path == "no-such-engine"
    assert site.engines_with("x") == []
    (tmp_path / "oci/crun/x").mkdir(parents=True)
    assert [engine.name for engine in site.engines_with("x")] == ["crun"]
