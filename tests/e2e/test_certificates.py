"""Certificates end to end: a real daemon and proxy, and a real ACME server that asks that proxy for proofs."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509

from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.proxy.haproxy import master
from zlayer.testing.acme_front import Front, Hold, front
from zlayer.testing.pebble import Pebble, free_ports, pebble
from zlayer.testing.site import CONFIG, Site, deployment, service

from .test_traffic import page

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
HOOK = """#!{python}
import json, sys, urllib.request
what, record, value = sys.argv[1:]
open({said!r}, "a").write(f"{{what}} {{record}}\\n")
body = {{"host": record + "."}} | ({{"value": value}} if what == "present" else {{}})
path = "set-txt" if what == "present" else "clear-txt"
urllib.request.urlopen("{management}/" + path, json.dumps(body).encode(), 30).read()
"""
PATIENCE = 120.0


@dataclass
class Bench:
    """A daemon whose CA is pebble; pebble finds every name at this node, and its proofs on the daemon's proxy."""

    site: Site
    ca: Pebble
    door: Front
    https: int
    image: str
    root: Path
    trust: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.trust = ssl.create_default_context(cadata=self.ca.root)

    def up(self, *hosts: str | None, name: str = "shop", **tls: Any) -> None:
        endpoints = [
            {"name": f"e{n}", "protocol": "https", "port": self.https, "target_port": 80, "expose": True}
            | ({"host": host} if host else {})
            | ({"tls": tls} if tls else {})
            for n, host in enumerate(hosts)
        ]
        web = service(self.image, command=page("hello"), endpoints=endpoints)
        self.site.cli("up", "-d", self.site.write(deployment(name, web=web), f"{name}.yml"))

    def served(self, host: str, trust: ssl.SSLContext | None = None) -> x509.Certificate:
        """What is shown to a client that asks for the host, and takes it: chain, name and dates are good."""
        with (
            socket.create_connection(("127.0.0.1", self.https), timeout=PATIENCE) as raw,
            (trust or self.trust).wrap_socket(raw, server_hostname=host) as wrapped,
        ):
            der = wrapped.getpeercert(binary_form=True)
            assert der is not None
            return x509.load_der_x509_certificate(der)

    def serial(self, host: str) -> str:
        return f"{self.served(host).serial_number:x}"

    def shows(self, host: str, serial: str) -> None:
        """Until that one is served."""
        self.site.until(lambda: self.serial(host) == serial, f"{host} is served with {serial}", within=PATIENCE)

    def known(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.site.cli("cert", "show", name, "--format", "json").stdout))

    def until(self, name: str, true: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def so() -> bool:
            nonlocal found
            found = self.known(name)
            return bool(true(found))

        self.site.until(so, what, within=PATIENCE)
        return found

    def taken(self, host: str) -> None:
        """Until a client takes what is served."""

        def good() -> bool:
            try:
                self.served(host)
            except OSError:
                return False
            return True

        self.site.until(good, f"{host} is served with a certificate that is trusted", within=PATIENCE)

    def worker(self) -> int:
        """The process that traffic goes through; another one after each reload."""
        [pid] = anyio.run(master.processes, self.site.paths.run / "proxy").workers
        return int(pid)


@contextmanager
def bench(root: Path, image: str, *, alpn: bool = False, **ca_settings: Any) -> Iterator[Bench]:
    """With `alpn` names are proved on the https port, and there is nothing for http-01 to be asked at."""
    proofs, https = free_ports(2)
    with ExitStack() as stack:
        asked = {"httpPort": proofs, "tlsPort": https if alpn else 1}
        ca = stack.enter_context(pebble(root / "ca", settings={**asked, **ca_settings}))
        door = stack.enter_context(front(ca, root))
        hook = root / "hook"
        hook.write_text(HOOK.format(python=sys.executable, said=str(root / "said"), management=ca.dns_management))
        hook.chmod(0o755)
        config = (
            f'{CONFIG}[acme]\nemail = "ops@example.org"\nagree = true\ndirectory = "{door.directory}"\n'
            f'ca_file = "{ca.ca_file}"\nhttp_port = {proofs}\ndns_hook = "{hook}"\n'
        )
        config += f'challenge = "tls-alpn-01"\ntls_port = {https}\n' if alpn else ""
        site = stack.enter_context(Site(config))
        site.start()
        yield Bench(site, ca, door, https, image, root)


@pytest.fixture(scope="module")
def shared(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("acme"), busybox, domainBlocklist=["blocked.example.org"]) as made:
        yield made


@pytest.fixture
def at(shared: Bench) -> Iterator[Bench]:
    before = shared.site.census()
    shared.door.meddle = lambda _kind, _nth: None
    yield shared
    for name in shared.site.cli("ps", "-q").stdout.split():
        shared.site.cli("down", name)
    shared.site.assert_clean(before)


def test_certificates_come_by_themselves_and_are_served_by_sni(at: Bench) -> None:
    at.up("a.example.org", "b.example.org", "c.test")
    for host in ("a.example.org", "b.example.org"):
        at.taken(host)
        names = at.served(host).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [host]
    own = ssl.create_default_context(cafile=str(at.site.paths.root / "certs" / "ca.pem"))
    assert at.served("c.test", own).issuer != at.served("a.example.org").issuer
    connection = http.client.HTTPSConnection("127.0.0.1", at.https, timeout=PATIENCE, context=own)
    connection.sock = own.wrap_socket(socket.create_connection(("127.0.0.1", at.https)), server_hostname="c.test")
    connection.request("GET", "/", headers={"Host": "c.test"})
    assert connection.getresponse().read() == b"hello\n"
    connection.close()
    listed = {line.split()[0]: line.split() for line in at.site.cli("cert", "ls").stdout.splitlines()[1:]}
    assert [listed[host][1:3] for host in ("a.example.org", "b.example.org", "c.test")] == [
        ["valid", "acme"],
        ["valid", "acme"],
        ["valid", "self_signed"],
    ]
    status = json.loads(at.site.cli("status", "--format", "json").stdout)["certificates"]
    assert (status["total"], status["first_to_end"], status["trouble"]) == (3, "c.test", [])
    assert at.known("a.example.org")["serial"] == at.serial("a.example.org")


def test_a_name_the_ca_refuses_is_told_and_another_is_served(at: Bench) -> None:
    at.ca.resolves("lost.example.org", well=False)
    at.up("lost.example.org", "blocked.example.org", "found.example.org")
    at.taken("found.example.org")
    lost = at.until("lost.example.org", lambda found: found["error"], "the refusal is told")
    assert (lost["state"], lost["not_after"]) == ("failed", None)
    assert lost["next_try"]
    blocked = at.until("blocked.example.org", lambda found: found["error"], "the other refusal is told")
    assert "rejectedIdentifier" in blocked["error"]
    text = at.site.cli("status").stdout
    assert "certificate failed: lost.example.org: " in text
    in_vain = at.site.cli("cert", "renew", "blocked.example.org", check=False)
    assert (in_vain.returncode, "rejectedIdentifier" in in_vain.stderr) == (1, True)
    at.ca.resolves("lost.example.org", well=True)
    at.site.cli("cert", "renew", "lost.example.org")
    at.taken("lost.example.org")
    kinds = [line.split()[1] for line in at.site.cli("events").stdout.splitlines()]
    assert {"certificate.issued", "certificate.failed"} <= set(kinds)


def test_a_wildcard_is_proved_by_the_hook(at: Bench) -> None:
    at.up("*.wild.example.org")
    at.taken("any.wild.example.org")
    record = "_acme-challenge.wild.example.org"
    assert (at.root / "said").read_text().splitlines() == [f"present {record}", f"cleanup {record}"]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["account", "order", "answer", "finalise", "download"])
