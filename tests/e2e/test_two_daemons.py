"""Two daemons on one data directory: the second is refused. Two on two: neither sees the other."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from zlayer.testing.site import Site, deployment, service

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("registries")]

SERVE = {"entrypoint": ["sh", "-c"], "args": ["httpd -f -p 80 & trap 'exit 0' TERM; wait"]}


def test_a_second_daemon_on_one_directory_is_refused_and_the_first_unharmed(busybox: str) -> None:
    with Site() as site:
        site.start()
        assert site.daemon is not None
        site.cli("up", "-d", site.write(deployment("shop", web=service(busybox, command=SERVE))))
        before = site.instances()
        second = site.cli("serve", "--bind", "off", check=False, timeout=30)
        assert second.returncode == 6
        assert f"pid {site.daemon.pid}" in second.stderr
        assert "hint:" in second.stderr
        detached = site.cli("serve", "--daemon", check=False, timeout=30)
        assert detached.returncode == 6
        assert f"pid {site.daemon.pid}" in detached.stderr
        alias = site.root / "alias"
        alias.symlink_to(site.data)
        other_name = site.cli("--data-dir", str(alias), "serve", check=False, timeout=30)
        assert other_name.returncode == 6, "another spelling of the directory is the same daemon"
        assert site.instances() == before
        assert site.cli("status", "--format", "json").returncode == 0
        assert site.paths.lock.read_text().strip() == str(site.daemon.pid)
        site.assert_balanced()


def test_daemons_started_at_once_are_one(busybox: str) -> None:
    """Ten commands that each find no daemon start one, and all of them are answered by it."""
    with Site() as site:
        before = site.census()
        commands = [
            subprocess.Popen(
                site.argv("status", "--format", "json") if n % 2 else site.argv("ps"),
                env=site.environ,
                cwd=site.root,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for n in range(6)
        ]
        started = [one.communicate(timeout=90) for one in commands]
        pids = {line.partition(" ")[0] for line in site.census().processes if "zlayer.daemon" in line}
        assert len(pids) == 1, (pids, started)
        assert sum("started the daemon" in err for _, err in started) == 1, started
        site.cli("daemon", "stop")
        assert not [line for line in site.census().processes if line not in before.processes]


def test_side_by_side_they_do_not_see_each_other(busybox: str) -> None:
    with Site() as one, Site() as two:
        empty = one.census(), two.census()
        one.start()
        two.start()
        for site in (one, two):
            site.cli("up", "-d", site.write(deployment("shop", web=service(busybox, 2, command=SERVE))))
        ids = [{i["id"] for i in site.instances()} for site in (one, two)]
        assert len(ids[0] | ids[1]) == 4
        addresses = [i["ip"] for site in (one, two) for i in site.instances()]
        assert len(set(addresses)) == 4, "their subnets overlap"
        for site in (one, two):
            site.assert_balanced()
        one.kill()
        before = two.instances()
        one.start()
        one.cli("down", "shop")
        assert two.instances() == before
        assert one.instances() == []
        one.cli("daemon", "reset", "--force")
        one.reap()
        one.assert_clean(empty[0])
        assert two.instances() == before
        two.assert_balanced()
        for web in before:
            two.cli("exec", "web", "--", "wget", "-q", "-O", "/dev/null", f"http://{web['ip']}/etc/hostname")
        two.cli("daemon", "reset", "--force")
        two.reap()
        two.assert_clean(empty[1])


def test_a_stopped_process_is_no_free_directory(busybox: str) -> None:
    """A daemon that hangs still holds its directory: nobody may take it over."""
    with Site() as site:
        site.start()
        assert site.daemon is not None
        os.kill(site.daemon.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            second = site.cli("serve", check=False, timeout=30)
            assert second.returncode == 6
            assert time.monotonic() - began < 30
        finally:
            os.kill(site.daemon.pid, signal.SIGCONT)
        assert site.cli("ps").returncode == 0
