"""Well-known software from Debian packages, pulled from real registries, through a whole life by the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

import pytest

from zlayer.testing.registry import Registry
from zlayer.testing.site import Site, deployment, service

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]  # the first run on a machine makes the images: minutes
Json = dict[str, Any]  # Any: JSON documents
CONTAINER_KEYS = {
    "deployment", "service", "replica", "id", "node", "state", "health", "image", "ip", "ports", "pid", "restarts",
    "created_at", "started_at", "exit_code", "reason",
}  # fmt: skip


def http(port: int = 80) -> Json:
    return {"endpoints": [{"name": "http", "protocol": "http", "port": port}]}


def get(address: str, path: str = "/") -> str:
    with urlopen(f"http://{address}{path}", timeout=10) as answer:
        return str(answer.read().decode())


@contextmanager
def following(site: Site, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """`zlayer logs -f …` as a process whose lines can be read."""
    with subprocess.Popen(
        site.argv("logs", "-f", *argv), env=site.environ, cwd=site.root, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.terminate()


def line_with(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if words in line)


def test_nginx_through_its_whole_life(site: Site, registries: Any, image: Callable[[str], str], busybox: str) -> None:
    """From a plain registry. Any: see conftest."""
    plain: Registry = registries.plain
    reference = f"{plain.address}/{image('nginx')}"
    client = service(busybox, command={"args": ["sleep", "100000"]}, stop_signal="SIGKILL")
    path = site.write(deployment("shop", web=service(reference, 2, **http()), client=client))

    told = site.cli("up", "-d", path).stderr
    assert "shop: 3 new" in told
    assert "shop is stable: 3 replicas ready" in told
    (shop,) = json.loads(site.cli("ps", "--format", "json").stdout)
    assert (shop["deployment"], shop["status"]) == ("shop", "running")
    rows = {s["name"]: (s["image"], s["desired"], s["running"], s["ready"]) for s in shop["services"]}
    assert rows == {"web": (reference, 2, 2, 2), "client": (busybox, 1, 1, 1)}
    assert "2/2" in site.cli("ps").stdout

    first, second = site.running("web")
    assert set(first) == CONTAINER_KEYS
    assert (first["replica"], first["health"], first["ports"]) == (1, "healthy", ["80/tcp"])
    for one in (first, second):
        assert "Welcome to nginx" in get(one["ip"]), "from the host"
        inside = site.cli("exec", "client", "--", "wget", "-qO-", f"http://{one['ip']}/")
        assert "Welcome to nginx" in inside.stdout, "from another container"

    with following(site, "web") as log:
        with pytest.raises(OSError, match="404"):
            get(first["ip"], "/not-here-1")
        assert line_with(log, "GET /not-here-1").startswith("web-1 ")
        with pytest.raises(OSError, match="404"):
            get(second["ip"], "/not-here-2")
        assert line_with(log, "GET /not-here-2").startswith("web-2 ")
    assert "GET /not-here-1" in site.cli("logs", "web", "-i", "1").stdout
    assert "GET /not-here-1" not in site.cli("logs", "web", "-i", "2").stdout

    assert site.cli("exec", "web", "--", "nginx", "-t").returncode == 0
    assert site.cli("exec", "-r", "2", "web", "--", "sh", "-c", "exit 7", check=False).returncode == 7
    assert site.cli("exec", "-i", "web", "--", "cat", stdin="in and out").stdout == "in and out"

    site.cli("scale", "web", "4", "--wait")
    assert all("Welcome" in get(one["ip"]) for one in site.running("web"))
    site.cli("scale", "web", "1", "--wait")
    assert [one["id"] for one in site.instances() if one["service"] == "web"] == [first["id"]]

    site.cli("stop", "shop")
    assert json.loads(site.cli("ps", "--format", "json").stdout)[0]["status"] == "stopped"
    assert {one["state"] for one in site.instances()} == {"exited"}
    assert "GET /not-here-1" in site.cli("logs", "web").stdout, "logs outlive the container"
    site.cli("up", "-d", path)
    assert "Welcome" in get(site.running("web")[0]["ip"])
    site.cli("down", "shop")
    assert site.instances() == []
    assert json.loads(site.cli("ps", "--format", "json").stdout) == []


def test_redis_from_a_registry_with_tls_and_a_password(
    site: Site, registries: Any, image: Callable[[str], str]
) -> None:
    """CA and credentials are in config.toml; without them the pull is refused with a hint. Any: see conftest."""
    tls: Registry = registries.tls
    reference = f"{tls.address}/{image('redis')}"
    endpoint = [{"name": "redis", "protocol": "tcp", "port": 6379}]
    path = site.write(deployment("store", cache=service(reference, endpoints=endpoint)))
    site.cli("up", "-d", path)
    assert site.cli("exec", "cache", "--", "redis-cli", "ping").stdout == "PONG\n"
    assert site.cli("exec", "cache", "--", "redis-cli", "set", "a", "1").stdout == "OK\n"
    assert site.cli("exec", "-i", "cache", "--", "redis-cli", stdin="incr a\nget a\n").stdout.split() == ["2", "2"]
    assert site.cli("exec", "cache", "--", "id", "-un").stdout == "redis\n"
    assert "Ready to accept connections" in site.cli("logs", "cache").stdout
    (one,) = site.running("cache")
    site.cli("stop", "store", "-s", "cache")
    stopped = next(i for i in site.instances() if i["id"] == one["id"])
    assert (stopped["state"], stopped["exit_code"]) == ("exited", 0), "redis ends by itself when told to"


POSTGRES: Json = {
    "env": {"POSTGRES_PASSWORD": "secret", "POSTGRES_DB": "shop"},
    "health": {"interval": "1s", "check": {"type": "command", "command": "pg_isready -h 127.0.0.1"}},
    "endpoints": [{"name": "postgres", "protocol": "tcp", "port": 5432}],
    "storage": [{"type": "named", "name": "data", "target": "/var/lib/postgresql/data"}],
    "stop_grace_period": "20s",
}


def test_postgres_from_a_registry_with_tokens(site: Site, registries: Any, image: Callable[[str], str]) -> None:
    """Its data is in a named volume: it survives a change of the container. Any: see conftest."""
    token: Registry = registries.token
    document = deployment("data", db=service(f"{token.address}/{image('postgres')}", **POSTGRES))

    def query(text: str) -> str:
        return site.cli("exec", "db", "--", "psql", "-U", "postgres", "-d", "shop", "-Atc", text).stdout.strip()

    site.cli("up", "-d", site.write(document))
    assert query("select 1") == "1"
    query("create table orders as select generate_series(1, 1000) as id")
    (before,) = site.running("db")
    document["services"]["db"]["env"]["TZ"] = "Europe/Berlin"
    assert "stop-first: env.TZ changed" in site.cli("up", "-d", site.write(document)).stderr
    (after,) = site.running("db")
    assert after["id"] != before["id"]
    assert query("select count(*) from orders") == "1000"
    assert "was not properly shut down" not in site.cli("logs", "db", "-n", "all").stdout
    site.cli("down", "data")


SERVE = """
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['GREETING']} {os.getuid()} {sys.version_info[0]}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8000), Page).serve_forever()
"""


def test_python_with_credentials_of_docker(site: Site, registries: Any, image: Callable[[str], str]) -> None:
    """The TLS registry under another name, whose credentials are in docker's config.json. Any: see conftest."""
    app = service(
        f"{registries.tls_as_localhost}/{image('python')}", 2, command={"args": ["python", "-c", SERVE]},
        env={"GREETING": "hej"}, user="nobody", stop_signal="SIGINT", **http(8000),
    )  # fmt: skip
    site.cli("up", "-d", site.write(deployment("site", app=app)))
    for one in site.running("app"):
        assert get(f"{one['ip']}:8000") == "hej 65534 3"
    assert "GET / HTTP/1.1" in site.cli("logs", "app").stdout
    assert site.cli("exec", "app", "--", "python", "-c", "print(6 * 7)").stdout == "42\n"
    site.cli("down")


def test_a_registry_that_wants_a_password_we_do_not_have(
    site: Site, registries: Any, image: Callable[[str], str]
) -> None:
    """docker's config.json is read at each pull: without it, and with a wrong password in it. Any: see conftest."""
    reference = f"{registries.tls_as_localhost}/{image('busybox')}"
    file = registries.docker_config() / "config.json"
    known = file.read_text()
    wrong = {"auths": {registries.tls_as_localhost: {"username": "zlayer", "password": "not-this-one"}}}
    try:
        for text in ("{}", json.dumps(wrong)):
            file.write_text(text)
            done = site.cli("pull", reference, check=False)
            assert done.returncode == 8, done.stderr
            assert reference.partition("/")[0] in done.stderr
            assert "hint: " in done.stderr
            assert "config.json" in done.stderr
            assert "not-this-one" not in done.stderr + site.log()
    finally:
        file.write_text(known)
    site.cli("pull", reference)