def test_a_daemon_killed_half_way_goes_on_with_the_same_order(at: Bench, step: str) -> None:
    if step == "account":
        at.site.kill()
        for path in at.site.paths.root.glob("state.db*"):
            path.unlink()
        at.site.start()
    host, hold, before = f"{step}.example.org", Hold(), at.door.count("order")
    at.door.meddle = lambda kind, _nth: hold if kind == step else None
    at.up(host)
    assert hold.held.wait(PATIENCE), f"the CA is never asked for: {step}"
    at.site.kill()
    hold.released.set()
    at.door.meddle = lambda _kind, _nth: None
    at.site.start()
    at.taken(host)
    orders = at.door.count("order") - before
    assert orders == (2 if step == "order" else 1), "one that was placed and not written down is the only one lost"
    assert at.known(host)["failures"] == 0


def test_a_restart_asks_the_ca_for_nothing(at: Bench) -> None:
    at.up("kept.example.org")
    at.taken("kept.example.org")
    serial, asked = at.serial("kept.example.org"), len(at.door.asked)
    at.site.cli("daemon", "stop")
    at.site.reap()
    assert at.serial("kept.example.org") == serial, "the proxy serves on"
    at.site.start()
    assert at.known("kept.example.org")["state"] == "valid"
    at.up("kept.example.org", None)
    at.until("_default", lambda found: found["state"] == "valid", "the daemon has looked at certificates")
    assert (at.serial("kept.example.org"), len(at.door.asked)) == (serial, asked)


