"""What only a real engine shows: isolation, limits, terminals, rotation, and being killed half-way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from zlayer.model.container import Device, Resources, Ulimit
from zlayer.model.errors import Failed, Invalid
from zlayer.model.units import Bytes, Seconds
from zlayer.runtime.contract import CreateRequest, ExecRequest, Exit, Handle, MountPoint, Session
from zlayer.runtime.oci.driver import OciRuntime
from zlayer.runtime.oci.rotation import segments
from zlayer.testing.sandbox import Sandbox, engines, sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.root]


class Lab:
    """A sandbox and a runtime over it."""

    def __init__(self, box: Sandbox, engine: str) -> None:
        self.box, self.engine = box, engine
        self.runtime = OciRuntime(box.containers, box.run, box.cgroup, engine)

    def request(self, command: str, name: str = "") -> CreateRequest:
        return self.box.request("/bin/sh", "-c", command, name=name)

    async def output(self, request: CreateRequest) -> tuple[Exit, str]:
        """Run to the end: (exit, stdout and stderr as logged)."""
        handle = await self.runtime.create(request)
        try:
            await self.runtime.start(handle)
            with anyio.fail_after(60):
                ended = await self.runtime.wait(handle)
            lines = [line.data async for line in self.runtime.logs(request.directory)]
            return ended, b"\n".join(lines).decode()
        finally:
            await self.runtime.remove(handle)

    async def says(self, command: str, **changes: object) -> str:
        ended, text = await self.output(replace(self.request(command), **changes))  # type: ignore[arg-type]
        assert ended.code == 0, text
        return text

    def commands(self, handle: Handle) -> bytes:
        """The command lines of all processes of a container."""
        files = [d / "cgroup.procs" for d in self.box.cgroups() if d.name == handle.id]
        pids = {pid for file in files for pid in file.read_text().split()}
        return b"".join(p.read_bytes() for pid in pids if (p := Path(f"/proc/{pid}/cmdline")).exists())

    async def running(self, request: CreateRequest) -> Handle:
        handle = await self.runtime.create(request)
        await self.runtime.start(handle)
        return handle


@pytest.fixture(params=engines())
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    with sandbox() as box:
        lab = Lab(box, request.param)
        yield lab
        for handle in await lab.runtime.list():
            await lab.runtime.remove(handle)
        await lab.runtime.close()


async def until(session: Session, wanted: bytes) -> bytes:
    """Output up to and with `wanted`."""
    got = b""
    async for _, chunk in session.output():
        got += chunk
        if wanted in got:
            return got
    raise AssertionError(f"{wanted!r} never came, only {got!r}")


class TestInside:
    async def test_process_user_and_privileges(self, lab: Lab) -> None:
        status = await lab.says("cat /proc/self/status", user="user", extra_groups=("wheel", "77"))
        fields = {k: v.split() for k, v in (line.split(":", 1) for line in status.splitlines())}
        assert fields["Uid"] == ["1000"] * 4
        assert fields["Gid"] == ["1001"] * 4
        assert set(fields["Groups"]) == {"1001", "1234", "10", "77"}
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == (["1"], ["2"])
        assert int(fields["CapEff"][0], 16) == 0
        assert int(fields["CapBnd"][0], 16) == 0xA80425FB

    async def test_root_has_dockers_capabilities_changed_as_asked(self, lab: Lab) -> None:
        command = "grep CapEff /proc/self/status"
        assert (await lab.says(command)).split()[1] == "00000000a80425fb"
        only = await lab.says(command, cap_drop=("ALL",), cap_add=("NET_ADMIN",))
        assert int(only.split()[1], 16) == 1 << 12
        less = await lab.says(command, cap_drop=("CAP_CHOWN",))
        assert int(less.split()[1], 16) == 0xA80425FB & ~1

    async def test_namespaces_are_its_own(self, lab: Lab) -> None:
        seen = await lab.says("for n in pid ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; hostname; echo $$",
                              hostname="box7")  # fmt: skip
        *links, name, pid = seen.splitlines()
        own = {str(Path(f"/proc/self/ns/{n}").readlink()) for n in ("pid", "ipc", "uts", "mnt", "cgroup")}
        assert not own & set(links)
        assert (name, pid) == ("box7", "1")

    async def test_seccomp_and_masked_paths(self, lab: Lab) -> None:
        text = await lab.says("unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1; wc -c < /proc/interrupts; "
                              "echo 1 > /proc/sys/kernel/hostname; touch /sys/x 2>&1; true")  # fmt: skip
        assert text.lower().count("not permitted") + text.lower().count("denied") >= 2
        assert "\n0\n" in text
        assert text.count("Read-only file system") >= 1

    async def test_privileged_may_what_others_may_not(self, lab: Lab) -> None:
        text = await lab.says("mount -t tmpfs x /tmp && ls /dev | wc -l; grep Seccomp: /proc/self/status",
                              privileged=True)  # fmt: skip
        count, _, mode = text.split()[:3]
        assert (int(count) > 16, mode) == (True, "0")

    async def test_read_only_root_and_mounts(self, lab: Lab) -> None:
        source = lab.box.root / "src"
        source.mkdir()
        (source / "f").write_text("from the host\n")
        mounts = (
            MountPoint("bind", "/data", str(source), readonly=True),
            MountPoint("tmpfs", "/scratch"),
            MountPoint("tmpfs", "/small", size=Bytes(1 << 20), mode=0o700),
        )
        text = await lab.says(
            "exec 2>/dev/null; cat /data/f; touch /data/x || echo ro; touch /x || echo ro;"
            "touch /scratch/ok && ls -ld /small;"
            "df -k /small | tail -1 | awk '{print $2}'",
            read_only_root=True,
            mounts=mounts,
        )
        assert text.startswith("from the host")
        assert text.count("\nro") == 2
        assert "drwx------" in text
        assert text.splitlines()[-1] == "1024"

    async def test_a_mount_target_behind_a_symlink_stays_inside(self, lab: Lab) -> None:
        victim = lab.box.root / "victim"
        victim.mkdir()
        source = lab.box.root / "source"
        source.mkdir()
        (source / "mark").touch()
        request = lab.request("ls /evil/deep; true")
        (request.rootfs / "evil").symlink_to(victim)
        request = replace(request, mounts=(MountPoint("bind", "/evil/deep", str(source)),))
        with contextlib.suppress(Failed):  # crun refuses it, runc makes the directory inside
            _, text = await lab.output(request)
            assert "mark" in text
        assert list(victim.iterdir()) == []

    async def test_passwd_behind_a_symlink_stays_inside(self, lab: Lab) -> None:
        outside = lab.box.root / "passwd"
        outside.write_text("ghost:x:4242:4242::/:/bin/sh\n")
        request = replace(lab.request("id -u"), user="ghost")
        (request.rootfs / "etc/passwd").unlink()
        (request.rootfs / "etc/passwd").symlink_to(outside)
        with pytest.raises(Invalid, match="ghost"):
            await lab.runtime.create(request)

    async def test_environment_directory_and_devices(self, lab: Lab) -> None:
        text = await lab.says("pwd; echo $HOME $PATH $A; ls /dev/null; head -c1 /dev/zero | wc -c",
                              env={"A": "b c"}, cwd="/tmp", devices=(Device(path="/dev/null"),), user="user",
                              seccomp="unconfined")  # fmt: skip
        lines = text.splitlines()
        assert lines[0] == "/tmp"
        assert lines[1] == "/home/user /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin b c"
        assert lines[-1] == "1"

    async def test_ulimits_are_clamped(self, lab: Lab) -> None:
        text = await lab.says("ulimit -n; ulimit -c", ulimits=(Ulimit(name="nofile", soft=321, hard=10**9),
                                                               Ulimit(name="core", soft=0, hard=0)))  # fmt: skip
        assert text.split() == ["321", "0"]

    async def test_host_modes(self, lab: Lab) -> None:
        seen = await lab.says(
            "readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid", pid_mode="host", ipc_mode="host"
        )
        assert seen.split() == [str(Path(f"/proc/self/ns/{n}").readlink()) for n in ("ipc", "pid")]

    async def test_sysctls_only_of_its_own_namespaces(self, lab: Lab) -> None:
        text = await lab.says("cat /proc/sys/kernel/shm_rmid_forced", sysctls={"kernel.shm_rmid_forced": "1"})
        assert text == "1"
        for name in ("kernel.panic", "net.ipv4.ip_forward", "vm.swappiness"):
            with pytest.raises(Invalid, match=name):
                await lab.runtime.create(replace(lab.request("true"), sysctls={name: "1"}))


class TestLimits:
    async def test_memory_is_a_limit_and_its_end_is_told(self, lab: Lab) -> None:
        request = replace(lab.request("exec tail /dev/zero"), resources=Resources(memory=Bytes(16 << 20)))
        ended, _ = await lab.output(request)
        assert (ended.code, ended.oom) == (137, True)

    async def test_a_kill_is_not_an_oom(self, lab: Lab) -> None:
        handle = await lab.running(lab.request("sleep 100"))
        await lab.runtime.signal(handle, "SIGKILL")
        ended = await lab.runtime.wait(handle)
        assert (ended.code, ended.oom) == (137, False)

    async def test_pids_cpu_and_stats(self, lab: Lab) -> None:
        resources = Resources(cpu=0.5, pids=7, memory=Bytes(64 << 20), cpu_shares=512)
        request = lab.request("i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo up; read x")
        request = replace(request, resources=resources, stdin_open=True)
        handle = await lab.running(request)
        async for _ in lab.runtime.logs(request.directory, follow=True):
            break
        stats = await lab.runtime.stats(handle)
        assert stats.cpu_seconds > 0
        assert (stats.pids, stats.pids_limit, stats.memory_limit) == (1, 7, 64 << 20)
        document = json.loads((request.directory / "bundle/config.json").read_text())
        assert document["linux"]["resources"]["cpu"] == {"quota": 50000, "period": 100000, "shares": 512}


class TestEnds:
    async def test_conmon_killed_is_an_unknown_code(self, lab: Lab) -> None:
        handle = await lab.running(lab.request("sleep 100"))
        os.kill(handle.monitor_pid, signal.SIGKILL)
        assert (await lab.runtime.state(handle)).phase == "running"
        os.kill(handle.pid, signal.SIGKILL)
        with anyio.fail_after(30):
            ended = await lab.runtime.wait(handle)
        assert ended.code is None
        assert (await lab.runtime.state(handle)).exit == ended

    async def test_children_die_with_it_also_in_the_hosts_pid_namespace(self, lab: Lab) -> None:
        request = replace(lab.request("sleep 4242 & sleep 4242 & echo up; wait"), pid_mode="host")
        handle = await lab.running(request)
        async for _ in lab.runtime.logs(request.directory, follow=True):
            break
        pids = [int(p) for f in lab.box.cgroups() if "pids" in str(f) for p in (f / "cgroup.procs").read_text().split()]
        assert len(set(pids)) == 3
        await lab.runtime.remove(handle)
        assert lab.box.processes() == {}
        assert [p for p in lab.box.cgroups() if p.name == handle.id] == []

    async def test_a_stopped_polite_one_keeps_its_last_words(self, lab: Lab) -> None:
        request = lab.request("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done")
        handle = await lab.running(request)
        async for _ in lab.runtime.logs(request.directory, follow=True):
            break
        assert (await lab.runtime.stop(handle, "SIGTERM", Seconds(20))).code == 0
        await lab.runtime.remove(handle)
        assert [line.data async for line in lab.runtime.logs(request.directory)] == [b"up", b"bye"]

    async def test_a_wrong_program_is_a_clear_failure(self, lab: Lab) -> None:
        for argv in (("nosuch",), ("/etc",), ("/etc/passwd",)):
            with pytest.raises(Failed) as caught:
                await lab.runtime.create(lab.box.request(*argv))
            assert argv[0] in caught.value.message
            assert caught.value.hint

    async def test_long_ids_and_names_at_the_border(self, lab: Lab) -> None:
        request = replace(lab.request("cat; echo end", name="n" * 200), stdin_open=True)
        handle = await lab.runtime.create(request)
        async with await lab.runtime.attach(handle) as session:
            await lab.runtime.start(handle)
            await session.close_stdin()
            await until(session, b"end\n")
        for bad in ("", "..", "a/b", "-x", "x" * 201):
            with pytest.raises(Invalid):
                await lab.runtime.create(replace(request, id=bad))


class TestTerminals:
    async def test_exec_on_a_terminal_with_a_size(self, lab: Lab) -> None:
        handle = await lab.running(lab.request("sleep 100"))
        request = ExecRequest(
            ("/bin/sh", "-c", "tty; read x; until stty size; do :; done; exit 9"), tty=True, stdin=True
        )
        async with await lab.runtime.exec(handle, request) as session:
            with anyio.fail_after(30):
                assert b"/dev/pts/" in await until(session, b"\n")
                await session.resize(33, 101)
                await session.send(b"\n")
                await until(session, b"33 101")
                assert await session.wait() == 9

    async def test_attach_to_a_terminal(self, lab: Lab) -> None:
        request = replace(lab.request("tty; read x; stty size; exit 3"), tty=True, stdin_open=True)
        handle = await lab.runtime.create(request)
        async with await lab.runtime.attach(handle) as session:
            await session.resize(40, 120)
            await lab.runtime.start(handle)
            with anyio.fail_after(30):
                await until(session, b"/dev/pts/0")
                await session.resize(41, 121)
                await session.send(b"\n")
                await until(session, b"1")
                assert await session.wait() == 3

    async def test_exec_as_another_user_elsewhere(self, lab: Lab) -> None:
        handle = await lab.running(replace(lab.request("sleep 100"), env={"A": "1"}))
        request = ExecRequest(("/bin/sh", "-c", "id -u; id -g; pwd; echo $A $B $HOME"), {"B": "2"}, "/tmp", "user")
        async with await lab.runtime.exec(handle, request) as session:
            got = await until(session, b"home/user\n")
        assert got.decode().split() == ["1000", "1001", "/tmp", "1", "2", "/home/user"]

    async def test_leaving_kills_what_runs_and_leaks_nothing(self, lab: Lab) -> None:
        handle = await lab.running(lab.request("sleep 100"))
        before = len(list(Path("/proc/self/fd").iterdir()))
        for tty in (False, True):
            request = ExecRequest(("/bin/sh", "-c", "echo on; sleep 4243"), tty=tty, stdin=True)
            async with await lab.runtime.exec(handle, request) as session:
                await until(session, b"on")
            with anyio.fail_after(20):
                while b"4243" in lab.commands(handle):
                    await anyio.lowlevel.checkpoint()  # killed; the kernel takes it apart in its own time
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert not list(Path(handle.directory).glob("bundle/exec-*"))

    async def test_much_goes_through(self, lab: Lab) -> None:
        handle = await lab.running(lab.request("sleep 100"))
        data = random.Random(1).randbytes(1 << 20)
        async with await lab.runtime.exec(handle, ExecRequest(("cat",), stdin=True)) as session:
            got = bytearray()

            async def read() -> None:
                async for _, chunk in session.output():
                    got.extend(chunk)

            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await session.send(data)
                await session.close_stdin()
            assert await session.wait() == 0
        assert bytes(got) == data


class TestLogFiles:
    async def test_nothing_is_lost_under_the_cap_and_the_cap_holds(self, lab: Lab) -> None:
        cap = 1 << 20
        lines = 8000  # of about 110 bytes: a little under the cap
        request = lab.request(f"i=0; while [ $i -lt {lines} ]; do echo $i {'x' * 60}; i=$((i+1)); done")
        request = replace(request, log_max_size=Bytes(cap))
        ended, text = await lab.output(request)
        assert ended.code == 0
        assert [int(line.split()[0]) for line in text.splitlines()] == list(range(lines))
        assert sum(path.stat().st_size for path in segments(request.directory / "log/container.log")) <= cap

    async def test_over_the_cap_the_newest_stay_and_the_cap_holds(self, lab: Lab) -> None:
        cap = 128 << 10
        lines = 20000
        request = lab.request(f"i=0; while [ $i -lt {lines} ]; do echo $i {'x' * 60}; i=$((i+1)); done")
        request = replace(request, log_max_size=Bytes(cap))
        most = 0
        handle = await lab.running(request)
        log = request.directory / "log/container.log"
        while (await lab.runtime.state(handle)).phase == "running":
            files = {f.stat().st_ino: f.stat().st_size for f in segments(log) if f.exists()}
            most = max(most, sum(files.values()))
            await anyio.lowlevel.checkpoint()
        first, *kept = [line.data async for line in lab.runtime.logs(request.directory)]
        got = [int(line.split()[0]) for line in kept]
        assert most <= cap
        assert got[-1] == lines - 1
        assert got == sorted(set(got))
        # Its beginning may have gone with the file before it.
        assert f"{got[0] - 1} {'x' * 60}".encode().endswith(first)
        assert [line.data async for line in lab.runtime.logs(request.directory, tail=3)] == [
            f"{lines - n} {'x' * 60}".encode() for n in (3, 2, 1)
        ]

    async def test_follow_sees_every_line_across_rotation(self, lab: Lab) -> None:
        request = lab.request("i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); usleep 100; done")
        request = replace(request, log_max_size=Bytes(64 << 10))
        handle = await lab.running(request)
        seen = []
        with anyio.fail_after(60):
            async for line in lab.runtime.logs(request.directory, follow=True):
                seen.append(int(line.data))
                if seen[-1] == 2999:
                    break
        assert seen == list(range(3000))
        await lab.runtime.remove(handle)

    async def test_a_long_line_is_joined_and_a_longer_one_cut(self, lab: Lab) -> None:
        request = lab.request("head -c 12000 /dev/zero | tr '\\0' a; echo; head -c 40000 /dev/zero | tr '\\0' b; echo")
        handle = await lab.running(request)
        await lab.runtime.wait(handle)
        lines = [line async for line in lab.runtime.logs(request.directory)]
        assert (len(lines[0].data), lines[0].partial) == (12000, False)
        assert sum(len(line.data) for line in lines[1:]) == 40000
        assert [line.partial for line in lines[1:]] == [True] * (len(lines) - 2) + [False]


_CREATE = """
import sys, anyio
from pathlib import Path
from dataclasses import replace
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci.driver import OciRuntime
root, cgroup, engine, name = sys.argv[1:]
async def main():
    runtime = OciRuntime(Path(root) / "c", Path(root) / "r", cgroup, engine)
    directory = Path(root) / "c" / name
    request = CreateRequest(id=name, directory=directory, rootfs=directory / "rootfs", argv=("sleep", "100"))
    print("go", flush=True)
    handle = await runtime.create(request)
    print("made", flush=True)
    await anyio.sleep(100)
