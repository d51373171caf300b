from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from zlayer.client import connect
from zlayer.client.transport import Address
from zlayer.model import errors
from zlayer.model.paths import Paths
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon


def test_the_data_directory_names_the_daemon(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    expected = Paths.of(link).socket
    assert connect.find(str(link), {}) == Address(path=str(expected))
    assert connect.find(None, {"ZLAYER_DATA_DIR": str(link)}) == Address(path=str(expected))


def test_without_anything_said_it_agrees_with_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZLAYER_DATA_DIR", raising=False)
    assert connect.root(None, {}) == str(Paths.of().root)


def test_zlayer_host_names_one_elsewhere_unless_a_directory_is_given() -> None:
    environ = {"ZLAYER_HOST": "https://n1:4000", "ZLAYER_TOKEN": "t", "ZLAYER_CA": "/ca.pem"}
    assert connect.find(None, environ) == Address(host="n1", port=4000, tls=True, token="t", ca="/ca.pem")
    assert connect.find("/data", environ).path == os.path.realpath("/data/zlayer.sock")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/z.sock", Address(path="/run/z.sock")),
        ("http://127.0.0.1:4000", Address(host="127.0.0.1", port=4000)),
        ("http://n1/", Address(host="n1", port=3669)),
        ("https://[::1]:443", Address(host="::1", port=443, tls=True)),
        ("https://[::1]", Address(host="::1", port=3669, tls=True)),
    ],
)
def test_hosts(text: str, address: Address) -> None:
    assert connect.parse(text) == address


@pytest.mark.parametrize(
    "text", ["n1:3669", "ssh://n1", "http://", "http://n1:x", "http://n1:65536", "unix://", "http://n1/api"]
)
def test_what_is_no_host_is_refused_with_examples(text: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        connect.parse(text)
    assert "unix://" in caught.value.hint


def test_no_token_crosses_a_network_in_the_clear() -> None:
    with pytest.raises(errors.Denied, match="in the clear") as caught:
        connect.parse("http://n1:4000", token="t")
    assert "https://n1:4000" in caught.value.hint
    for safe in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://n1"):
        assert connect.parse(safe, token="t").token == "t"


def test_answers_and_listening(daemon: ScriptedDaemon, address: Address, tmp_path: Path) -> None:
    assert connect.answers(address)
    assert connect.listening(address)
    daemon.routes["GET /health/ready"] = Answer({"status": "starting"}, 503)
    assert not connect.answers(address)
    assert not connect.listening(Address(path=str(tmp_path / "none.sock")))


def test_a_daemon_that_answers_is_not_started_again(daemon: ScriptedDaemon) -> None:
    assert connect.ensure_daemon(Paths.of(daemon.data_dir)) is False


def executable(directory: Path, body: str) -> str:
    """A stand-in for the interpreter that `serve --daemon` is run with."""
    script = directory / "python"
    script.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
    script.chmod(0o755)
    return str(script)


READY = """
import socket
data = sys.argv[sys.argv.index("--data-dir") + 1]
with open(os.path.join(data, "starts"), "a") as starts: starts.write("x")
if os.fork(): sys.exit(0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.path.join(data, "zlayer.sock")); listener.listen()
while not os.path.exists(os.path.join(data, "end")):
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}")
    connection.close()
"""


def test_two_commands_at_once_start_one_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable(tmp_path, READY))
    paths = Paths.of(tmp_path / "d")
    started: list[bool] = []
    threads = [threading.Thread(target=lambda: started.append(connect.ensure_daemon(paths))) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(started) == [False, False, False, True]
        assert (paths.root / "starts").read_text() == "x"
        assert paths.root.stat().st_mode & 0o777 == 0o700
    finally:
        (tmp_path / "d" / "end").touch()
        connect.answers(Address(path=str(paths.socket)))


def test_a_daemon_that_dies_is_quoted_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'sys.stderr.write("error: port 3669 is taken\\n"); sys.exit(6)'
    monkeypatch.setattr(sys, "executable", executable(tmp_path, body))
    paths = Paths.of(tmp_path / "d")
    paths.root.mkdir()
    paths.log.write_text("first\nlast words\n")
    with pytest.raises(errors.Failed) as caught:
        connect.ensure_daemon(paths)
    assert "port 3669 is taken" in caught.value.message
    assert "  | last words" in caught.value.message


def test_a_daemon_that_hangs_is_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable(tmp_path, "sys.exit(0)"))
    with pytest.raises(errors.Deadline, match=r"not ready after 0\.2 seconds"):
        connect.ensure_daemon(Paths.of(tmp_path / "d"), timeout=0.2)


def test_a_data_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.Failed, match="cannot use the data directory"):
        connect.ensure_daemon(Paths.of(tmp_path / "file" / "d"))


def test_no_log_adds_nothing(tmp_path: Path) -> None:
    assert connect.tail(tmp_path / "none") == ""
