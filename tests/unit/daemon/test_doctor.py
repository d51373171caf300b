from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.daemon import doctor, lock
from zlayer.daemon.doctor import cgroup_layout, filesystem_of
from zlayer.model.paths import Paths
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.testing.netns import short_directory

NAMES = ["kernel", "capabilities", "namespaces", "overlayfs", "rootfs", "cgroups", "engine", "conmon", "proxy",
         "nftables", "forwarding", "port", "filesystem", "disk", "open files", "clock"]  # fmt: skip


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as made:
        yield made


def configured(directory: Path, text: str) -> Paths:
    (directory / "config.toml").write_text(text)
    return Paths.of(directory)


def test_every_check_has_a_finding_and_nothing_is_changed(directory: Path) -> None:
    paths = Paths.of(directory / "not" / "there")
    findings = doctor.run(paths)
    assert [finding.name for finding in findings] == NAMES
    assert list(directory.iterdir()) == []
    assert all(finding.fix for finding in findings if finding.status != "ok")


def test_a_taken_port_is_told_with_what_to_do(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        finding = doctor._port(configured(directory, f'[daemon]\nbind = "127.0.0.1:{number}"\n'))
    assert finding.status == "fail"
    assert str(number) in finding.fix


def test_a_free_port_no_port_and_our_own_daemon_are_fine(directory: Path) -> None:
    paths = configured(directory, '[daemon]\nbind = "127.0.0.1:0"\n')
    assert doctor._port(paths).status == "ok"
    assert doctor._port(configured(directory, '[daemon]\nbind = "off"\n')).status == "ok"
    with lock.hold(paths.lock):
        assert "our daemon" in doctor._port(paths).detail


def test_a_broken_configuration_is_a_finding_of_its_own(directory: Path) -> None:
    findings = doctor.run(configured(directory, "[daemon]\nbind = 7\n"))
    port = next(finding for finding in findings if finding.name == "port")
    assert port.status == "fail"
    assert port.detail


MOUNTINFO = """22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /data rw - tmpfs none rw
31 22 0:31 / /data rw - overlay none rw
32 22 0:32 / /with\\040space rw - nfs4 server:/x rw
"""


def test_the_file_system_is_that_of_the_longest_and_last_mount() -> None:
    found = [filesystem_of(Path(path), MOUNTINFO) for path in ("/", "/database", "/data", "/data/x", "/with space/y")]
    assert found == ["ext4", "ext4", "overlay", "overlay", "nfs4"]


def test_cgroup_layouts(directory: Path) -> None:
    (directory / "cgroup.controllers").write_text("cpu memory pids\n")
    v1 = (("cpu", Path("/c")), ("name=systemd", Path("/s")))
    assert cgroup_layout(Hierarchies((), directory)) == ("v2", ["cpu", "memory", "pids"])
    assert cgroup_layout(Hierarchies(v1, directory)) == ("hybrid", ["cpu", "cpu", "memory", "pids"])
    assert cgroup_layout(Hierarchies(v1, None)) == ("v1", ["cpu"])
    assert cgroup_layout(Hierarchies((), None)) == ("", [])
