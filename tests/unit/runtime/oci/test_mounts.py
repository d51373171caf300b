"""Mounts: defaults, order, options, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.model.errors import Invalid
from zlayer.model.units import Bytes
from zlayer.runtime.contract import CreateRequest, MountPoint
from zlayer.runtime.oci.mounts import mounts_of, target_of

REQUEST = CreateRequest(id="x", directory=Path("/d"), rootfs=Path("/d/rootfs"), argv=("true",))


def targets(request: CreateRequest) -> list[str]:
    return [m["destination"] for m in mounts_of(request)]


def test_defaults() -> None:
    found = {m["destination"]: m for m in mounts_of(REQUEST)}
    assert list(found) == ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]
    assert "ro" in found["/sys"]["options"]
    assert "ro" in found["/sys/fs/cgroup"]["options"]


def test_privileged_writes_to_sys() -> None:
    found = {m["destination"]: m["options"] for m in mounts_of(replace(REQUEST, privileged=True))}
    assert "rw" in found["/sys"]


def test_a_mount_asked_for_takes_the_place_of_a_default() -> None:
    request = replace(REQUEST, mounts=(MountPoint("tmpfs", "/dev/shm/", size=Bytes(1 << 20), mode=0o770),))
    (shm,) = [m for m in mounts_of(request) if m["destination"] == "/dev/shm"]
    assert {"size=1048576", "mode=770"} <= set(shm["options"])


def test_parents_come_before_children() -> None:
    mounts = (MountPoint("bind", "/a/b/c", "/3"), MountPoint("bind", "/a", "/1"), MountPoint("tmpfs", "/a/b"))
    assert targets(replace(REQUEST, mounts=mounts))[-3:] == ["/a", "/a/b", "/a/b/c"]


def test_bind_options() -> None:
    (bind,) = [m for m in mounts_of(replace(REQUEST, mounts=(MountPoint("bind", "/a", "/h", readonly=True),)))
               if m["type"] == "bind"]  # fmt: skip
    assert bind["options"] == ["rbind", "rprivate", "ro"]


def test_refusals() -> None:
    for mounts in (
        (MountPoint("bind", "/a", "relative"),),
        (MountPoint("bind", "/a", "/x"), MountPoint("tmpfs", "/a/")),
    ):
        with pytest.raises(Invalid):
            mounts_of(replace(REQUEST, mounts=mounts))


def test_targets_are_made_plain() -> None:
    assert target_of("/a/./b//c/") == "/a/b/c"
    assert target_of("//a/../b") == "/b"
    for bad in ("a", "/", "/..", "", "/a\0b"):
        with pytest.raises(Invalid):
            target_of(bad)


def test_host_ipc_shares_the_hosts_memory() -> None:
    found = {m["destination"]: m["type"] for m in mounts_of(replace(REQUEST, ipc_mode="host"))}
    assert found["/dev/shm"] == "bind"
