"""Mount tables of v1 split, v1 joined, hybrid and v2; reading and removing on directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies, mounted, pairs, parse

SPLIT = """31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw
"""
JOINED = """32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /mnt/a\\040b rw - cgroup cgroup rw,memory,xattr
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_split_and_hybrid() -> None:
    found = parse(SPLIT)
    assert found.mount_of("cpu") == Path("/sys/fs/cgroup/cpu")
    assert found.directory("cpuacct", "/p/x") == (Path("/sys/fs/cgroup/cpuacct/p/x"), 1)
    assert found.directory("pids", "/p/x") == (Path("/sys/fs/cgroup/unified/p/x"), 2)
    assert not found.unified_only
    assert len(found.directories("/p/x")) == 5


def test_joined_mounts_count_once_and_escapes_are_read() -> None:
    found = parse(JOINED)
    assert found.mount_of("cpu") == found.mount_of("cpuacct") == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert found.mount_of("memory") == Path("/mnt/a b")
    assert found.mount_of("xattr") is None
    assert len(found.directories("p")) == 2
    assert found.directory("freezer", "p") is None


def test_v2_alone() -> None:
    found = parse(V2)
    assert found.unified_only
    assert found.directory("memory", "/p/x") == (Path("/sys/fs/cgroup/p/x"), 2)


def test_a_torn_table_is_survived() -> None:
    assert parse("nonsense\n1 2 3\n - cgroup\n") == Hierarchies()


def test_this_machine_has_some() -> None:
    found = mounted()
    assert found.v1 or found.v2


@pytest.fixture
def v1(tmp_path: Path) -> Hierarchies:
    return Hierarchies((("freezer", tmp_path / "freezer"), ("memory", tmp_path / "memory")))


def test_remove_takes_children_first_and_a_second_time_is_fine(v1: Hierarchies, tmp_path: Path) -> None:
    for path in ("freezer/p/x/deep/er", "memory/p/x"):
        (tmp_path / path).mkdir(parents=True)
    assert v1.remove("/p/x") == []
    assert v1.remove("/p/x") == []
    assert (tmp_path / "freezer/p").exists()
    assert not (tmp_path / "freezer/p/x").exists()


def test_oom_kills_of_both_versions(tmp_path: Path, v1: Hierarchies) -> None:
    (tmp_path / "memory/x").mkdir(parents=True)
    (tmp_path / "memory/x/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert v1.oom_kills("/x") == 2
    (tmp_path / "u/x").mkdir(parents=True)
    (tmp_path / "u/x/memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    assert Hierarchies(v2=tmp_path / "u").oom_kills("/x") == 3
    assert v1.oom_kills("/gone") == 0


def test_processes_of_a_tree(tmp_path: Path, v1: Hierarchies) -> None:
    (tmp_path / "freezer/x/y").mkdir(parents=True)
    (tmp_path / "freezer/x/cgroup.procs").write_text("10\n11\n")
    (tmp_path / "freezer/x/y/cgroup.procs").write_text("12\n")
    assert v1.processes("/x") == {10, 11, 12}
    assert v1.processes("/gone") == set()


def test_thaw_touches_only_what_is_frozen(tmp_path: Path, v1: Hierarchies) -> None:
    state = tmp_path / "freezer/x/freezer.state"
    state.parent.mkdir(parents=True)
    for before in ("FROZEN\n", "FREEZING\n"):
        state.write_text(before)
        v1.thaw("/x")
        assert state.read_text() == "THAWED"
    state.write_text("THAWED\n")
    v1.thaw("/x")
    assert state.read_text() == "THAWED\n"
    unified = Hierarchies(v2=tmp_path)
    (tmp_path / "cgroup.freeze").write_text("1\n")
    unified.thaw("/")
    assert (tmp_path / "cgroup.freeze").read_text() == "0"


def test_swap_and_weights_are_found_by_their_files(tmp_path: Path) -> None:
    found = Hierarchies((("blkio", tmp_path / "b"), ("memory", tmp_path / "m")))
    for name in ("b", "m"):
        (tmp_path / name).mkdir()
    assert (found.counts_swap(), found.has_io_weight()) == (False, False)
    (tmp_path / "m/memory.memsw.limit_in_bytes").touch()
    (tmp_path / "b/blkio.bfq.weight").touch()
    assert (found.counts_swap(), found.has_io_weight()) == (True, True)


def test_pairs_pass_over_what_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a 1\nb max\nc\nd 2\n")
    assert pairs(tmp_path / "f") == {"a": 1, "d": 2}
