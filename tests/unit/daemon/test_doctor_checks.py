from __future__ import annotations

import re
from pathlib import Path

import pytest

from zlayer.daemon import doctor_checks as checks
from zlayer.daemon.doctor_checks import Finding, Status
from zlayer.proxy.contract import ProxyProbe

DEBIAN = 'PRETTY_NAME="Debian"\nID=debian\n'
ROCKY = 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'
EVERYTHING = (1 << 41) - 1
GIB = 1 << 30

CASES: list[tuple[Finding, Status, str]] = [
    (checks.kernel("6.1.0-18-amd64"), "ok", ""),
    (checks.kernel("10.0"), "ok", ""),
    (checks.kernel("5.3.18"), "fail", "5.4"),
    (checks.kernel("4.19"), "fail", "install Linux"),
    (checks.overlayfs("nodev\tsysfs\nnodev\toverlay\n\text4\n"), "ok", ""),
    (checks.overlayfs("nodev\tsysfs\n"), "fail", "modprobe overlay"),
    (checks.namespaces(checks.NAMESPACES), "ok", ""),
    (checks.namespaces([n for n in checks.NAMESPACES if n != "user"]), "ok", ""),
    (checks.namespaces(["mnt", "pid"]), "fail", "CONFIG_NAMESPACES"),
    (checks.cgroups("v2", ["cpu", "cpuset", "io", "memory", "pids"]), "ok", ""),
    (checks.cgroups("v1", ["cpu", "cpuacct", "memory", "pids"]), "warn", "cpuset"),
    (checks.cgroups("v2", ["cpu", "cpuset", "pids"]), "fail", "cgroup_enable=memory"),
    (checks.cgroups("v2", ["memory", "cpuset"]), "fail", "cpu, pids"),
    (checks.cgroups("", []), "fail", "mount -t cgroup2"),
    (checks.capabilities(0, EVERYTHING), "ok", ""),
    (checks.capabilities(0, EVERYTHING & ~(1 << 24)), "warn", "CAP_SYS_RESOURCE"),
    (checks.capabilities(0, EVERYTHING & ~(1 << 12)), "fail", "sudo"),
    (checks.capabilities(1000, 0), "fail", "sudo"),
    (checks.proxy(ProxyProbe(True, "haproxy 2.6.12"), DEBIAN), "ok", ""),
    (
        checks.proxy(ProxyProbe(False, "haproxy", "HAProxy is not installed", "x"), ROCKY),
        "fail",
        "dnf install -y haproxy",
    ),
    (checks.proxy(ProxyProbe(False, "haproxy 2.2", "haproxy 2.2 is older than 2.6", "newer"), DEBIAN), "fail", "newer"),
    (checks.rules("library", "", DEBIAN), "ok", ""),
    (checks.rules("command", "", DEBIAN), "warn", "apt-get install -y nftables libnftables1"),
    (checks.rules("", "", ROCKY), "fail", "dnf install -y nftables"),
    (checks.rules("library", "Operation not permitted", DEBIAN), "fail", "root"),
    (checks.forwarding("1\n", "", "zl1"), "ok", ""),
    (checks.forwarding("0\n", "accept", "zl1"), "ok", ""),
    (checks.forwarding("1\n", "drop", "zl1"), "warn", "iptables -I FORWARD -i zl1 -j ACCEPT"),
    (checks.port("127.0.0.1:3669", "", None), "ok", ""),
    (checks.port("127.0.0.1:3669", "Address already in use", 77), "ok", ""),
    (checks.port("127.0.0.1:3669", "Address already in use", None), "fail", "sport = :3669"),
    (checks.disk("/d", 50 * GIB, 10**6, 10**7), "ok", ""),
    (checks.disk("/d", 50 * GIB, 0, 0), "ok", ""),
    (checks.disk("/d", 2 * GIB, 10**6, 10**7), "warn", "--data-dir"),
    (checks.disk("/d", GIB - 1, 10**6, 10**7), "fail", "zlayer image rm"),
    (checks.disk("/d", 50 * GIB, 5000, 10**6), "warn", "df -i /d"),
    (checks.filesystem("/d", "ext4"), "ok", ""),
    (checks.filesystem("/d", "nfs4", checks.Rootfs("copy", named=True)), "ok", ""),
    (checks.filesystem("/d", "nfs4", checks.Rootfs("copy")), "warn", "ext4"),
    (checks.filesystem("/d", "overlay", checks.Rootfs("overlay")), "ok", ""),
    (checks.overlayfs("nodev\tsysfs\n", checks.Rootfs("fuse-overlayfs", named=True)), "ok", ""),
    (checks.overlayfs("nodev\tsysfs\n", checks.Rootfs("copy")), "warn", "modprobe overlay"),
    (checks.overlayfs("nodev\tsysfs\n", checks.Rootfs("overlay", named=True)), "fail", "modprobe overlay"),
    (checks.filesystem("/d", "xfs"), "ok", ""),
    (checks.filesystem("/d", "tmpfs"), "warn", "--data-dir"),
    (checks.filesystem("/d", "overlay"), "fail", "ext4"),
    (checks.filesystem("/d", "nfs4"), "fail", "ext4"),
    (checks.filesystem("/d", "fuse.sshfs"), "fail", "ext4"),
    (checks.open_files(1048576), "ok", ""),
    (checks.open_files(-1), "ok", ""),
    (checks.open_files(1024), "warn", "LimitNOFILE"),
    (checks.open_files(256), "fail", "LimitNOFILE"),
    (checks.clock(2000.0, 1000.0, synchronised=True), "ok", ""),
    (checks.clock(2000.0, 1000.0, synchronised=False), "warn", "set-ntp"),
    (checks.clock(0.0, 1e9, synchronised=True), "fail", "date -s"),
]


