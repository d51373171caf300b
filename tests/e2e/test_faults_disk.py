"""A full disk: the data directory on a small file system, filled during a pull, an up and while containers log."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import FaultyRegistry
from zlayer.testing.site import CONFIG, Site, deployment, service

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("registries")]

SIZE = 40 << 20
QUICK = f"{CONFIG}[pull]\nattempts = 2\nbackoff = 0.05\n"
STAY = {"entrypoint": ["sh", "-c"], "args": ["echo born; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}
ENDS = "trap 'exit 7' USR1; while :; do sleep 9 & wait $!; done"
TALK = {"entrypoint": ["sh", "-c"], "args": ["trap 'exit 0' TERM; while :; do date; sleep 1; done"]}


class SmallSite(Site):
    """A site whose data directory is an ext4 of 40 MB in a file, on a loop device."""

    def __enter__(self) -> SmallSite:
        disk = self.root / "disk"
        with disk.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(disk)], check=True)
        done = subprocess.run(["mount", "-o", "loop", str(disk), str(self.data)], capture_output=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(self.root)
            pytest.skip(f"no loop devices here: {done.stderr.decode().strip()}")
        self.data.chmod(0o700)
        (self.data / "config.toml").write_text(QUICK)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.cli("daemon", "reset", "--force", check=False, timeout=90)
        finally:
            self.reap()
            subprocess.run(["umount", str(self.data)], check=True)
            shutil.rmtree(self.root)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not one block is free inside; what fills it goes at the end."""
        ballast = self.data / "ballast"
        try:
            for size in (1 << 20, 4096, 1):
                with ballast.open("ab", buffering=0) as file:
                    try:
                        while file.write(bytes(size)):
                            pass
                    except OSError:
                        continue
            yield
        finally:
            ballast.unlink()

    def refused(self, *arguments: str) -> str:
        """What a command says that must fail for lack of space."""
        done = self.cli(*arguments, check=False, timeout=60)
        assert done.returncode not in (0, 2), done
        assert "space" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture(scope="module")
def small() -> Iterator[SmallSite]:
    with SmallSite() as site:
        site.start()
        yield site


def test_a_full_disk_is_told_and_loses_nothing(small: SmallSite, busybox: str) -> None:
    small.cli("up", "-d", small.write(deployment("kept", rock=service(busybox, command=STAY)), "kept.yml"))
    small.cli("up", "-d", small.write(deployment("chatty", talk=service(busybox, command=TALK)), "chatty.yml"))
    ends = small.cli("run", "-d", "--name", "ends", busybox, "sh", "-c", ENDS).stdout.strip()
    before = {i["service"]: i for i in small.running()}
    file = small.write(deployment("late", web=service(busybox, command=STAY)), "late.yml")
    with small.full():
        small.refused("up", "-d", "--timeout", "5", file)
        small.refused("run", busybox, "true")
        small.refused("scale", "--deployment", "kept", "rock=2")
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
            small.refused("pull", reference)
        ballast = small.data / "ballast"
        free = os.statvfs(small.data)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (10 << 20))
        said = small.refused("pull", reference)
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
