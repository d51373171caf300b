"""Certificates from a real ACME server (pebble): issued, renewed, refused, resumed, and with much gone wrong."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from zlayer.control.certificates import CertificateKeeper, Tools
from zlayer.control.orders import Ca
from zlayer.model import keys
from zlayer.model.certificate import AcmeSettings, Order, Pair, StoredCertificate
from zlayer.model.endpoint import Endpoint, Tls
from zlayer.model.errors import Unavailable
from zlayer.model.instance import Deployment
from zlayer.model.secret import Secret
from zlayer.proxy.acme.dns_hook import ProgramHook
from zlayer.proxy.acme.library import LibraryAcme
from zlayer.proxy.certs import pem
from zlayer.proxy.certs.contract import Identity
from zlayer.proxy.certs.local import LocalCertifier
from zlayer.proxy.certs.sealing import FileSealer
from zlayer.store.contract import Store
from zlayer.store.documents import encode
from zlayer.store.sqlite import SqliteStore
from zlayer.testing.builders import deployment, service
from zlayer.testing.pebble import Pebble, pebble

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("pebble") is None, reason="no pebble here: apt-get install pebble"),
]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """One that refuses a nonce in four, as it does to teach clients."""
    with pebble(tmp_path_factory.mktemp("pebble"), environ={"PEBBLE_WFE_NONCEREJECT": "25"}) as running:
        yield running


def shop(*hosts: str) -> Deployment:
    endpoints = tuple(
        Endpoint(name=f"e{n}", protocol="https", port=443, target_port=80, host=host, tls=Tls(mode="acme"))
        for n, host in enumerate(hosts)
    )
    return deployment("shop", web=service(endpoints=endpoints))


def settings(ca: Pebble, **more: object) -> AcmeSettings:
    return replace(AcmeSettings("ops@example.org", ca.directory, ca.ca_file), **more)  # type: ignore[arg-type]


class Daemon:
    """The part of a daemon that keeps certificates; its directory outlives it."""

    def __init__(self, root: Path, ca: Pebble, chosen: AcmeSettings, *, hook: Path | None = None) -> None:
        self.root, self.ca, self.settings = root, ca, chosen
        self.hook = ProgramHook(hook) if hook is not None else None
        self.publishes = True
        self.sealer = FileSealer(root / "certs" / "seal.key")
        self.store: Store

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with SqliteStore(self.root / "state.db") as self.store:
            await self.store.commit(deletes=[keys.ISSUER])  # of one that was killed: its lease need not run out
            issuer = Ca(self.settings, LibraryAcme(self.settings), self._publish, self.hook)
            tools = Tools(self.sealer, LocalCertifier(self.root / "certs", "n1"), issuer)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(CertificateKeeper(self.store, tools, clock=time.time).run)
                yield
                tasks.cancel_scope.cancel()

    async def _publish(self, _revision: int) -> None:
        if not self.publishes:
            await anyio.sleep_forever()
        for item in (await self.store.list(keys.ORDERS)).items:
            self.ca.http.answers.update(Order.model_validate_json(item.value).challenges)

    async def until(self, name: str, true: Callable[[StoredCertificate], object]) -> StoredCertificate:
        with anyio.fail_after(60):
            while True:
                revision = (await self.store.list("/")).revision
                item = await self.store.get(keys.certificate(name))
                if item is not None and true(found := StoredCertificate.model_validate_json(item.value)):
                    return found
                async for _ in self.store.watch("/", revision):
                    break

    async def deploy(self, wanted: Deployment) -> None:
        await self.store.commit({keys.deployment(wanted.name): encode(wanted)})

    async def ask(self, name: str) -> None:
        item = await self.store.get(keys.certificate(name))
        assert item is not None
        found = StoredCertificate.model_validate_json(item.value).model_copy(update={"asked_at": time.time()})
        await self.store.commit({item.key: encode(found)}, expect={item.key: item.modified})


def usable(found: StoredCertificate) -> bool:
    return found.usable


async def test_issued_renewed_and_the_account_outlives_the_daemon(tmp_path: Path, ca: Pebble) -> None:
    daemon = Daemon(tmp_path, ca, settings(ca))
    async with daemon.running():
        await daemon.deploy(shop("a.example.org", "b.example.org"))
        first = await daemon.until("a.example.org", usable)
        await daemon.until("b.example.org", usable)
        key = daemon.sealer.unseal(first.key, keys.certificate("a.example.org"))
        pem.check(Pair(first.chain, key), ["a.example.org"], time.time())
        accounts = (await daemon.store.list(keys.ACCOUNTS)).items
    async with daemon.running():
        await daemon.ask("a.example.org")
        second = await daemon.until("a.example.org", lambda found: found.serial != first.serial)
        assert second.failures == 0
        again = (await daemon.store.list(keys.ACCOUNTS)).items
        assert [item.modified for item in again] == [item.modified for item in accounts]
        assert (await daemon.store.list(keys.ORDERS)).items == ()
        assert all(b"PRIVATE" not in item.value for item in (await daemon.store.list("/")).items)


async def test_a_name_that_proves_wrong_is_told_and_another_is_served(tmp_path: Path, ca: Pebble) -> None:
    daemon = Daemon(tmp_path, ca, settings(ca))
    async with daemon.running():
        good = daemon._publish

        async def but_wrong(revision: int) -> None:
            await good(revision)
            for item in (await daemon.store.list(keys.ORDERS)).items:
                order = Order.model_validate_json(item.value)
                if order.name == "wrong.example.org":
                    ca.http.answers.update(dict.fromkeys(order.challenges, "nonsense"))

        daemon._publish = but_wrong  # type: ignore[method-assign,assignment]
    async with daemon.running():
        await daemon.deploy(shop("wrong.example.org", "right.example.org"))
        await daemon.until("right.example.org", usable)
        failed = await daemon.until("wrong.example.org", lambda found: found.failures)
        assert "wrong.example.org could not be proved" in failed.last_error or "invalid" in failed.last_error
        assert failed.next_try is not None
        await anyio.wait_all_tasks_blocked()
        assert await daemon.store.get(keys.order("wrong.example.org")) is None


async def test_killed_half_way_the_same_order_is_gone_on_with(tmp_path: Path, ca: Pebble) -> None:
    daemon = Daemon(tmp_path, ca, settings(ca))
    daemon.publishes = False
    async with daemon.running():
        await daemon.deploy(shop("late.example.org"))
        with anyio.fail_after(60):
            async for changes in daemon.store.watch(keys.ORDERS, 0):
                orders = [Order.model_validate_json(c.item.value) for c in changes.changes if c.item is not None]
                if orders and orders[0].challenges:
                    break
    daemon.publishes = True
    async with daemon.running():
        await daemon.until("late.example.org", usable)
        assert next(iter(orders[0].challenges)) in ca.http.asked


async def test_a_ca_that_is_not_trusted_is_told_with_what_to_do(tmp_path: Path, ca: Pebble) -> None:
    daemon = Daemon(tmp_path, ca, settings(ca, ca_file=None))
    async with daemon.running():
        await daemon.deploy(shop("a.example.org"))
        failed = await daemon.until("a.example.org", lambda found: found.failures)
        assert "not trusted" in failed.last_error
        events = (await daemon.store.list(keys.EVENTS)).items
        assert any(b"ca_file" in item.value for item in events)


async def test_a_wildcard_by_dns_and_nothing_left_in_it(tmp_path: Path, ca: Pebble) -> None:
    hook, said = tmp_path / "hook", tmp_path / "said"
    hook.write_text(f"""#!/bin/sh
