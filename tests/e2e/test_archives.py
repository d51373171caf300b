"""Images in and out by the command line: archives, names, other registries, logins; with clients that go half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import PASSWORD, USERNAME
from zlayer.testing.site import CONFIG, Site

from .conftest import Registries

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]


@pytest.fixture
def big(registries: Registries) -> str:
    """An image of 40 MB that nothing makes smaller."""
    made = image([*busybox_image().layers, layer(Tar().file("big", os.urandom(40 << 20)), "none")], {"Cmd": ["sh"]})
    return push(registries.plain.target, "archives/big", "1", made)


def listed(site: Site) -> dict[str, str]:
    found = json.loads(site.cli("image", "ls", "--format", "json").stdout)
    return {one["reference"]: one["digest"] for one in found}


@pytest.mark.parametrize("flag", [[], ["--zstd"]])
def test_from_one_daemon_to_another(site: Site, big: str, flag: list[str]) -> None:
    site.cli("pull", big)
    archive = site.root / "big.tar"
    site.cli("export", big, "-o", str(archive), *flag)
    assert archive.stat().st_size > 40 << 20
    with Site(CONFIG) as other:
        other.start()
        assert other.cli("import", str(archive)).stdout.split() == [big, listed(site)[big]]
        assert other.cli("run", "--rm", "--pull", "never", big, "sh", "-c", "wc -c < /big").stdout.strip() == str(
            40 << 20
        )
        refused = other.cli("import", str(archive), "-t", "Bad Name", check=False)
        assert refused.returncode == 2
        assert "hint:" in refused.stderr
    site.cli("image", "rm", big)


def test_through_a_pipe(site: Site, busybox: str) -> None:
    site.cli("pull", busybox)
    out = subprocess.Popen(site.argv("export", busybox), env=site.environ, stdout=subprocess.PIPE)
    argv = site.argv("import", "-q", "-", "-t", "piped:1")
    done = subprocess.run(argv, env=site.environ, stdin=out.stdout, capture_output=True, text=True, check=False)
    assert out.stdout is not None
    out.stdout.close()
    assert out.wait(30) == 0
    assert done.stdout.strip() == listed(site)["docker.io/library/piped:1"]
    site.cli("image", "rm", "piped:1")


def test_what_is_wrong_is_told_and_leaves_nothing(site: Site, busybox: str) -> None:
    site.cli("pull", busybox)
    absent = site.cli("export", "absent:1", "-o", str(site.root / "x.tar"), check=False)
    assert (absent.returncode, "absent:1" in absent.stderr) == (1, True)
    assert not list(site.root.glob("x.tar*"))
    noise = site.root / "noise"
    noise.write_bytes(os.urandom(3 << 20))
    before = listed(site)
    for source in (str(noise), "/etc/hostname", str(site.root / "none"), "http://127.0.0.1:1/x.tar"):
        done = site.cli("import", source, check=False)
        assert done.returncode not in (0, 2), done
        assert "hint:" in done.stderr
        assert "Traceback" not in done.stderr
    assert listed(site) == before


def test_a_client_that_goes_half_way(site: Site, big: str) -> None:
    site.cli("pull", big)
    archive = site.root / "half.tar"
    site.cli("export", big, "-o", str(archive))
    half = archive.read_bytes()[: 20 << 20]
    site.cli("image", "rm", big)
    with subprocess.Popen(site.argv("import", "-"), env=site.environ, stdin=subprocess.PIPE) as going:
        assert going.stdin is not None
        going.stdin.write(half)
        going.stdin.flush()
        going.send_signal(signal.SIGKILL)
        going.wait()
    site.until(lambda: not workers(site), "its worker has gone")
    assert big not in listed(site)
    site.until(lambda: not scraps(site), "nothing of it is left")
    site.cli("import", str(archive))
    with subprocess.Popen(site.argv("export", big), env=site.environ, stdout=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        reading.stdout.read(1 << 20)
        reading.send_signal(signal.SIGKILL)
        reading.wait()
    site.until(lambda: not workers(site), "its worker has gone")
    site.cli("image", "rm", big)


def workers(site: Site) -> list[str]:
    return [line for line in site.census().processes if "zlayer.image.worker" in line]


def scraps(site: Site) -> list[Path]:
    return [*(site.paths.blobs / "tmp").glob("*")]


def test_to_other_registries(site: Site, busybox: str, registries: Registries) -> None:
    site.cli("pull", busybox)
    token = registries.token
    name = f"{token.address}/archives/pushed:1"
    refused = site.cli("push", busybox, name, check=False)
    assert refused.returncode == 8
    assert f"zlayer login {token.address}" in refused.stderr
    wrong = site.cli("login", token.address, "-u", USERNAME, "--password-stdin", stdin="wrong\n", check=False)
    assert wrong.returncode == 8
    assert "wrong" not in wrong.stderr
    site.cli("login", token.address, "-u", USERNAME, "--password-stdin", stdin=f"{PASSWORD}\n")
    assert site.cli("login").stdout.splitlines()[1].split() == [token.address, USERNAME]
    assert site.cli("push", "-q", busybox, name).stdout.strip() == listed(site)[busybox]
    site.cli("tag", busybox, "again:1")
    site.cli("image", "rm", "again:1")
    assert busybox in listed(site)
    site.cli("logout", token.address)
    assert site.cli("push", busybox, name, check=False).returncode == 8
    kept = [
        path
        for path in site.data.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20
    ]
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


def test_a_tree_runs(site: Site) -> None:
    busybox: Any = busybox_image().layers[0]
    tree = site.root / "tree.tar"
    tree.write_bytes(busybox.blob.read())
    site.cli("import", str(tree), "--rootfs", "-t", "tree:1")
    assert site.cli("run", "--rm", "tree:1", "echo", "from a tree").stdout == "from a tree\n"
    site.cli("image", "rm", "tree:1")
