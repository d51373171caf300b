"""What a person at a terminal sees and does, on real pseudo terminals; and what a container is confined to."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from zlayer.testing.site import Site, deployment, service
from zlayer.testing.terminal import Terminal

pytestmark = pytest.mark.root
DOCKERS = 0x00000000A80425FB
"""The fourteen capabilities docker gives by default (moby, oci/caps/defaults.go)."""
Status = dict[str, str]


@contextmanager
def terminal(site: Site, *argv: str, rows: int = 24, columns: int = 80) -> Iterator[Terminal]:
    env = {**site.environ, "CLICOLOR_FORCE": "0"}
    with Terminal(site.argv(*argv), env=env, cwd=site.root, rows=rows, columns=columns) as opened:
        yield opened


@pytest.fixture
def web_up(site: Site, web: str) -> Site:
    endpoints = [{"name": "http", "protocol": "http", "port": 80}]
    site.cli("up", "-d", site.write(deployment("shop", web=service(web, 2, endpoints=endpoints))))
    return site


def shell_session(term: Terminal) -> None:
    """Type, resize, interrupt, leave with a code: the same in exec and run."""
    term.expect("# ")
    term.type("echo $((40 + 2)) on $(tty)\n")
    term.expect("42 on /dev/pts/0")
    term.type("stty size\n")
    term.expect("30 100")
    term.resize(50, 132)
    term.type("while [ \"$(stty size)\" != '50 132' ]; do sleep 0.05; done; echo re''sized\n")
    term.expect("resized")
    assert not term.restored, "while it runs every key goes to the container"
    term.type("sh -c 'echo wai''ting; sleep 1000'\n")
    term.expect("waiting")
    term.type("\x03")
    term.expect("# ")
    term.type("exit 23\n")
    assert term.wait() == 23
    assert term.restored


def test_a_shell_in_a_replica(web_up: Site) -> None:
    with terminal(web_up, "exec", "-it", "web", "--", "sh", rows=30, columns=100) as term:
        shell_session(term)
    assert len(web_up.running("web")) == 2


def test_a_shell_of_its_own(site: Site, busybox: str) -> None:
    with terminal(site, "run", "--rm", "-it", busybox, rows=30, columns=100) as term:
        shell_session(term)
    assert site.instances() == []


def test_a_terminal_is_given_back_when_the_client_is_told_to_end(web_up: Site) -> None:
    with terminal(web_up, "exec", "-it", "web", "--", "sh") as term:
        term.expect("# ")
        term.process.send_signal(signal.SIGTERM)
        assert term.wait() == 128 + signal.SIGTERM
        assert term.restored


def test_a_run_on_a_terminal_that_is_closed_leaves_nothing(site: Site, busybox: str) -> None:
    script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with terminal(site, "run", "--rm", "-it", busybox, "sh", "-c", script) as term:
        term.expect("ready")
        term.process.send_signal(signal.SIGHUP)
        term.wait()
        assert term.restored
    site.until(lambda: site.instances() == [], "the container of a closed terminal goes")


def test_a_terminal_that_is_none_is_refused(web_up: Site) -> None:
    done = web_up.cli("exec", "-it", "web", "--", "sh", check=False)
    assert done.returncode == 2
    assert "stdin is no terminal" in done.stderr


def test_up_in_the_foreground_and_ctrl_c(site: Site, busybox: str) -> None:
    talk = "trap 'echo bye; exit 0' TERM; echo hello; n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done"
    talker = service(busybox, 2, command={"args": ["sh", "-c", talk]})
    path = site.write(deployment("shop", talker=talker))
    with terminal(site, "up", path) as term:
        term.expect("shop is stable: 2 replicas ready")
        term.expect("tick 12")
        assert "talker-1 | hello" in term.text
        assert "talker-2 | hello" in term.text
        term.type("\x03")
        term.expect("stopping shop")
        assert term.wait() == 130
        assert "talker-1 | bye" in term.text
        assert term.restored
    assert {one["state"] for one in site.instances()} == {"exited"}
    assert {one["exit_code"] for one in site.instances()} == {0}
    assert json.loads(site.cli("ps", "--format", "json").stdout)[0]["status"] == "stopped"


def test_up_in_the_foreground_ends_when_it_is_stopped_elsewhere(web_up: Site) -> None:
    with terminal(web_up, "up", str(web_up.root / "app.zlayer.yml")) as term:
        term.expect("shop is stable")
        web_up.cli("stop", "shop")
        term.expect("shop is stopped")
        assert term.wait() == 0


def test_progress_is_redrawn_in_place_and_colours_are_off(site: Site, web: str) -> None:
    slow = service(
        web,
        3,
        command={"entrypoint": ["sh", "-c", "sleep 2; touch /ready; exec sleep 1000"]},
        health={"interval": "200ms", "check": {"type": "command", "command": "test -e /ready"}},
    )
    with terminal(site, "up", "-d", site.write(deployment("shop", web=slow)), columns=60) as term:
        assert term.wait() == 0
    assert "shop is stable: 3 replicas ready" in term.text
    assert "\x1b[J" in term.shown, "lines are drawn over, not repeated"
    assert "\x1b[3" not in term.shown, "NO_COLOR"
    assert all(len(line) <= 60 for line in term.text.splitlines())


def facts(site: Site, image: str, script: str, *options: str) -> list[str]:
    return site.cli("run", "--rm", *options, image, "sh", "-c", script).stdout.splitlines()


def process_status(site: Site, image: str, *options: str) -> Status:
    lines = facts(site, image, "cat /proc/self/status", *options)
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_privileges_are_dockers_and_no_more(site: Site, busybox: str) -> None:
    status = process_status(site, busybox)
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[kind], 16) == DOCKERS
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    user = process_status(site, busybox, "-u", "nobody")
    assert int(user["CapEff"], 16) == int(user["CapPrm"], 16) == 0
    denied = site.cli("run", "--rm", busybox, "sh", "-c", "mount -t tmpfs none /tmp; unshare -n true", check=False)
    assert denied.returncode != 0
    assert denied.stderr.count("ermitted") + denied.stderr.count("denied") >= 2
    assert int(process_status(site, busybox, "--privileged")["CapEff"], 16) > DOCKERS


def test_it_sees_itself_alone(site: Site, busybox: str) -> None:
    script = "echo $$; ls -d /proc/[0-9]* | wc -l; tr '\\0' ' ' < /proc/1/cmdline; echo; readlink /proc/self/ns/user"
    first, count, command, _ = facts(site, busybox, f"{script}; true")
    assert first == "1", "the command is the first process"
    assert int(count) <= 3
    assert command.startswith("sh -c echo $$")


def test_the_kernels_own_files_are_masked_or_read_only(site: Site, busybox: str) -> None:
    script = """
        for f in /proc/kcore /proc/keys /proc/timer_list /sys/firmware/*; do
            if [ -e $f ]; then wc -c < $f; fi
        done
        for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/profiling; do
            if [ -e $f ] && (echo x > $f) 2>/dev/null; then echo wrote $f; fi
        done
        awk '$2 == "/sys" { print $4 }' /proc/mounts
        ls /dev
    """
    lines = facts(site, busybox, script)
    options = next(line for line in lines if line.startswith("ro"))
    before, devices = lines[: lines.index(options)], set(lines[lines.index(options) + 1 :])
    assert set(before) <= {"0"}, "masked files are empty and nothing could be written"
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm"} <= devices
    assert not {"mem", "kmsg", "sda", "vda", "loop0"} & devices


def test_its_name_and_the_names_it_knows(site: Site, busybox: str) -> None:
    name, *lines = facts(site, busybox, "hostname; cat /etc/hostname; cat /etc/hosts; cat /etc/resolv.conf")
    assert lines[0] == name
    assert "127.0.0.1\tlocalhost" in lines
    own = next(line for line in lines if line.endswith(f"\t{name}"))
    assert any(line.startswith("nameserver ") for line in lines)
    document = deployment(
        "names",
        a=service(busybox, command={"args": ["sleep", "1000"]}, hostname="alpha", dns=["192.0.2.53"],
                  extra_hosts=["db:192.0.2.7"], stop_signal="SIGKILL"),
    )  # fmt: skip
    site.cli("up", "-d", site.write(document))
    said = site.cli("exec", "a", "--", "cat", "/etc/hostname", "/etc/resolv.conf", "/etc/hosts").stdout.splitlines()
    (one,) = site.running("a")
    assert said[0] == "alpha"
    assert "nameserver 192.0.2.53" in said
    assert {"192.0.2.7\tdb", f"{one['ip']}\talpha"} <= set(said)
    assert own.split("\t")[0] != one["ip"]


def test_limits_of_a_service(site: Site, busybox: str) -> None:
    limits: dict[str, Any] = {"memory": "64Mi", "pids_limit": 50}  # Any: JSON
    spec = service(busybox, command={"args": ["sleep", "1000"]}, resources=limits, stop_signal="SIGKILL",
                   ulimits={"nofile": {"soft": 100, "hard": 200}})  # fmt: skip
    site.cli("up", "-d", site.write(deployment("limits", a=spec)))
    script = """
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max
        cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max
        grep 'Max open files' /proc/1/limits
    """
    memory, pids, files = site.cli("exec", "a", "--", "sh", "-c", script).stdout.splitlines()
    assert (memory, pids, files.split()[3:5]) == (str(64 << 20), "50", ["100", "200"])
    bomb = "for i in $(seq 100); do sleep 100 & done; wait"
    done = site.cli("exec", "a", "--", "sh", "-c", f"({bomb}) 2>&1 | head -1", check=False)
    assert "fork" in done.stdout