echo "$1 $2" >> {said}
case $1 in
present) body='{{"host": "'$2'.", "value": "'$3'"}}'; path=set-txt ;;
cleanup) body='{{"host": "'$2'."}}'; path=clear-txt ;;
esac
exec curl -sf -X POST -d "$body" {ca.dns_management}/$path
""")
    hook.chmod(0o755)
    daemon = Daemon(tmp_path, ca, settings(ca), hook=hook)
    async with daemon.running():
        await daemon.deploy(shop("*.wild.example.org"))
        found = await daemon.until("*.wild.example.org", usable)
        assert "*.wild.example.org" in found.names
    assert said.read_text().splitlines() == [
        "present _acme-challenge.wild.example.org",
        "cleanup _acme-challenge.wild.example.org",
    ]


async def test_a_ca_that_rejects_at_random_is_overcome(tmp_path: Path) -> None:
    """It refuses two nonces in five: sixteen in a row, which we would give up after, are not to be expected."""
    with pebble(tmp_path / "ca", environ={"PEBBLE_WFE_NONCEREJECT": "40"}) as ca:
        daemon = Daemon(tmp_path / "daemon", ca, settings(ca))
        (tmp_path / "daemon").mkdir()
        async with daemon.running():
            await daemon.deploy(shop(*(f"h{n}.example.org" for n in range(6))))
            for n in range(6):
                await daemon.until(f"h{n}.example.org", usable)


async def test_a_ca_set_up_anew_while_we_hold_an_account(tmp_path: Path) -> None:
    daemon = None
    for turn in (1, 2):
        with pebble(tmp_path / f"ca{turn}") as ca:
            if daemon is None:
                (tmp_path / "daemon").mkdir()
            chosen = settings(ca)
            daemon = Daemon(tmp_path / "daemon", ca, chosen)
            if turn == 2:  # the same CA by name: its account and order are unknown to it
                async with SqliteStore(tmp_path / "daemon" / "state.db") as store:
                    [old] = (await store.list(keys.ACCOUNTS)).items
                    document = json.loads(old.value)
                    key = keys.account(ca.directory)
                    private = daemon.sealer.unseal(document["key"], old.key)
                    document |= {"directory": ca.directory, "key": daemon.sealer.seal(private, key)}
                    document["url"] = ca.directory.replace("/dir", "/my-account/17")
                    await store.commit({key: json.dumps(document).encode()})
            async with daemon.running():
                await daemon.deploy(shop(f"t{turn}.example.org"))
                found = await daemon.until(f"t{turn}.example.org", usable)
                assert found.failures == 0


async def test_external_account_binding(tmp_path: Path) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    more: dict[str, object] = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": key}}
    with pebble(tmp_path / "ca", settings=more) as ca:
        bound = settings(ca, eab_kid="kid-1", eab_key=Secret(key))
        mine = pem.new_key()
        assert (await LibraryAcme(bound).register(mine)).startswith("https://")
        with pytest.raises(Exception, match=r"externalAccount|eab|EAB|binding"):
            await LibraryAcme(settings(ca)).register(pem.new_key())


async def test_the_library_driver_itself(ca: Pebble) -> None:
    """Registration is idempotent; a CA that is not there is `Unavailable`; an unknown order is not found."""
    acme, key = LibraryAcme(settings(ca)), pem.new_key()
    url = await acme.register(key)
    assert await LibraryAcme(settings(ca)).register(key) == url
    identity = Identity(key, url)
    order = await acme.order(identity, ["x.example.org"])
    assert (await acme.look(identity, order.url)).status == "pending"
    [proof] = await acme.authorizations(identity, order)
    assert {way.kind for way in proof.challenges} >= {"http-01", "dns-01"}
    gone = settings(ca, directory="https://127.0.0.1:1/dir")
    with pytest.raises(Unavailable):
        await LibraryAcme(gone).register(key)
