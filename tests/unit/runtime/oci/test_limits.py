"""Limits: what goes into config.json and what this machine cannot do."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.model.container import Resources, Ulimit
from zlayer.model.errors import Invalid, Unsupported
from zlayer.model.units import Bytes, Cpu
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci import limits
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.limits import oom_score_of, resources_of, rlimits_of, sysctls_of

V2 = Hierarchies(v2=Path("/sys/fs/cgroup"))
REQUEST = CreateRequest(id="x", directory=Path("/d"), rootfs=Path("/r"), argv=("true",))


@pytest.fixture
def v1(tmp_path: Path) -> Hierarchies:
    (tmp_path / "memory.memsw.limit_in_bytes").touch()
    return Hierarchies((("memory", tmp_path), ("blkio", tmp_path)))


def test_nothing_asked_is_nothing_set(v1: Hierarchies) -> None:
    assert resources_of(Resources(), v1) == {}


def test_memory_takes_swap_along(v1: Hierarchies) -> None:
    limit = 64 << 20
    assert resources_of(Resources(memory=Bytes(limit)), v1)["memory"] == {"limit": limit, "swap": limit}
    more = Resources(memory=Bytes(limit), memory_swap=Bytes(-1), memory_reservation=Bytes(1 << 20), memory_swappiness=0)
    assert resources_of(more, v1)["memory"] == {"limit": limit, "swap": -1, "reservation": 1 << 20, "swappiness": 0}


def test_without_swap_accounting_there_is_no_swap_limit(tmp_path: Path) -> None:
    off = Hierarchies((("memory", tmp_path),))
    assert resources_of(Resources(memory=Bytes(64 << 20)), off)["memory"] == {"limit": 64 << 20}


def test_cpu_and_pids(v1: Hierarchies) -> None:
    wanted = Resources(cpu=Cpu(1.5), cpu_shares=100, cpuset="0-1,3", pids=9)
    assert resources_of(wanted, v1) == {
        "cpu": {"quota": 150000, "period": 100000, "shares": 100, "cpus": "0-1,3"},
        "pids": {"limit": 9},
    }
    assert resources_of(Resources(cpu=Cpu(0.001)), v1)["cpu"]["quota"] == 1000


@pytest.mark.parametrize(
    "wanted",
    [
        Resources(memory=Bytes(1000)),
        Resources(memory_swap=Bytes(1 << 30)),
        Resources(memory=Bytes(64 << 20), memory_swap=Bytes(1 << 20)),
        Resources(cpu=Cpu(0)),
        Resources(cpuset="a"),
    ],
)
def test_impossible_values(wanted: Resources, v1: Hierarchies) -> None:
    with pytest.raises(Invalid):
        resources_of(wanted, v1)


def test_what_the_kernel_lacks_is_said(v1: Hierarchies) -> None:
    with pytest.raises(Unsupported, match="blkio_weight"):
        resources_of(Resources(blkio_weight=500), v1)
    for wanted in (Resources(memory=Bytes(64 << 20), memory_swappiness=5), Resources(oom_kill_disable=True)):
        with pytest.raises(Unsupported, match="v2"):
            resources_of(wanted, V2)
    assert resources_of(Resources(blkio_weight=500), V2)["blockIO"] == {"weight": 500}


def test_rlimits_never_pass_our_own() -> None:
    (limit,) = rlimits_of((Ulimit(name="nofile", soft=10, hard=20),))
    assert limit == {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}
    own = resource.getrlimit(resource.RLIMIT_CORE)[1]
    (core,) = rlimits_of((Ulimit(name="RLIMIT_CORE", soft=0, hard=0),))
    assert core["hard"] == 0 <= max(own, 0)
    with pytest.raises(Invalid, match="nofiles"):
        rlimits_of((Ulimit(name="nofiles", soft=1, hard=1),))


def test_a_raised_limit_of_open_files_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rlimits_of(()) == []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    monkeypatch.setattr(limits, "OPEN_FILES", (64, hard))
    assert rlimits_of(()) == [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": hard}]
    (own,) = rlimits_of((Ulimit(name="nofile", soft=10, hard=20),))
    assert own["soft"] == 10


def test_oom_score() -> None:
    assert oom_score_of(None) is None
    assert oom_score_of(1000) == 1000
    with pytest.raises(Invalid):
        oom_score_of(1001)


def test_sysctls_of_the_containers_own_namespaces() -> None:
    with_net = replace(REQUEST, netns=Path("/run/netns/x"), sysctls={"net/ipv4/ip_forward": "1"})
    assert sysctls_of(with_net) == {"net.ipv4.ip_forward": "1"}
    assert sysctls_of(replace(REQUEST, sysctls={"fs.mqueue.msg_max": "5"})) == {"fs.mqueue.msg_max": "5"}
    for request in (
        replace(REQUEST, sysctls={"net.ipv4.ip_forward": "1"}),
        replace(REQUEST, ipc_mode="host", sysctls={"kernel.shmmax": "1"}),
        replace(REQUEST, sysctls={"kernel.panic": "1"}),
        replace(REQUEST, sysctls={"kernel.hostname": "x"}),
    ):
        with pytest.raises(Invalid):
            sysctls_of(request)