@pytest.mark.parametrize(
    ("finding", "status", "fix"), CASES, ids=[f"{f.name}-{s}-{n}" for n, (f, s, _) in enumerate(CASES)]
)
def test_status_and_fix(finding: Finding, status: Status, fix: str) -> None:
    assert finding.status == status, finding
    assert fix in finding.fix
    assert bool(finding.fix) == (status != "ok"), "everything that is not well says what to do, and nothing else does"
    assert finding.detail


def test_engines_that_do_not_work_are_told_beside_the_one_that_does() -> None:
    refusals = {"crun": ("crun 1.8.1: hybrid", "mount it"), "youki": ("no OCI engine is installed (youki)", "apt")}
    engine, conmon = checks.engines("runc 1.1.5", refusals, conmon=True, release=DEBIAN)
    assert (engine.status, conmon.status) == ("ok", "ok")
    assert "runc 1.1.5 works" in engine.detail
    assert "crun 1.8.1: hybrid" in engine.detail
    assert "youki" not in engine.detail


def test_without_any_engine_the_fix_installs_one() -> None:
    absent = {name: (f"no OCI engine is installed ({name})", "") for name in ("crun", "runc")}
    engine, conmon = checks.engines("", absent, conmon=False, release=ROCKY)
    assert (engine.status, engine.fix) == ("fail", "dnf install -y runc")
    assert (conmon.status, conmon.fix) == ("fail", "dnf install -y conmon")


def test_an_engine_that_is_there_and_refuses_tells_its_own_fix() -> None:
    refusals = {"crun": ("crun 1.8.1: no cgroups", "mount them"), "runc": ("no OCI engine is installed (runc)", "x")}
    engine, _ = checks.engines("", refusals, conmon=True, release=DEBIAN)
    assert (engine.status, engine.fix) == ("fail", "mount them")
    assert "crun 1.8.1: no cgroups" in engine.detail


def test_an_unknown_distribution_gets_a_sentence() -> None:
    assert checks.install("runc", "ID=plan9\n") == "install runc with your package manager"
    assert checks.install("runc", "") == "install runc with your package manager"


def test_a_finding_answers_in_the_command_lines_words() -> None:
    finding = checks.kernel("4.19")
    assert (finding.level, finding.message) == (finding.status, finding.detail)


def test_capability_numbers_are_the_kernels() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    defined = dict(re.findall(r"#define (CAP_\w+)\s+(\d+)", header.read_text()))
    assert {name: str(bit) for name, bit in checks.CAPABILITIES.items()}.items() <= defined.items()
