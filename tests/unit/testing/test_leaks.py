from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlayer.testing.leaks import Census, diff, left_over, snapshot_machine
from zlayer.testing.netns import namespace, run_inside, short_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes mounts, cgroups and namespaces")


def test_diff_names_what_came_and_what_went() -> None:
    before = Census(mounts=("/a", "/b"), links=("zl00000000",))
    after = Census(mounts=("/b", "/c"), links=("zl00000000",))
    assert diff(before, after).splitlines() == ["+ mounts: /c", "- mounts: /a"]
    assert left_over(before, after) == "+ mounts: /c"
    assert diff(before, before) == ""


@pytest.mark.root
@needs_root
def test_mounts_and_pins_are_seen_with_and_without_a_data_directory() -> None:
    with short_directory() as directory:
        target = directory / "with space"
        target.mkdir()
        before = snapshot_machine(directory), snapshot_machine()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(target)], check=True)
        try:
            seen = snapshot_machine(directory), snapshot_machine()
        finally:
            subprocess.run(["umount", str(target)], check=True)
        assert f"+ mounts: {target}" in diff(before[0], seen[0])
        assert f"+ mounts: {target}" in diff(before[1], seen[1])
        assert diff(before[0], snapshot_machine(directory)) == ""
    with namespace() as pin:
        assert snapshot_machine(pin.parent).netns == (str(pin),)
    assert snapshot_machine(pin.parent).netns == ()


@pytest.mark.root
@needs_root
def test_links_and_tables_of_the_threads_namespace_are_seen() -> None:
    def make() -> Census:
        subprocess.run(["ip", "link", "add", "zl0123abcd-2a", "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "add", "other0", "type", "bridge"], check=True)
        subprocess.run(["nft", "add", "table", "inet", "zlayer_0123abcd"], check=True)
        claim = "ip route add unreachable 10.99.0.0/17 proto 122 metric 7"
        subprocess.run(claim.split(), check=True)
        subprocess.run([*claim.split()[:4], "10.98.0.0/17"], check=True)
        subprocess.run(["nft", "add", "table", "ip", "filter"], check=True)
        return snapshot_machine()

    with namespace() as host:
        seen = run_inside(host, make)
    assert (seen.links, seen.tables) == (("zl0123abcd-2a",), ("zlayer_0123abcd",))
    assert seen.routes == ("10.99.0.0/17 metric 7",)


@pytest.mark.root
@needs_root
def test_cgroups_of_every_hierarchy_are_seen() -> None:
    name = f"zlayer-leak{os.getpid()}"
    roots = [p for p in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if (p / "cgroup.procs").exists()]
    if not roots:
        pytest.skip("no cgroup hierarchy is mounted")
    made = roots[0] / name
    (made / "inner").mkdir(parents=True)
    try:
        seen = snapshot_machine().cgroups
    finally:
        (made / "inner").rmdir()
        made.rmdir()
    assert {str(made), str(made / "inner")} <= set(seen)
    assert str(made) not in snapshot_machine().cgroups


@pytest.mark.parametrize("way", ["argv", "cwd", "environ"])
def test_processes_are_seen_by_what_they_name(way: str) -> None:
    with short_directory() as directory:
        told = [str(directory)] if way == "argv" else []
        environ = {"PATH": os.environ["PATH"], **({"ZLAYER_DATA_DIR": str(directory)} if way == "environ" else {})}
        argv = [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()", *told]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        cwd = str(directory) if way == "cwd" else "/"
        with subprocess.Popen(argv, cwd=cwd, env=environ, **pipes) as child:  # type: ignore[call-overload]
            child.stdout.readline()
            seen = snapshot_machine(directory).processes
            child.communicate()
        assert [line.split()[0] for line in seen] == [str(child.pid)]
        assert snapshot_machine(directory).processes == ()


def test_the_caller_and_its_parents_do_not_count() -> None:
    assert not any(line.split()[0] in {str(os.getpid()), str(os.getppid())} for line in snapshot_machine().processes)
