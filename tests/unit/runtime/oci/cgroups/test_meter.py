"""Statistics from fixture directories: v1 with split and joined mounts, and v2."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.cgroups.meter import read_stats

NET = """Inter-|   Receive                  |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  999   9  0  0  0  0  0  0   999   9  0  0  0  0  0  0
  eth0: 1000  10  0  0  0  0  0  0   500   5  0  0  0  0  0  0
  eth1:   20   1  0  0  0  0  0  0     3   1  0  0  0  0  0  0
"""


def files(root: Path, **contents: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (root / name.replace("__", ".")).write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    files(tmp_path / "proc/7/net", dev=NET)
    return tmp_path / "proc"


@pytest.mark.parametrize("joined", [False, True])
def test_v1(tmp_path: Path, proc: Path, joined: bool) -> None:  # a parameter of the test
    cpu = tmp_path / ("cpu,cpuacct" if joined else "cpu")
    account = cpu if joined else tmp_path / "cpuacct"
    files(cpu / "p/x", cpu__stat="nr_periods 5\nnr_throttled 2\nthrottled_time 250000000\n")
    files(account / "p/x", cpuacct__usage="1500000000\n")
    files(
        tmp_path / "memory/p/x",
        memory__usage_in_bytes="5000\n",
        memory__max_usage_in_bytes="6000\n",
        memory__limit_in_bytes="67108864\n",
        memory__stat="cache 100\ninactive_file 1\ntotal_inactive_file 1000\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    )
    files(tmp_path / "pids/p/x", pids__current="3\n", pids__max="max\n")
    io = "8:0 Read 4096\n8:0 Write 10\n8:16 Read 4\n8:0 Total 4106\nTotal 4110\n"
    files(tmp_path / "blkio/p/x", blkio__throttle__io_service_bytes=io)
    mounts = {"cpu": cpu, "cpuacct": account, **{n: tmp_path / n for n in ("memory", "pids", "blkio")}}
    stats = read_stats(Hierarchies(tuple(mounts.items())), "/p/x", 7, proc=proc)
    assert (stats.cpu_seconds, stats.cpu_throttled_seconds) == (1.5, 0.25)
    assert (stats.memory, stats.memory_peak, stats.memory_limit) == (4000, 6000, 67108864)
    assert (stats.oom_kills, stats.pids, stats.pids_limit) == (1, 3, 0)
    assert (stats.io_read, stats.io_written) == (4100, 10)
    assert (stats.net_received, stats.net_sent) == (1020, 503)


def test_v2(tmp_path: Path, proc: Path) -> None:
    files(
        tmp_path / "p/x",
        cpu__stat="usage_usec 2500000\nuser_usec 1\nnr_throttled 1\nthrottled_usec 500000\n",
        memory__current="9000\n",
        memory__peak="9500\n",
        memory__max="max\n",
        memory__stat="anon 1\ninactive_file 2000\n",
        memory__events="low 0\noom_kill 4\n",
        pids__current="2\n",
        pids__max="50\n",
        io__stat="8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0\n8:16 rbytes=1 wbytes=2\n",
    )
    stats = read_stats(Hierarchies(v2=tmp_path), "/p/x", 7, proc=proc)
    assert (stats.cpu_seconds, stats.cpu_throttled_seconds) == (2.5, 0.5)
    assert (stats.memory, stats.memory_peak, stats.memory_limit) == (7000, 9500, 0)
    assert (stats.oom_kills, stats.pids, stats.pids_limit) == (4, 2, 50)
    assert (stats.io_read, stats.io_written) == (11, 22)


def test_controllers_that_are_off_give_nothing(tmp_path: Path) -> None:
    stats = read_stats(Hierarchies((("memory", tmp_path / "m"),)), "/p/x", 7, proc=tmp_path)
    assert (stats.cpu_seconds, stats.memory, stats.pids, stats.io_read, stats.net_sent) == (0, 0, 0, 0, 0)


def test_no_limit_of_v1_is_no_limit(tmp_path: Path) -> None:
    files(tmp_path / "m/x", memory__limit_in_bytes="9223372036854771712\n")
    assert read_stats(Hierarchies((("memory", tmp_path / "m"),)), "/x", 1, proc=tmp_path).memory_limit == 0
