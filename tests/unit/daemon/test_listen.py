from __future__ import annotations

import grp
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.daemon.config import Config
from zlayer.daemon.doors import open_doors
from zlayer.daemon.listen import OFF, Bind, bound, check_exposure, open_tcp, open_unix, parse_bind
from zlayer.model.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from zlayer.model.paths import Paths


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as directory:
        yield Path(directory)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("off", OFF),
        (":0", Bind("127.0.0.1", 0)),
        ("8080", Bind("127.0.0.1", 8080)),
        ("127.0.0.1:3669", Bind("127.0.0.1", 3669)),
        ("localhost:1", Bind("localhost", 1)),
        ("[::1]:3669", Bind("::1", 3669)),
        ("0.0.0.0:3669", Bind("0.0.0.0", 3669)),
    ],
)
def test_addresses_as_people_write_them(text: str, wanted: Bind) -> None:
    assert parse_bind(text) == wanted


@pytest.mark.parametrize("text", ["", "host", "example.com:80", "127.0.0.1", "127.0.0.1:65536", "1.2.3:1", "a:b:c"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_bind(text)
    assert caught.value.hint


def test_only_loopback_goes_without_tls() -> None:
    for text in ("off", "127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"):
        check_exposure(parse_bind(text), tls=False)
    for text in ("0.0.0.0:1", "192.0.2.1:1", "[::]:1"):
        check_exposure(parse_bind(text), tls=True)
        with pytest.raises(Denied) as caught:
            check_exposure(parse_bind(text), tls=False)
        assert "tls_cert" in caught.value.hint


def test_any_port_is_told_and_a_taken_one_is_a_conflict() -> None:
    with open_tcp(Bind("127.0.0.1", 0)) as listener:
        taken = bound(listener)
        assert taken.port > 0
        with pytest.raises(Conflict) as caught:
            open_tcp(taken)
        assert str(taken.port) in caught.value.hint
    with open_tcp(taken):  # a port we just left is free again
        pass


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(Unavailable):
        open_tcp(Bind("192.0.2.1", 0))


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


def test_the_socket_is_its_owners_and_replaces_a_stale_one(short: Path) -> None:
    path = short / "zlayer.sock"
    open_unix(path).close()
    assert path.exists()
    assert not answers(path)
    with open_unix(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert answers(path)
    assert sorted(entry.name for entry in short.iterdir()) == ["zlayer.sock"]


def test_a_group_may_be_let_in(short: Path) -> None:
    path = short / "zlayer.sock"
    group = grp.getgrgid(os.getgid())
    with open_unix(path, group=group.gr_name):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_gid == group.gr_gid
        assert stat.S_IMODE(short.stat().st_mode) == 0o710  # else its members could not come as far as the socket
    with pytest.raises(NotFound) as caught:
        open_unix(path, group="no-such-group-here")
    assert "groupadd" in caught.value.hint


def test_a_path_longer_than_a_socket_address(short: Path) -> None:
    deep = short / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    path = deep / "zlayer.sock"
    assert len(bytes(path)) > 108
    with open_unix(path):
        directory = os.open(deep, os.O_PATH)
        try:
            assert answers(Path(f"/proc/self/fd/{directory}/zlayer.sock"))
        finally:
            os.close(directory)


def test_a_default_port_that_is_taken_is_left_out_an_asked_one_is_an_error(short: Path) -> None:
    paths = Paths.of(short)
    with open_doors(paths, Config(bind=Bind("127.0.0.1", 0))) as doors:
        assert doors.tcp is not None
        taken = parse_bind(doors.bind)
        other = Paths.of(short / "other")
        other.root.mkdir()
        with pytest.raises(Conflict), open_doors(other, Config(bind=taken)):
            raise AssertionError("opened twice")
    assert not paths.socket.exists()
    with open_doors(paths, Config(bind=OFF)) as doors:
        assert (doors.tcp, doors.bind) == (None, "off")


def test_the_default_port_taken_by_another_daemon(short: Path) -> None:
    with (
        open_tcp(Bind("127.0.0.1", 0)) as listener,
        open_doors(Paths.of(short), Config(), default=bound(listener)) as doors,
    ):
        assert doors.tcp is None
        assert doors.bind.startswith("off (127.0.0.1:")