def test_files_that_are_no_good_take_nothing_away(at: Bench, tmp_path: Path) -> None:
    chain, key, name = tmp_path / "a.pem", tmp_path / "a.key", ""
    authority = LocalAuthority(tmp_path / "ca", "theirs")
    old = LocalAuthority(tmp_path / "ca", "theirs", clock=lambda: time.time() - 60 * 86400)

    def write(*names: str, by: LocalAuthority = authority) -> None:
        pair = by.sign(names)
        chain.write_text(pair.chain)
        key.write_text(pair.key.reveal())

    def renewed() -> str:
        done = at.site.cli("cert", "renew", name, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stderr if done.returncode else ""

    write("files.example.org")
    at.up("files.example.org", mode="files", certificate=str(chain), key=str(key))
    [name] = [
        line.split()[0] for line in at.site.cli("cert", "ls").stdout.splitlines() if line.startswith("files.example")
    ]
    at.until(name, lambda found: found["state"] == "valid", "the files are served")
    theirs = ssl.create_default_context(cafile=str(tmp_path / "ca" / "ca.pem"))
    good = at.served("files.example.org", theirs)

    chain.write_text("-----BEGIN CERTIFICATE-----\nbroken")
    assert str(chain) in renewed()
    write("files.example.org")
    key.write_text(authority.sign(["files.example.org"]).key.reveal())
    assert "key is not the certificate's" in renewed()
    write("other.example.org")
    assert "not for files.example.org" in renewed()
    write("files.example.org", by=old)
    assert "expired" in renewed()
    key.unlink()
    assert str(key) in renewed()
    found = at.known(name)
    assert (found["state"], at.served("files.example.org", theirs)) == ("failing", good)
    assert f"certificate failing: {name}" in at.site.cli("status").stdout

    write("files.example.org")
    assert renewed() == ""
    at.site.until(lambda: at.served("files.example.org", theirs) != good, "the new files are served")
    assert at.known(name)["state"] == "valid"


@dataclass
class Load:
    """Clients that never rest. `failed` says what went wrong, `serials` which certificates they saw."""

    failed: list[str] = field(default_factory=list)
    serials: set[int] = field(default_factory=set)
    done: int = 0

    def new_connections(self, at: Bench, host: str, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                seen = at.served(host)
            except (OSError, AssertionError) as error:
                self.failed.append(f"a new connection: {error!r}")
            else:
                self.serials.add(seen.serial_number)
                self.done += 1
            stop.wait(0.01)

    def one_connection(self, at: Bench, host: str, stop: threading.Event) -> None:
        try:
            raw = socket.create_connection(("127.0.0.1", at.https), timeout=PATIENCE)
            connection = http.client.HTTPSConnection(host, at.https, context=at.trust)
            connection.sock = at.trust.wrap_socket(raw, server_hostname=host)
            while not stop.is_set():
                connection.request("GET", "/")
                answer = connection.getresponse()
                assert (answer.status, answer.read(), answer.will_close) == (200, b"hello\n", False)
                self.done += 1
                stop.wait(0.01)
            connection.close()
        except (OSError, AssertionError, http.client.HTTPException) as error:
            self.failed.append(f"the kept connection: {error!r}")

    @contextmanager
    def on(self, at: Bench, host: str) -> Iterator[None]:
        stop = threading.Event()
        work = (self.new_connections, self.new_connections, self.one_connection)
        threads = [threading.Thread(target=one, args=(at, host, stop)) for one in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.slow
def test_a_renewed_certificate_is_served_by_the_same_worker_and_no_connection_fails(
    busybox: str, tmp_path: Path
) -> None:
    """By itself when two thirds of its life are over, then by a user's wish, again and again."""
    host, load = "hot.example.org", Load()
    with bench(tmp_path, busybox, certificateValidityPeriod=60) as at:
        at.up(host)
        at.taken(host)
        first, worker = at.known(host), at.worker()
        with load.on(at, host):
            renewed = at.until(host, lambda found: found["serial"] != first["serial"], "it is renewed in time")
            at.shows(host, renewed["serial"])
            for _ in range(5):
                at.site.cli("cert", "renew", host)
                at.shows(host, at.known(host)["serial"])
        assert load.failed == []
        assert len(load.serials) >= 7
        assert at.worker() == worker, "the proxy was reloaded"
        events = at.site.cli("events").stdout
        assert events.count("certificate.renewed") >= 6
        assert "two thirds of its life are over" in events
        assert load.done > 100
