"""The certificate keeper over a CA in memory: issued, renewed, refused, resumed, forgotten."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from zlayer.model import keys
from zlayer.model.certificate import Order, Pair
from zlayer.model.errors import Failed, Unavailable
from zlayer.plan.needs import certificate_name
from zlayer.proxy.certs import pem
from zlayer.proxy.certs.sealing import FileSealer
from zlayer.store.documents import encode
from zlayer.testing.clock import run
from zlayer.testing.fake_acme import no_fault

from .conftest import START, Killed, Site, clock, shop

DAY = 86400.0


def usable(certificate: object) -> bool:
    return bool(getattr(certificate, "usable", False))


def test_a_public_name_gets_its_certificate_from_the_ca_and_a_local_one_from_ours(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("shop.example.org", "shop.test", None))
        public = await site.until("shop.example.org", usable)
        local = await site.until("shop.test", usable)
        anyone = await site.until("_default", usable)
        assert (public.source, local.source, anyone.source) == ("acme", "self_signed", "self_signed")
        assert set(anyone.names) == {"node1", "localhost", "127.0.0.1", "::1"}
        key = site.sealer.unseal(public.key, keys.certificate("shop.example.org"))
        pair = Pair(public.chain, key)
        assert pem.check(pair, ["shop.example.org"], clock()).serial == public.serial
        assert (await site.store.list(keys.ORDERS)).items == ()
        events = await site.events()
        assert [event.kind for event in events] == ["certificate.issued"] * 3
        assert {(event.deployment, event.service) for event in events} == {("shop", "web")}

    site.play(story)


def test_no_private_key_is_readable_in_the_store(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("shop.example.org", "shop.test"))
        await site.until("shop.example.org", usable)
        await site.until("shop.test", usable)
        assert all(b"PRIVATE" not in item.value for item in (await site.store.list("/")).items)

    site.play(story)


def test_the_ca_is_told_to_look_only_when_every_proxy_has_the_answer(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        await site.until("a.example.org", usable)
        assert len(site.published) == 1
        assert site.ca.calls.index("answer") > site.ca.calls.index("authorizations")

    site.play(story)


def test_renewed_at_two_thirds_with_the_same_account(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        first = await site.until("a.example.org", usable)
        second = await site.until("a.example.org", lambda found: found.serial != first.serial)
        assert 18 * DAY < second.issued_at - first.issued_at < 20.1 * DAY
        assert (len(site.ca.accounts), len(site.ca.orders)) == (1, 2)
        assert await site.kinds() == ["certificate.issued", "certificate.renewed"]

    site.play(story)


def test_many_renewals_never_serves_an_expired_one(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("a.example.org", "b.test"))
        for name in ("a.example.org", "b.test"):
            await site.until(name, usable)
        for _ in range(13):
            await anyio.sleep(7 * DAY)
            for name in ("a.example.org", "b.test"):
                found = await site.certificate(name)
                assert found is not None
                assert found.not_after - clock() > 8 * DAY
        assert len(site.ca.orders) < 8

    site.play(story)


def test_a_refused_order_is_given_up_told_and_tried_again_ever_later(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.ca.refused.add("a.example.org")

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        await site.until("a.example.org", lambda found: found.failures == 3)
        found = await site.certificate("a.example.org")
        assert found is not None
        assert "found no proof of a.example.org" in found.last_error
        assert found.next_try is not None
        assert found.next_try - found.tried_at > 600
        assert (await site.store.list(keys.ORDERS)).items == ()
        began = clock()
        await anyio.sleep(DAY)
        assert len(site.ca.orders) < 12
        site.ca.refused.clear()
        good = await site.until("a.example.org", usable)
        assert (good.failures, good.last_error, good.next_try) == (0, "", None)
        assert clock() - began < 2 * DAY

    site.play(story)


def test_a_failed_renewal_keeps_what_works(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        first = await site.until("a.example.org", usable)
        site.ca.refused.add("a.example.org")
        failing = await site.until("a.example.org", lambda found: found.failures)
        assert (failing.chain, failing.key, failing.serial) == (first.chain, first.key, first.serial)

    site.play(story)


def test_a_rate_limit_is_respected_even_when_a_user_asks(tmp_path: Path) -> None:
    site, start = Site(tmp_path), START

    def limited(call: str, when: str) -> None:
        if (call, when) == ("order", "before") and clock() < start + 5 * DAY:
            raise Unavailable("too many", retry_after=5 * DAY)

    async def story() -> None:
        site.ca.fault = limited
        await site.deploy(shop("a.example.org"))
        found = await site.until("a.example.org", lambda found: found.failures)
        asked = found.model_copy(update={"asked_at": clock() + 1})
        await site.store.commit({keys.certificate("a.example.org"): encode(asked)})
        good = await site.until("a.example.org", usable)
        assert good.issued_at >= start + 5 * DAY
        assert site.ca.calls.count("order") == 2

    site.play(story)


def test_a_user_who_asks_does_not_wait_for_the_back_off(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.ca.refused.add("a.example.org")

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        found = await site.until("a.example.org", lambda found: found.failures == 4)
        site.ca.refused.clear()
        asked = found.model_copy(update={"asked_at": clock() + 1})
        await site.store.commit({keys.certificate("a.example.org"): encode(asked)})
        good = await site.until("a.example.org", usable)
        assert good.issued_at - found.tried_at < 60

    site.play(story)


def test_a_wildcard_is_proved_by_the_hook_and_leaves_no_record(tmp_path: Path) -> None:
    site = Site(tmp_path, hook=True)

    async def story() -> None:
        await site.deploy(shop("*.example.org"))
        found = await site.until("*.example.org", usable)
        assert found.source == "acme"
        assert site.hook.records == set()
        assert site.published == []

    site.play(story)


def test_without_a_hook_or_acme_it_is_self_signed_and_says_so(tmp_path: Path) -> None:
    for number, acme in enumerate((True, False)):
        site = Site(tmp_path / str(number), acme=acme)

        async def story(site: Site = site, acme: bool = acme) -> None:
            await site.deploy(shop("*.example.org"))
            found = await site.until("*.example.org", usable)
            assert found.source == "self_signed"
            assert ("dns_hook" if acme else "[acme]") in found.note

        site.play(story)


def test_what_cannot_be_had_is_told_once_and_not_tried(tmp_path: Path) -> None:
    site = Site(tmp_path, acme=False)

    async def story() -> None:
        await site.deploy(shop("a.example.org", mode="acme"))
        found = await site.until("a.example.org", lambda found: found.last_error)
        assert "[acme]" in found.last_error
        await anyio.sleep(DAY)
        assert await site.kinds() == ["certificate.failed"]

    site.play(story)


def test_files_are_read_watched_and_never_taken_away_by_a_broken_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    chain, key = tmp_path / "a.pem", tmp_path / "a.key"

    def write(*names: str) -> None:
        pair = site.certifier.ca.sign(names)
        chain.write_text(pair.chain)
        key.write_text(pair.key.reveal())

    async def story() -> None:
        deployed = shop("a.example.org", mode="files", certificate=str(chain), key=str(key))
        await site.deploy(deployed)
        name = certificate_name(deployed.services["web"].endpoints[0])
        missing = await site.until(name, lambda found: found.last_error)
        assert str(chain) in missing.last_error
        write("a.example.org")
        first = await site.until(name, usable)
        chain.write_text("garbage")
        broken = await site.until(name, lambda found: found.last_error)
        assert (broken.chain, broken.usable) == (first.chain, True)
        assert str(chain) in broken.last_error
        await anyio.sleep(3600)
        assert (await site.kinds()).count("certificate.failed") == 2
        write("a.example.org")
        second = await site.until(name, lambda found: found.serial != first.serial)
        assert second.last_error == ""
        write("other.example.org")
        wrong = await site.until(name, lambda found: found.last_error)
        assert "not for a.example.org" in wrong.last_error
        assert wrong.serial == second.serial

    site.play(story)


def test_a_certificate_nobody_uses_is_forgotten_after_a_while(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("a.test"))
        await site.until("a.test", usable)
        await site.store.commit(deletes=[keys.deployment("shop")])
        await site.until("a.test", lambda found: found.unused_since)
        await site.deploy(shop("a.test"))
        again = await site.until("a.test", lambda found: found.unused_since is None)
        assert again.usable
        await site.store.commit(deletes=[keys.deployment("shop")])
        await anyio.sleep(8 * DAY)
        assert await site.certificate("a.test") is None

    site.play(story)


def test_a_ca_that_was_set_up_anew_is_registered_with_again(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        await site.until("a.example.org", usable)
        site.ca.forget()
        await site.deploy(shop("a.example.org", "b.example.org"))
        found = await site.until("b.example.org", usable)
        assert found.failures == 0

    site.play(story)


def test_an_order_is_dropped_when_the_endpoint_goes_while_it_is_in_flight(tmp_path: Path) -> None:
    site = Site(tmp_path)

    def silent(call: str, _when: str) -> None:
        if call == "finalise":
            raise Unavailable("silence")

    async def story() -> None:
        site.ca.fault = silent
        await site.deploy(shop("a.example.org"))
        await site.until("a.example.org", lambda found: found.failures)
        assert len((await site.store.list(keys.ORDERS)).items) == 1
        await site.store.commit(deletes=[keys.deployment("shop")])
        await anyio.sleep(120)
        assert (await site.store.list(keys.ORDERS)).items == ()
        assert await site.certificate("a.example.org") is None

    site.play(story)


def test_a_lost_sealing_key_means_new_certificates_not_an_outage(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def scene() -> None:
        async with site.store, anyio.create_task_group() as tasks:
            inner = anyio.CancelScope()

            async def old() -> None:
                with inner:
                    await site.keeper().run()

            tasks.start_soon(old)
            await site.deploy(shop("a.example.org", "b.test"))
            first = await site.until("a.example.org", usable)
            inner.cancel()
            site.sealer = FileSealer(tmp_path / "another.key")
            tasks.start_soon(site.keeper("n2").run)
            second = await site.until("a.example.org", lambda found: found.serial != first.serial)
            assert site.sealer.unseal(second.key, keys.certificate("a.example.org"))
            tasks.cancel_scope.cancel()

    run(scene)


def test_two_keepers_place_one_order(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def scene() -> None:
        async with site.store, anyio.create_task_group() as tasks:
            for holder in ("n1", "n2"):
                tasks.start_soon(site.keeper(holder).run)
            await site.deploy(shop("a.example.org", "b.example.org"))
            await site.until("a.example.org", usable)
            await site.until("b.example.org", usable)
            await anyio.sleep(DAY)
            assert len(site.ca.orders) == 2
            assert len(site.ca.accounts) == 1
            tasks.cancel_scope.cancel()

    run(scene)


CA_STEPS = ("register", "order", "look", "authorizations", "answer", "finalise", "download", "present", "cleanup")
STEPS = (*CA_STEPS, "commit")


@pytest.mark.parametrize("host", ["a.example.org", "*.example.org"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_converges_without_needless_orders(
    tmp_path: Path, step: str, when: str, host: str
) -> None:
    """Every n-th occurrence of the step, until a run has no such occurrence any more."""
    for nth in range(1, 12):
        site, happened = Site(tmp_path / str(nth), hook=True), 0

        def fault(call: str, moment: str, nth: int = nth) -> None:
            nonlocal happened
            if (call, moment) == (step, when):
                happened += 1
                if happened == nth:
                    raise Killed

        async def scene(site: Site = site, fault: object = fault) -> None:
            async with site.store:
                await site.deploy(shop(host))
                site.ca.fault = site.hook.fault = site.store.fault = fault  # type: ignore[assignment]
                try:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(site.keeper().run)
                        await site.until(host, usable)
                        await anyio.sleep(60)
                        tasks.cancel_scope.cancel()
                except* Killed:
                    pass
                site.ca.fault = site.hook.fault = site.store.fault = no_fault
                await site.store.commit(deletes=[keys.ISSUER])  # as the lease's end would
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(site.keeper().run)
                    found = await site.until(host, usable)
                    await anyio.sleep(60)
                    tasks.cancel_scope.cancel()
                assert found.failures == 0
                assert (await site.store.list(keys.ORDERS)).items == ()
                assert site.hook.records == set()
                assert len(site.ca.accounts) == 1
                lost = step in ("order", "commit")
                assert len(site.ca.orders) <= (2 if lost else 1)

        run(scene)
        if happened < nth:
            return


@pytest.mark.parametrize("error", [Unavailable("overloaded"), Failed("no")])
@pytest.mark.parametrize("step", CA_STEPS)
def test_an_error_at_any_step_is_told_and_overcome(tmp_path: Path, step: str, error: Exception) -> None:
    site = Site(tmp_path, hook=True)
    failed = False

    def fault(call: str, when: str) -> None:
        nonlocal failed
        if not failed and (call, when) == (step, "after"):
            failed = True
            raise error

    async def story() -> None:
        site.ca.fault = site.hook.fault = fault
        await site.deploy(shop("*.example.org"))
        await site.until("*.example.org", usable)
        if step != "cleanup":
            assert "certificate.failed" in await site.kinds()
        orders = [Order.model_validate_json(item.value) for item in (await site.store.list(keys.ORDERS)).items]
        assert orders == []
        assert site.hook.records == set()

    site.play(story)
