"""Monitors leave our unit's cgroup, in the hierarchies a service manager watches and only when we are in a unit."""

from __future__ import annotations

from pathlib import Path

from zlayer.runtime.oci.cgroups.apart import own_cgroups, set_apart, watched
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies

V1 = Hierarchies((("memory", Path("/m")), ("name=systemd", Path("/s"))), Path("/u"))


def test_only_where_we_are_in_a_unit() -> None:
    assert watched(V1, "4:memory:/deep\n1:name=systemd:/\n0::/\n") == []
    assert watched(V1, "4:memory:/\n1:name=systemd:/system.slice/z.service\n0::/\n") == [Path("/s")]
    assert watched(Hierarchies(v2=Path("/u")), "0::/system.slice/z.service\n") == [Path("/u")]


def test_a_process_that_ended_is_no_error() -> None:
    set_apart(Hierarchies(), "/nowhere", 2**22 + 1)
    assert own_cgroups().count(":") >= 2
