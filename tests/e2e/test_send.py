"""`zlayer image send`: from one real daemon to another over TLS, through broken lines, kills and full disks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.pebble import free_ports
from zlayer.testing.registry import Registry, missing
from zlayer.testing.relay import Relay
from zlayer.testing.site import Site

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]
BIG = 12 << 20
HALF = 8 << 20
LOST = 6 << 20
"""What a line or a daemon that breaks may cost: a batch, and what the kernel's buffers held. Less than `HALF`."""


class Pair:
    """Two nodes; `here` has the images `base`, `more` (a layer on top) and `big`, twelve MiB nobody can pack."""

    def __init__(self, here: Site, there: Site, port: int, ca: Path, images: dict[str, str]) -> None:
        self.here, self.there, self.port, self.ca, self.images = here, there, port, ca, images
        self.token = here.root / "token"
        self.token.write_text(there.cli("token", "create", "-r", "operator").stdout)

    def argv(self, *images: str, port: int = 0, more: tuple[str, ...] = ()) -> list[str]:
        named = [self.images[one] for one in images]
        node = f"https://127.0.0.1:{port or self.port}"
        return ["image", "send", *named, node, "--token-file", str(self.token), "--ca", str(self.ca), *more]

    def send(self, *images: str, port: int = 0, check: bool = True) -> list[dict[str, Any]]:
        done = self.here.cli(*self.argv(*images, port=port, more=("--format", "json")), check=check)
        return list(json.loads(done.stdout)) if done.returncode == 0 else [{"error": done.stderr}]

    def lacking(self, image: str) -> list[dict[str, Any]]:
        done = self.here.cli(*self.argv(image, more=("--dry-run", "--format", "json")))
        return list(json.loads(done.stdout)[0]["missing"])

    def there_now(self) -> set[str]:
        return {one["digest"] for one in json.loads(self.there.cli("image", "ls", "--format", "json").stdout)}

    def empty(self) -> None:
        """As nothing had ever been sent."""
        if self.there.cli("image", "ls", "-q").stdout.split():
            self.there.cli("image", "rm", *self.there.cli("image", "ls", "-q").stdout.split())
        self.there.kill()
        self.there.start()  # no lease outlives it
        self.there.cli("system", "prune")
        assert self.partials() == []

    def partials(self) -> list[Path]:
        return list((self.there.data / "blobs").glob("partial/*")) + list((self.there.data / "blobs").glob("tmp/*"))


@contextmanager
def pair(root: Path, *, disk: str = "") -> Iterator[Pair]:
    [port] = free_ports(1)
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(root))
        here, there = stack.enter_context(Site()), Site()
        if disk:  # unmounted when the daemon has gone from it
            stack.callback(shutil.rmtree, there.root, ignore_errors=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", there.data], check=True)
            stack.callback(lambda: subprocess.run(["umount", "-l", there.data], check=True))
        stack.enter_context(there)
        leaf = LocalAuthority(root, "test").sign(["127.0.0.1"])
        chain, key = root / "chain.pem", root / "key.pem"
        chain.write_text(leaf.chain)
        key.write_text(leaf.key.reveal())
        key.chmod(0o600)
        tls = f'[daemon]\nbind = "127.0.0.1:{port}"\ntls_cert = "{chain}"\ntls_key = "{key}"\n'
        (there.data / "config.toml").write_text(tls)
        made = {
            "base": busybox_image(),
            "more": busybox_image(files={"more": os.urandom(100_000)}),
            "big": busybox_image(files={"big": os.urandom(BIG)}),
        }
        images = {name: push(registry.target, name, "1", image) for name, image in made.items()}
        here.start()
        there.start()
        for image in images.values():
            here.cli("pull", image)
        yield Pair(here, there, port, root / "ca.pem", images)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("send")) as made:
        yield made


@pytest.fixture
def two(shared: Pair) -> Pair:
    shared.empty()
    return shared


def test_whole_and_then_the_new_layer_only(two: Pair) -> None:
    with Relay(two.port) as relay:
        [first] = two.send("base", port=relay.port)
        assert first["there"] == 0
        assert first["sent"] <= relay.sent <= first["sent"] + 64_000
    lacking = two.lacking("more")
    with Relay(two.port) as relay:
        [second] = two.send("more", port=relay.port)
        assert second["sent"] == sum(one["size"] for one in lacking)
        assert 100_000 < second["sent"] < 110_000
        assert second["sent"] <= relay.sent <= second["sent"] + 64_000
    [again] = two.send("more")
    assert (again["sent"], two.lacking("more")) == (0, [])
    assert two.there_now() == {first["digest"], second["digest"]}
    assert (
        two.there.cli("run", "--rm", "--pull", "never", two.images["more"], "wc", "-c", "/more").stdout.split()[0]
        == "100000"
    )
    assert "nothing is bad" in two.there.cli("image", "verify").stderr


