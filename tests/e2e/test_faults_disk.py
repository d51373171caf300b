"""A full disk: the data directory on a small file system, filled during a pull, an up and while containers log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from zlayer.model.errors import Unsupported
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import FaultyRegistry
from zlayer.testing.site import deployment, service
from zlayer.testing.small_site import SmallSite

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("registries")]

STAY = {"entrypoint": ["sh", "-c"], "args": ["echo born; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}
ENDS = "trap 'exit 7' USR1; while :; do sleep 9 & wait $!; done"
TALK = {"entrypoint": ["sh", "-c"], "args": ["trap 'exit 0' TERM; while :; do date; sleep 1; done"]}


def refused(small: SmallSite, *arguments: str) -> str:
    """What a command says that must fail for lack of space."""
    done = small.cli(*arguments, check=False, timeout=60)
    assert done.returncode not in (0, 2), done
    assert "space" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def small() -> Iterator[SmallSite]:
    with ExitStack() as stack:
        try:
            site = stack.enter_context(SmallSite())
        except Unsupported as reason:
            pytest.skip(reason.message)
        site.start()
        yield site


def test_a_full_disk_is_told_and_loses_nothing(small: SmallSite, busybox: str) -> None:
    small.cli("up", "-d", small.write(deployment("kept", rock=service(busybox, command=STAY)), "kept.yml"))
    small.cli("up", "-d", small.write(deployment("chatty", talk=service(busybox, command=TALK)), "chatty.yml"))
    ends = small.cli("run", "-d", "--name", "ends", busybox, "sh", "-c", ENDS).stdout.strip()
    before = {i["service"]: i for i in small.running()}
    file = small.write(deployment("late", web=service(busybox, command=STAY)), "late.yml")
    with small.full():
        refused(small, "up", "-d", "--timeout", "5", file)
        refused(small, "run", busybox, "true")
        refused(small, "scale", "--deployment", "kept", "rock=2")
        os.kill(before["ends"]["pid"], 10)
        small.until(lambda: not Path(f"/proc/{before['ends']['pid']}").exists(), "the one-off has ended")
        assert small.cli("logs", "--deployment", "kept", "rock").stdout.count("born") == 1
        now = {i["service"]: i for i in small.running()}
        assert now["rock"] == before["rock"]
        assert now["talk"] == before["talk"]
        assert small.cli("exec", "--deployment", "kept", "rock", "--", "true", check=False).returncode in (0, 1)
    small.until(lambda: [i["id"] for i in small.instances() if i["state"] == "exited"] == [ends], "its end is told")
    [ended] = [i for i in small.instances() if i["id"] == ends]
    assert ended["exit_code"] == 7 or "the disk was full" in ended["reason"], ended
    small.cli("up", "-d", file)
    small.cli("scale", "--deployment", "kept", "--wait", "rock=2")
    heard = small.cli("logs", "-n", "1", "--deployment", "chatty", "talk").stdout
    small.until(lambda: small.cli("logs", "-n", "1", "--deployment", "chatty", "talk").stdout != heard, "it logs on")
    small.kill()
    small.start()
    assert {i["service"] for i in small.running()} == {"rock", "talk", "web"}
    for name in ("kept", "chatty", "late"):
        small.cli("down", name)
    small.cli("rm", "ends")
    small.assert_balanced()


def test_a_disk_that_fills_during_a_pull(small: SmallSite) -> None:
    big = layer(Tar().file("big", os.urandom(8 << 20)), "none")
    with FaultyRegistry() as registry:
        reference = registry.hold("big", "1", image([*busybox_image().layers, big], {"Cmd": ["sh"]}))
        with small.full():
            refused(small, "pull", reference)
        ballast = small.data / "ballast"
        free = os.statvfs(small.data)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (10 << 20))
        said = refused(small, "pull", reference)
        assert "hint:" in said
        assert not list(small.paths.layers.glob(".*"))
        assert not list((small.paths.blobs / "tmp").glob("*"))
        ballast.unlink()
        small.cli("pull", reference)
        assert small.cli("run", "--rm", reference, "sh", "-c", "wc -c < /big").stdout.strip() == str(8 << 20)


def test_a_daemon_that_starts_on_a_full_disk(small: SmallSite, busybox: str) -> None:
    small.cli("up", "-d", small.write(deployment("kept", rock=service(busybox, command=STAY)), "kept.yml"))
    [rock] = small.running()
    small.kill()
    with small.full():
        small.start()
        assert small.running() == [rock]
        small.cli("down", "kept", check=False, timeout=60)
    small.until(lambda: small.running() in ([], [rock]), "it is settled")
    small.cli("down", "kept", check=False)
    small.until(lambda: small.instances() == [], "all is gone")
    small.assert_balanced()
