"""Faults of the daemon's own ground: tools that are missing, documents that are damaged, a reset cut off."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.leaks import Census
from zlayer.testing.site import Site, deployment, service

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("registries")]

STAY = {"entrypoint": ["sh", "-c"], "args": ["echo born; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}


class BareSite(Site):
    """A site whose commands find only what is linked into one directory."""

    def __init__(self, *without: str) -> None:
        super().__init__()
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for directory in os.environ["PATH"].split(":"):
            for tool in Path(directory).glob("*") if Path(directory).is_dir() else ():
                link = self.bin / tool.name
                if tool.name not in without and not link.is_symlink():
                    link.symlink_to(tool)

    def __enter__(self) -> BareSite:
        return self

    @property
    def environ(self) -> dict[str, str]:
        return {**super().environ, "PATH": str(self.bin)}


@pytest.mark.parametrize("missing", [("conmon",), ("runc", "crun", "youki")])
def test_a_missing_tool_is_told_with_its_fix(missing: tuple[str, ...]) -> None:
    with BareSite(*missing) as site:
        served = site.cli("serve", check=False, timeout=60)
        assert served.returncode == 7
        assert missing[0] in served.stderr
        assert "install" in served.stderr.partition("hint:")[2]
        started = site.cli("ps", check=False, timeout=60)
        assert started.returncode not in (0, 2)
        assert "install" in started.stderr
        doctor = site.cli("doctor", check=False, timeout=60)
        assert doctor.returncode != 0
        assert missing[0] in doctor.stdout + doctor.stderr
        assert "install" in doctor.stdout + doctor.stderr
        assert not [name for name in ("state.db", "zlayer.sock") if (site.data / name).exists()]
        for name in missing:
            if real := shutil.which(name):
                (site.bin / name).symlink_to(real)
        site.start()


@pytest.fixture
def shop(busybox: str) -> Iterator[Site]:
    """A daemon with two replicas."""
    with Site() as site:
        site.start()
        site.cli("up", "-d", site.write(deployment("shop", web=service(busybox, 2, command=STAY))))
        yield site


def test_a_damaged_document_is_named_and_nothing_else_is_touched(shop: Site) -> None:
    before = {i["pid"] for i in shop.instances()}
    shop.kill()
    key = f"/instances/{shop_key(shop)}"
    with closing(sqlite3.connect(shop.paths.state)) as db:
        [(value,)] = db.execute("SELECT value FROM item WHERE key = ?", (key,)).fetchall()
        db.execute("UPDATE item SET value = ? WHERE key = ?", (b'{"id": 1}', key))
        db.commit()
    served = shop.cli("serve", check=False, timeout=60)
    assert served.returncode not in (0, 2)
    assert key in served.stderr, served.stderr
    assert "hint:" in served.stderr
    assert "Traceback" not in served.stderr
    assert all(Path(f"/proc/{pid}").exists() for pid in before)
    with closing(sqlite3.connect(shop.paths.state)) as db:
        db.execute("UPDATE item SET value = ? WHERE key = ?", (value, key))
        db.commit()
    shop.start()
    assert {i["pid"] for i in shop.running()} == before


def shop_key(site: Site) -> str:
    return min(path.name for path in site.paths.containers.iterdir())


def test_after_a_reboot_deployments_run_again(shop: Site, busybox: str) -> None:
    """Nothing of the kernel's is left, and the disk is as it was: new instances, old ones ended without a code."""
    shop.cli("run", "-d", "--name", "once", busybox, "sh", "-c", STAY["args"][0])
    before = {i["id"]: i for i in shop.running()}
    shop.kill()
    reboot(shop, before.values())
    assert not any(getattr(shop.census(), kind) for kind in ("mounts", "cgroups", "netns", "links", "processes"))
    shop.start()
    shop.until(lambda: len({i["id"] for i in shop.running()} - before.keys()) == 2, "two new replicas run")
    after = {i["id"]: i for i in shop.instances()}
    for one in before:
        assert (after[one]["state"], after[one]["exit_code"]) == ("exited", None)
        assert after[one]["reason"]
    assert {i["service"] for i in shop.running()} == {"web"}, "a one-off is not run twice"
    shop.assert_balanced()


def reboot(site: Site, running: Iterable[dict[str, Any]]) -> None:
    """What a power cut does: processes, mounts, namespaces, links and cgroups go, files stay; another boot id."""
    for one in running:
        for line in site.census().processes:
            if f"-c {one['id']} " in line:
                os.kill(int(line.partition(" ")[0]), signal.SIGKILL)
        os.kill(one["pid"], signal.SIGKILL)
        site.until(lambda pid=one["pid"]: not Path(f"/proc/{pid}").exists(), "it is dead")  # type: ignore[misc]
        record = site.paths.containers / one["id"] / "bundle" / "record.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "an earlier one"}))
    census = site.census()
    for mount in census.mounts + census.netns:
        subprocess.run(["umount", mount], check=True)
    for link in (link for link in census.links if link.startswith("zl")):
        subprocess.run(["ip", "link", "delete", link], check=True)
    site.until(lambda: not [link for link in site.census().links if not link.startswith("zl")], "links are gone")
    for cgroup in sorted(census.cgroups, reverse=True):
        Path(cgroup).rmdir()


def test_reset_copes_with_a_damaged_store(shop: Site) -> None:
    shop.kill()
    with shop.paths.state.open("r+b") as file:
        file.write(os.urandom(4096))
    Path(f"{shop.paths.state}-wal").unlink(missing_ok=True)
    served = shop.cli("serve", check=False, timeout=60)
    assert served.returncode == 1
    assert "damaged" in served.stderr
    shop.cli("daemon", "reset", "--force")
    assert sorted(path.name for path in shop.data.iterdir()) == ["config.toml"]


def test_a_reset_that_is_killed_is_finished_by_the_next(shop: Site) -> None:
    chance = random.Random(7)
    argv = [shop.argv()[0], "-m", "zlayer.daemon.reset", str(shop.data)]
    shop.kill()
    for _ in range(6):
        reset = subprocess.Popen(
            argv, env=shop.environ, cwd=shop.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3 + chance.random() * 1.2)
        reset.kill()
        reset.wait()
    shop.cli("daemon", "reset", "--force")
    assert sorted(path.name for path in shop.data.iterdir()) == ["config.toml"]
    assert shop.census() == Census()
