"""Device nodes and their rules."""

from __future__ import annotations

import pytest

from zlayer.model.container import Device
from zlayer.model.errors import Invalid
from zlayer.runtime.oci.devices import devices_of


def test_nothing_is_allowed_by_default() -> None:
    assert devices_of((), privileged=False) == ([], [{"allow": False, "access": "rwm"}])


def test_a_node_with_its_numbers_and_rule() -> None:
    nodes, rules = devices_of((Device(path="/dev/null", access="rw"),), privileged=False)
    assert (nodes[0]["path"], nodes[0]["type"], nodes[0]["major"], nodes[0]["minor"]) == ("/dev/null", "c", 1, 3)
    assert rules[1:] == [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]


def test_privileged_has_what_the_host_has() -> None:
    nodes, rules = devices_of((), privileged=True)
    paths = {node["path"] for node in nodes}
    assert "/dev/null" in paths
    assert not any(path.startswith(("/dev/pts/", "/dev/shm/")) for path in paths)
    assert rules == [{"allow": True, "access": "rwm"}]


@pytest.mark.parametrize(
    "device", [Device(path="/etc/passwd"), Device(path="/dev/no-such"), Device(path="null"),
               Device(path="/dev/null", access="rx"), Device(path="/dev/null", access="")],
)  # fmt: skip
def test_refusals(device: Device) -> None:
    with pytest.raises(Invalid):
        devices_of((device,), privileged=False)
