"""A detached daemon with its real drivers: started, asked, refused a twin, killed, started again, taken away."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from zlayer.client import transport
from zlayer.client.transport import Address
from zlayer.daemon import lock, tokens
from zlayer.daemon.detach import start
from zlayer.daemon.listen import parse_bind
from zlayer.daemon.options import Options
from zlayer.daemon.reset import reset
from zlayer.model.errors import Conflict, Denied, Unavailable
from zlayer.model.paths import Paths
from zlayer.model.units import Seconds
from zlayer.testing.leaks import Census, snapshot_machine

MISSING = [name for name in ("runc", "conmon", "nft") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a bridge and rules"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@pytest.fixture
def paths() -> Iterator[Paths]:
    """A data directory; whatever its daemon made is taken away, and counted."""
    root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
    found = Paths.of(root / "d")
    try:
        yield found
    finally:
        end(found, signal.SIGKILL)
        reset(found)
        left = snapshot_machine(found.root)
        shutil.rmtree(root)
    assert left == Census()


def end(paths: Paths, number: signal.Signals) -> None:
    """Signal the daemon, if one runs, and wait for its end by its own lock."""
    pid = lock.holder(paths.lock)
    if not pid:
        return
    watch = os.pidfd_open(pid)
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(watch, number)
        wait_readable(watch)
    finally:
        os.close(watch)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def wait_readable(descriptor: int) -> None:
    """A pidfd becomes readable when its process has ended."""
    import select

    ready, _, _ = select.select([descriptor], [], [], 30)
    assert ready, "the daemon did not end within 30 s"


def get(address: Address, path: str) -> Any:
    with transport.request(address, "GET", path) as response:
        return response.json()


def test_a_daemon_on_this_machine(paths: Paths) -> None:
    told = start(paths, Options(bind=":0"))
    inside = Address(path=told["socket"])
    status = get(inside, "/api/v1/status")
    assert (status["pid"], status["bind"]) == (told["pid"], told["bind"])
    assert status["runtime"].startswith("oci:")
    assert status["rss_bytes"] < 90 << 20
    [node] = get(inside, "/api/v1/nodes")
    assert node["id"] == status["node"]
    assert any(one["ok"] and one["selected"] for one in get(inside, "/api/v1/runtimes"))
    bind = parse_bind(told["bind"])
    with pytest.raises(Denied):
        get(Address(host=bind.host, port=bind.port), "/api/v1/status")
    token = tokens.create_token(tokens.load_key(paths.jwt_key), subject="me", roles=["reader"], lifetime=Seconds(60))
    assert get(Address(host=bind.host, port=bind.port, token=token), "/api/v1/status")["pid"] == told["pid"]
    end(paths, signal.SIGTERM)
    assert not paths.socket.exists()


def test_a_second_daemon_is_refused_and_the_first_goes_on(paths: Paths) -> None:
    told = start(paths, Options(bind="off"))
    with pytest.raises(Conflict) as caught:
        start(paths, Options(bind="off"))
    assert str(told["pid"]) in caught.value.message
    assert get(Address(path=told["socket"]), "/health/ready")["status"] == "ok"


def test_a_killed_daemon_is_followed_by_another_as_the_same_node(paths: Paths) -> None:
    first = start(paths, Options(bind="off"))
    nodes = get(Address(path=first["socket"]), "/api/v1/nodes")
    end(paths, signal.SIGKILL)
    second = start(paths, Options(bind="off"))
    assert second["pid"] != first["pid"]
    again = get(Address(path=second["socket"]), "/api/v1/nodes")
    assert [(node["id"], node["subnet"]) for node in again] == [(node["id"], node["subnet"]) for node in nodes]


def test_without_an_engine_it_says_what_to_install(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(paths.root))
    with pytest.raises(Unavailable) as caught:
        start(paths, Options(bind="off"))
    monkeypatch.undo()
    assert caught.value.hint
    assert lock.holder(paths.lock) is None