anyio.run(main)
"""


class TestKilledHalfWay:
    async def test_create_after_a_kill_makes_exactly_one(self, lab: Lab) -> None:
        await lab.runtime.probe()
        random_source = random.Random(7)
        for number in range(12):
            request = lab.box.request("sleep", "100", name=f"k{number}")
            child = subprocess.Popen(  # noqa: ASYNC220  # it is killed, not awaited
                [sys.executable, "-c", _CREATE, str(lab.box.root), lab.box.cgroup, lab.engine, request.id],
                stdout=subprocess.PIPE,
            )
            assert child.stdout
            assert child.stdout.readline() == b"go\n"
            await anyio.sleep(random_source.uniform(0, 0.09))
            child.kill()
            child.wait()
            child.stdout.close()
            with anyio.fail_after(60):
                handle = await lab.runtime.create(request)
                await lab.runtime.start(handle)
            assert (await lab.runtime.state(handle)).phase == "running"
            inside = {
                int(p)
                for d in lab.box.cgroups()
                if d.name == request.id
                for p in (d / "cgroup.procs").read_text().split()
            }
            assert inside == {handle.pid}
            watching = [
                pid for pid, line in lab.box.processes().items() if request.id in line.split() and pid != handle.pid
            ]
            assert watching == [handle.monitor_pid]
            await lab.runtime.remove(handle)

    async def test_a_cancelled_create_leaves_nothing(self, lab: Lab) -> None:
        await lab.runtime.probe()
        for delay in (0.0, 0.01, 0.03, 0.05):
            request = lab.request("sleep 100")
            with anyio.move_on_after(delay):
                await lab.runtime.create(request)
            assert not (request.directory / "bundle/record.json").exists() or await lab.runtime.list()
            for handle in await lab.runtime.list():
                await lab.runtime.remove(handle)
            assert lab.box.processes() == {}
            assert [p for p in lab.box.cgroups() if p.name == request.id] == []

    async def test_a_new_daemon_ends_what_nobody_hears(self, lab: Lab) -> None:
        handle = await lab.running(lab.request("sleep 100"))
        own = lab.runtime
        async with await own.exec(handle, ExecRequest(("/bin/sh", "-c", "echo on; exec sleep 4244"))) as session:
            await until(session, b"on")
            (scratch,) = Path(handle.directory).glob("bundle/exec-*")
            with anyio.fail_after(20):
                while not (scratch / "pid").exists():
                    await anyio.lowlevel.checkpoint()
            await own.recover(handle)
            assert b"4244" in lab.commands(handle)
            scratch.rename(scratch.with_name("exec-1-1-gone"))
            await OciRuntime(lab.box.containers, lab.box.run, lab.box.cgroup, lab.engine).recover(handle)
            assert await session.wait() != 0
        assert not list(Path(handle.directory).glob("bundle/exec-*"))

    async def test_a_remove_that_was_killed_can_be_done_again(self, lab: Lab) -> None:
        request = lab.request("sleep 100")
        handle = await lab.running(request)
        for path in ("record.json", "conmon.pid"):
            (request.directory / "bundle" / path).unlink()
        await lab.runtime.remove(handle)
        assert lab.box.processes() == {}
        assert (await lab.runtime.state(handle)).phase == "absent"
