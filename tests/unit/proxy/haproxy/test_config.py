"""Whole configurations, judged by the engine itself."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.model.endpoint import Limits
from zlayer.model.errors import Invalid
from zlayer.model.routes import Backend, Certificate, Listener, Route, RouteTable, Server
from zlayer.proxy.haproxy import binds, certificates, files, frontend, intent, picture, process, text
from zlayer.proxy.haproxy.certificates import Wallet
from zlayer.proxy.haproxy.difference import difference
from zlayer.proxy.haproxy.proving import PROOFS, render
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.structure import Structure, door_of, grown

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")


def everything(name: str = "shop/web/http", host: str = "a.test", path: str = "/api") -> RouteTable:
    """A table with every mode and option."""
    http = Backend(name, "http", (Server("i1", "10.64.0.2", 8080), Server("i2", "fd00::2", 8080, 0)), http2=True)
    sticky = Backend(f"{name}-s", "http", (Server("i1", "10.64.0.2", 8080),), sticky=True, max_connections=10)
    tcp = Backend(f"{name}-t", "tcp", (Server("i3", "10.64.0.3", 5432),), proxy_protocol=True)
    limits = Limits(rate=5, max_body=1000)
    routes = (Route(name, host, path, strip_path=True, limits=limits), Route(f"{name}-s", f"*.{host}"), Route(name))
    return RouteTable(
        listeners=(
            Listener("web", ("127.0.0.1",), 0x7001, "http", routes),
            Listener("sql", ("127.0.0.1",), 0x7002, "tcp", (Route(f"{name}-t"),)),
            Listener("sni", ("127.0.0.1",), 0x7003, "passthrough", (Route(f"{name}-t", host),)),
        ),
        backends=(http, sticky, tcp),
        challenges={"token": "answer"},
    )


def written(table: RouteTable, directory: Path) -> picture.Picture:
    doors = tuple(door_of(listener) for listener in table.listeners)
    made, slots = grown(Structure(), table, doors, {})
    want = picture.wanted(table, made, slots, {})
    files.prepare(directory)
    files.write(directory, want, {}, Settings())
    return want


def judged(directory: Path) -> str:
    argv = ["haproxy", "-c", "-q", "-C", str(directory), "-f", process.CONFIG]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def proving() -> RouteTable:
    """Names are proved on an https and on a passthrough listener."""
    proof = Certificate("_acme:b.test", "chain", "key")
    plain = everything()
    listeners = (
        replace(plain.listeners[2], proves=True),
        Listener("tls", ("127.0.0.1",), 0x7004, "https", plain.listeners[0].routes, proves=True),
    )
    return replace(plain, listeners=listeners, certificates={proof.name: proof}, proofs={"B.test": proof.name})


@needs_haproxy
def test_proofs_are_judged_good_and_come_by_a_list_of_their_own(tmp_path: Path) -> None:
    want = written(proving(), tmp_path)
    assert judged(tmp_path) == ""
    assert want.maps[PROOFS] == {}  # its certificate is no good, as the digests say
    door = door_of(proving().listeners[1])
    assert frontend.render(door, Settings()).count("bind 127.0.0.1:28676") == 1
    made, slots = grown(Structure(), proving(), (door,), {})
    have, want = (picture.wanted(proving(), made, slots, digests) for digests in ({}, {"_acme:b.test": "d"}))
    assert want.maps[PROOFS] == {"b.test": "1"}
    said = [one.text for one in difference(have, want, {"cert-_acme.3ab.2etest.pem": "PEM"}, "")]
    assert said[-1] == f"add map {PROOFS} b.test 1"
    assert "add ssl crt-list list-proofs.txt cert-_acme.3ab.2etest.pem" in said
    gone = [one.text for one in difference(want, have, {}, "")]
    assert [line for line in gone if picture.STATE not in line] == [
        f"del map {PROOFS} b.test",
        "del ssl crt-list list-proofs.txt cert-_acme.3ab.2etest.pem",
        "del ssl cert cert-_acme.3ab.2etest.pem",
    ]


def test_a_door_that_proves_nothing_is_not_looked_at() -> None:
    door = replace(door_of(proving().listeners[1]), proves=False)
    assert "p-tls" not in frontend.render(door, Settings())
    assert render((door,), "") == ""


@needs_haproxy
def test_the_engine_takes_every_option(tmp_path: Path) -> None:
    written(everything(), tmp_path)
    assert judged(tmp_path) == ""
    assert oct((tmp_path / process.CONFIG).stat().st_mode & 0o777) == "0o600"


@needs_haproxy
@settings(max_examples=15, deadline=None)
@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_the_engine_takes_any_words(name: str, host: str, path: str) -> None:
    with tempfile.TemporaryDirectory(prefix="zl") as directory:
        written(everything(name, host, "/" + path), Path(directory))
        assert judged(Path(directory)) == ""


def test_a_structure_comes_back_and_old_ones_go(tmp_path: Path) -> None:
    want = written(everything(), tmp_path)
    generation = want.structure.generation
    assert files.structure(tmp_path, generation) == want.structure
    assert files.structure(tmp_path, generation + 1) is None
    files.forget(tmp_path, [], [])
    assert files.structure(tmp_path, generation) is None
    assert files.cookie_key(tmp_path, Settings()) == files.cookie_key(tmp_path, Settings())
    files.destroy(tmp_path)
    assert not tmp_path.exists()


def test_each_worker_tells_its_generation() -> None:
    assert text.tag(3) != text.tag(4)
    assert frontend.map_of("a/b") != frontend.map_of("a_b")


def test_a_certificate_that_is_none_is_told_and_the_rest_served() -> None:
    broken = Certificate("bad", "no chain", "no key")
    with pytest.raises(Invalid, match="bad"):
        certificates.pem(broken)
    good, faults = Wallet().sort({"bad": broken})
    assert good == {}
    assert "bad" in faults[0].message


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "127.0.0.1" in binds.listening(port)
        assert binds.refusal(("127.0.0.1", port)) == binds.IN_USE
        listeners = (Listener("a", ("127.0.0.1",), port, "http"), *everything().listeners[:1])
        routes = (Route("shop/web/http"), Route("shop/api/http", path="/api"))
        listeners = (replace(listeners[0], routes=routes), *listeners[1:])
        found = intent.intend(RouteTable(listeners=listeners), Structure(), Wallet(), "somebody at {}".format)
        why = f"127.0.0.1:{port}: in use by somebody at {port}"
        assert [(one.door, one.reason) for one in found.refusals] == [("a", why)]
        error = intent.refused(found)
        assert error.message == f"cannot listen on {why}"
        assert [(one.path, one.message) for one in error.problems] == [
            ("shop/web", error.message),
            ("shop/api", error.message),
        ]
        assert [door.name for door in found.doors] == ["web"]
    assert binds.refusal(("127.0.0.1", port)) == ""
    assert intent.same(RouteTable(1), RouteTable(2))
