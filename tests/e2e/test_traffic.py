"""Traffic end to end: names, the proxy, published ports, and what is kept apart, with real containers."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from zlayer.testing.prometheus import Metric, parse
from zlayer.testing.site import Site, deployment, service

from .conftest import Registries

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
HTTPD = {"entrypoint": ["sh", "-c"]}
GATEWAY = "ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'"
ECHO = """
import http.server, socket, threading
server = http.server.ThreadingHTTPServer(("", 80), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
echo = socket.socket(type=socket.SOCK_DGRAM)
echo.bind(("", 9000))
while True:
    echo.sendto(*echo.recvfrom(100))
"""
STAY = {"entrypoint": ["sh", "-c"], "args": ["trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}


def page(text: str, port: int = 80) -> dict[str, Any]:
    """A command that serves `text` as its front page."""
    script = f"mkdir -p /www && echo '{text}' > /www/index.html && exec httpd -f -p {port} -h /www"
    return {**HTTPD, "args": [script]}


def endpoint(port: int, **fields: Any) -> dict[str, Any]:
    return {"name": f"e{port}", "protocol": "http", "port": port, "target_port": 80, **fields}


@pytest.fixture
def port() -> int:
    return free_port()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str = "/", host: str = "localhost") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, http.client.HTTPException):
        return 0, ""


def soon(true: Callable[[], bool], what: str, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.05)


def fetch(url: str) -> tuple[str, ...]:
    """A command of the Python image that prints a page. (A static busybox cannot look names up by the libc's way.)"""
    return (
        "python3",
        "-c",
        f"import urllib.request as u; print(u.urlopen('{url}', timeout=3).read().decode().strip())",
    )


def inside(site: Site, name: str, service: str, *command: str) -> subprocess.CompletedProcess[str]:
    return site.cli("exec", "--deployment", name, service, "--", *command, check=False)


def up(site: Site, document: dict[str, Any]) -> None:
    site.cli("up", "-d", site.write(document, f"{document['deployment']}.zlayer.yml"))


def scrape(site: Site) -> dict[str, Metric]:
    """What the running daemon tells Prometheus, over its socket."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(site.paths.socket))
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: zlayer\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert answer.status == 200
        return parse(answer.read().decode())


def test_a_public_endpoint_answers_and_follows_its_replicas(site: Site, busybox: str, port: int) -> None:
    own_name = {**HTTPD, "args": ["mkdir /www; hostname > /www/index.html; exec httpd -f -h /www"]}
    web = service(busybox, 3, command=own_name, endpoints=[endpoint(port, expose=True)])
    up(site, deployment("shop", web=web))
    assert {get(port)[1] for _ in range(12)} == {"web-1", "web-2", "web-3"}
    told, mine = scrape(site), {"deployment": "shop", "service": "web"}
    assert told["zlayer_service_replicas_ready"].value(**mine) == 3
    assert told["zlayer_proxy_requests_total"].value(**mine, endpoint=f"e{port}") == 12
    assert told["zlayer_proxy_servers"].value(**mine, endpoint=f"e{port}", state="up") == 3
    assert set(told["zlayer_scrape_part_failed"].samples.values()) == {0.0}
    site.cli("scale", "web=1", "--deployment", "shop", "--wait")
    assert {get(port) for _ in range(6)} == {(200, "web-1")}
    site.cli("scale", "web=0", "--deployment", "shop", "--wait")
    assert get(port)[0] == 503
    site.cli("down", "shop")
    soon(lambda: get(port)[0] == 0, "nobody listens any more")


def test_hosts_and_paths_share_a_port_over_deployments(site: Site, busybox: str, port: int) -> None:
    shop = service(busybox, command=page("shop"), endpoints=[endpoint(port, expose="public", host="shop.test")])
    blog = service(busybox, command=page("blog"), endpoints=[endpoint(port, expose="public", host="*.test")])
    up(site, deployment("shop", web=shop))
    up(site, deployment("blog", web=blog))
    assert get(port, host="shop.test") == (200, "shop")
    assert get(port, host="SHOP.test:80") == (200, "shop")
    assert get(port, host="any.test") == (200, "blog")
    assert get(port, host="other.example")[0] == 404


@pytest.fixture
def python(registries: Registries, image: Callable[[str], str]) -> str:
    return f"{registries.plain.address}/{image('python')}"


def test_an_internal_endpoint_is_for_its_own_deployment(site: Site, busybox: str, python: str, port: int) -> None:
    web = service(busybox, command=page("inside"), endpoints=[endpoint(port)])
    up(site, deployment("shop", web=web, ask=service(python, command=STAY)))
    up(site, deployment("other", ask=service(python, command=STAY)))
    gateway = inside(site, "shop", "web", "sh", "-c", GATEWAY).stdout.strip()
    asked = fetch(f"http://{gateway}:{port}/")
    assert inside(site, "shop", "ask", *asked).stdout == "inside\n"
    assert inside(site, "other", "ask", *asked).returncode != 0, "another deployment is kept out"
    assert get(port)[0] == 0, "it listens on no address of the node's own"


def test_names_are_of_ones_own_deployment(site: Site, busybox: str, python: str) -> None:
    for name in ("shop", "blog"):
        web = service(busybox, 2, command=page(name), endpoints=[endpoint(80)])
        up(site, deployment(name, web=web, ask=service(python, command=STAY)))
    for name in ("shop", "blog"):
        for host in ("web", "web.service.local", "1.web.service.local"):
            asked = inside(site, name, "ask", *fetch(f"http://{host}/"))
            assert asked.stdout == f"{name}\n", asked.stderr
    assert inside(site, "shop", "ask", *fetch("http://nothing.service.local/")).returncode != 0


def test_deployments_cannot_reach_each_other_unless_a_service_says_so(site: Site, busybox: str, python: str) -> None:
    up(site, deployment("store", db=service(busybox, command=page("data"), endpoints=[endpoint(80)])))
    address = site.running("db")[0]["ip"]
    asked = fetch(f"http://{address}/")
    up(site, deployment("front", web=service(python, command=STAY)))
    assert inside(site, "front", "web", *asked).returncode != 0
    up(site, deployment("front", web=service(python, command=STAY, network={"reach": ["store"]})))
    soon(lambda: inside(site, "front", "web", *asked).stdout == "data\n", "store is reached")
    named = fetch("http://db.store.service.local/")
    soon(lambda: inside(site, "front", "web", *named).stdout == "data\n", "store is reached by name")


def test_https_with_a_certificate_of_our_own(site: Site, busybox: str, port: int) -> None:
    secure = endpoint(port, expose=True, protocol="https", host="shop.local", tls={"mode": "self_signed"})
    up(site, deployment("shop", web=service(busybox, command=page("secret"), endpoints=[secure])))
    authority = site.data / "certs" / "ca.pem"
    soon(authority.exists, "the node has an authority of its own")
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(["h2", "http/1.1"])

    def shown() -> str:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="shop.local") as tls,
        ):
            return tls.selected_alpn_protocol() or ""

    soon(lambda: _quietly(shown) == "h2", "a certificate by the node's own authority")


def _quietly(call: Callable[[], str]) -> str:
    try:
        return call()
    except OSError:
        return ""


def test_a_published_port_tcp_and_udp(site: Site, python: str) -> None:
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    web = service(
        python,
        command={"entrypoint": ["python3", "-c", ECHO]},
        port_mappings=[
            {"host_port": tcp, "container_port": 80},
            {"host_port": udp, "container_port": 9000, "protocol": "udp"},
        ],
    )
    up(site, deployment("shop", web=web))
    soon(lambda: get(tcp)[0] == 200, "the published port answers")
    assert _udp(udp, b"ping") == b"ping"
    site.cli("down", "shop")
    assert get(tcp)[0] == 0


def _udp(port: int, data: bytes) -> bytes:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(data, ("127.0.0.1", port))
        return client.recv(100)


def _status(site: Site) -> dict[str, Any]:
    return dict(json.loads(site.cli("status", "--format", "json").stdout))


@contextmanager
def steady(port: int) -> Iterator[list[int]]:
    """Statuses of requests made all the time in the background."""
    import threading

    seen: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            seen.append(get(port)[0])
            stop.wait(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_an_update_loses_nothing(site: Site, busybox: str, port: int) -> None:
    def version(number: int) -> dict[str, Any]:
        web = service(busybox, 2, command=page(f"v{number}"), endpoints=[endpoint(port, expose=True)])
        return deployment("shop", web=web)

    up(site, version(1))
    with steady(port) as seen:
        for number in (2, 3, 4):
            up(site, version(number))
            assert get(port) == (200, f"v{number}")
    assert set(seen) == {200}, seen
    assert len(seen) > 50
