"""Clients that people use, through the proxy: curl, a gRPC client, a WebSocket client, a browser."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import h2
import pytest
from websockets.sync.client import connect

from zlayer.testing.site import Site, deployment, service

from .conftest import Registries
from .test_traffic import free_port, get, soon, up

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
APPS = Path(__file__).parent / "apps"
RIG = Path(__file__).parents[2] / "rig"
PACKAGES = Path(sysconfig.get_paths()["purelib"])


def served(python: str, script: Path, port: int, **endpoint: Any) -> dict[str, Any]:
    """A service that runs `script` with h2 at hand, behind the public `port`."""
    mounts = [{"type": "bind", "source": str(script), "target": "/app.py", "readonly": True}]
    mounts += [
        {"type": "bind", "source": str(PACKAGES / name), "target": f"/packages/{name}", "readonly": True}
        for name in ("h2", "hpack", "hyperframe")
    ]
    return service(
        python, command={"entrypoint": ["python3", "/app.py", "8080"]}, storage=mounts,
        env={"PYTHONPATH": "/packages", "PORT": "8080"},
        endpoints=[{"name": "web", "protocol": "http", "port": port, "target_port": 8080, "expose": True, **endpoint}],
    )  # fmt: skip


@pytest.fixture
def python(registries: Registries, image: Callable[[str], str]) -> str:
    return f"{registries.plain.address}/{image('python')}"


def test_curl_over_http_1_and_2(site: Site, web: str) -> None:
    port = free_port()
    shown = service(web, endpoints=[{"name": "w", "protocol": "http", "port": port, "target_port": 80, "expose": True}])
    up(site, deployment("shop", web=shown))
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for version in ("--http1.1", "--http2-prior-knowledge"):
        done = subprocess.run(
            ["curl", "-sS", "-m", "10", version, "-w", " %{http_code}", f"http://127.0.0.1:{port}/"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.endswith(" 200"), (version, done.stdout, done.stderr)
        assert "It runs" in done.stdout


def test_grpc(site: Site, python: str) -> None:
    assert h2.__version__
    port = free_port()
    up(site, deployment("rpc", echo=served(python, APPS / "grpc_echo.py", port, http2=True)))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        say = channel.unary_unary("/echo.Echo/Say", request_serializer=bytes, response_deserializer=bytes)
        for text in (b"", b"hello", b"x" * 10_000):
            assert say(text, timeout=20, wait_for_ready=True) == text


def test_websocket(site: Site, python: str) -> None:
    port = free_port()
    app = served(python, RIG / "app.py", port, protocol="websocket")
    up(site, deployment("chat", echo=app))
    with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=20) as socket:
        for text in ("one", "two", "three"):
            socket.send(text)
            assert socket.recv(timeout=10) == text


def test_a_browser(site: Site, web: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    port = free_port()
    shown = service(web, endpoints=[{"name": "w", "protocol": "http", "port": port, "target_port": 80, "expose": True}])
    up(site, deployment("shop", web=shown))
    soon(lambda: get(port)[0] == 200, "it serves")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom",
         f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "<h1>It runs</h1>" in done.stdout, done.stderr[-500:]