def test_a_line_that_breaks_costs_what_was_under_way(two: Pair) -> None:
    with Relay(two.port, at=HALF, act=lambda: False) as relay:
        [sent] = two.send("big", port=relay.port)
        assert relay.sent < sent["sent"] + LOST
    assert sent["digest"] in two.there_now()
    assert two.partials() == []


def test_the_receiver_is_killed_half_way_and_again(two: Pair) -> None:
    def kill() -> bool:
        two.there.kill()
        two.there.start()
        return False

    whole = two.lacking("big")
    with Relay(two.port, at=HALF, act=kill) as relay:
        [sent] = two.send("big", port=relay.port)
        assert relay.sent < sum(one["size"] for one in whole) + LOST
    assert sent["digest"] in two.there_now()
    assert two.partials() == []


def test_the_sender_is_killed_half_way(two: Pair) -> None:
    def kill() -> bool:
        running.kill()
        return True

    with Relay(two.port, at=HALF, act=kill) as relay:
        running = subprocess.Popen(
            [sys.executable, "-m", "zlayer", *two.argv("big", port=relay.port)],
            env=two.here.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        running.wait(60)
    here = max(one["here"] for one in two.lacking("big"))
    assert here > 0
    [sent] = two.send("big")
    assert sent["sent"] <= BIG - here + (2 << 20)
    assert sent["digest"] in two.there_now()


def test_two_at_once(two: Pair) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "zlayer", *two.argv(*images, more=("-q",))],
            env=two.here.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for images in (("big",), ("more", "big"), ("big", "base"))
    ]
    told = [one.communicate(timeout=90) for one in processes]
    assert [one.returncode for one in processes] == [0, 0, 0], told
    assert two.there_now() == {digest for out, _ in told for digest in out.split()}
    assert "nothing is bad" in two.there.cli("image", "verify").stderr


def test_who_may_and_where_the_token_is(two: Pair) -> None:
    reader = two.there.cli("token", "create", "-r", "reader").stdout.strip()
    line = ["image", "send", two.images["base"], f"https://127.0.0.1:{two.port}", "--ca", str(two.ca)]
    done = subprocess.run(
        [sys.executable, "-m", "zlayer", *line], env={**two.here.environ, "ZLAYER_NODE_TOKEN": reader},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 8
    assert "needs the role operator or admin" in re.sub("admin or operator", "operator or admin", done.stderr)
    nobody = two.here.cli(*line, check=False)
    assert nobody.returncode == 2
    assert "wants a token" in nobody.stderr
    stranger = two.here.cli(*line[:-2], "--token-file", str(two.token), check=False)  # without the CA
    assert stranger.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.stderr.upper().replace(" ", "_")
    plain = two.here.cli(
        "image", "send", two.images["base"], "http://192.0.2.1", "--token-file", str(two.token), check=False
    )
    assert "in the clear" in plain.stderr
    assert two.there_now() == set()


def test_a_full_disk_is_told_and_given_back(tmp_path: Path) -> None:
    with pair(tmp_path, disk="26m") as full:
        before = os.statvfs(full.there.data).f_bavail
        filler = full.there.data / "filler"
        filler.write_bytes(bytes((before * 4096) - BIG // 2))
        [refused] = full.send("big", check=False)
        assert re.search(r"needs at least \d+ bytes more", refused["error"])
        filler.unlink()

        def fill() -> bool:
            free = os.statvfs(full.there.data).f_bavail * 4096
            with suppress(OSError):  # it fills up while we do
                filler.write_bytes(bytes(max(0, free - (1 << 20))))
            return True

        with Relay(full.port, at=HALF, act=fill) as relay:
            [failed] = full.send("big", port=relay.port, check=False)
        assert "bytes more" in failed["error"] or "No space left" in failed["error"]
        filler.unlink()
        assert full.partials() == []
        [sent] = full.send("base")
        assert full.there_now() == {sent["digest"]}
