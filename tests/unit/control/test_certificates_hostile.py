"""The certificate keeper when the world is against it: clocks that jump, full disks, lost leases, keys laid open.

Of zlayer.control.certificates and zlayer.control.own_certificates."""

from __future__ import annotations

from pathlib import Path

import anyio

from zlayer.control.certificates import CertificateKeeper
from zlayer.model import keys
from zlayer.model.errors import Exhausted
from zlayer.plan.needs import certificate_name
from zlayer.testing.clock import run
from zlayer.testing.fake_acme import PlainCertifier

from .conftest import Site, clock, shop

DAY = 86400.0


def usable(certificate: object) -> bool:
    return bool(getattr(certificate, "usable", False))


def test_what_a_killed_daemon_of_the_node_held_is_taken_over_at_once_and_another_node_waits(tmp_path: Path) -> None:
    site = Site(tmp_path)

    async def scene() -> None:
        async with site.store, anyio.create_task_group() as tasks:
            dead = site.store.hold("certificates", 1000.0)
            lease = await dead.__aenter__()
            await site.store.commit({keys.ISSUER: b'"n1"'}, lease=lease)
            dead.abandon()
            await site.deploy(shop("a.example.org"))
            other = anyio.CancelScope()

            async def wait() -> None:
                with other:
                    await site.keeper("n2").run()

            tasks.start_soon(wait)
            await anyio.sleep(100)
            assert await site.certificate("a.example.org") is None
            other.cancel()
            tasks.start_soon(site.keeper("n1").run)
            await site.until("a.example.org", usable, within=60)
            await anyio.sleep(2000)  # the dead one's lease ends meanwhile, and takes nothing with it
            assert (await site.store.get(keys.ISSUER)) is not None
            tasks.cancel_scope.cancel()

    run(scene)


def test_on_a_full_disk_no_order_is_placed(tmp_path: Path) -> None:
    site, full = Site(tmp_path), True

    def fault(_call: str, when: str) -> None:
        if full and when == "before":
            raise Exhausted("the disk is full")

    async def story() -> None:
        nonlocal full
        await site.deploy(shop("a.example.org"))
        site.store.fault = fault
        await anyio.sleep(DAY)
        assert len(site.ca.orders) == 0
        full = False
        await site.until("a.example.org", usable, within=120)
        assert len(site.ca.orders) == 1

    site.play(story)


def test_a_disk_that_fills_up_while_an_order_is_under_way_costs_one_order(tmp_path: Path) -> None:
    site, full = Site(tmp_path), False

    def ordered(call: str, when: str) -> None:
        nonlocal full
        full = full or (call, when) == ("finalise", "after")

    def fault(_call: str, when: str) -> None:
        if full and when == "before":
            raise Exhausted("the disk is full")

    async def story() -> None:
        nonlocal full
        site.ca.fault, site.store.fault = ordered, fault
        await site.deploy(shop("a.example.org"))
        await anyio.sleep(DAY / 2)
        assert await site.certificate("a.example.org") is None
        full = False
        site.ca.fault = lambda _call, _when: None
        found = await site.until("a.example.org", usable, within=120)
        assert (len(site.ca.orders), found.failures) == (1, 0)

    site.play(story)


def test_a_clock_that_is_a_year_ahead_for_a_while_costs_little_and_takes_nothing_away(tmp_path: Path) -> None:
    site, ahead = Site(tmp_path), 0.0

    def wrong() -> float:
        return clock() + ahead

    site.certifier = PlainCertifier(tmp_path / "certs", wrong)

    async def scene() -> None:
        nonlocal ahead
        async with site.store, anyio.create_task_group() as tasks:
            tasks.start_soon(CertificateKeeper(site.store, site.tools(), clock=wrong, holder="n1").run)
            await site.deploy(shop("a.example.org", "b.test"))
            first = await site.until("a.example.org", usable)
            ahead = 365 * DAY
            failing = await site.until("a.example.org", lambda found: found.failures, within=900)
            assert (failing.serial, "clock" in failing.last_error) == (first.serial, True)
            await anyio.sleep(1800)
            ahead = 0.0
            await anyio.sleep(900)
            assert len(site.ca.orders) < 8
            for _ in range(12):
                await anyio.sleep(7 * DAY)
                for name in ("a.example.org", "b.test"):
                    found = await site.certificate(name)
                    assert found is not None
                    assert found.not_before <= clock()
                    assert found.not_after - clock() > 8 * DAY
            tasks.cancel_scope.cancel()

    run(scene)


def test_a_clock_that_goes_back_keeps_what_a_ca_gave_and_signs_its_own_anew(tmp_path: Path) -> None:
    site, behind = Site(tmp_path), 0.0

    def wrong() -> float:
        return clock() - behind

    site.certifier = PlainCertifier(tmp_path / "certs", wrong)

    async def scene() -> None:
        nonlocal behind
        async with site.store, anyio.create_task_group() as tasks:
            tasks.start_soon(CertificateKeeper(site.store, site.tools(), clock=wrong, holder="n1").run)
            await site.deploy(shop("a.example.org", "b.test"))
            first = await site.until("a.example.org", usable)
            await site.until("b.test", usable)
            behind = 100 * DAY
            await anyio.sleep(DAY)
            kept = await site.certificate("a.example.org")
            assert kept is not None
            assert (kept.serial, len(site.ca.orders)) == (first.serial, 1)
            behind = 0.0
            await anyio.sleep(900)
            for name in ("a.example.org", "b.test"):
                found = await site.certificate(name)
                assert found is not None
                assert found.not_before <= clock() < found.not_after
            tasks.cancel_scope.cancel()

    run(scene)


def test_a_sealing_key_that_is_none_is_told_and_costs_no_order(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "seal.key").write_bytes(b"short")

    async def story() -> None:
        await site.deploy(shop("a.example.org"))
        failed = await site.until("a.example.org", lambda found: found.failures)
        assert "seal.key is not a sealing key" in failed.last_error
        assert len(site.ca.orders) == 0
        (tmp_path / "seal.key").unlink()
        await site.until("a.example.org", usable, within=7200)

    site.play(story)


def test_a_key_file_that_everybody_may_read_is_told_until_it_is_closed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    tmp_path.chmod(0o755)
    chain, key = tmp_path / "a.pem", tmp_path / "a.key"

    def write() -> None:
        pair = site.certifier.ca.sign(["a.example.org"])
        chain.write_text(pair.chain)
        key.write_text(pair.key.reveal())

    wanted = shop("a.example.org", mode="files", certificate=str(chain), key=str(key))
    name = certificate_name(wanted.services["web"].endpoints[0])

    async def story() -> None:
        write()
        key.chmod(0o644)
        await site.deploy(wanted)
        found = await site.until(name, usable)
        open_to_all = all(parent.stat().st_mode & 0o001 for parent in key.parents)
        assert (f"chmod o= {key}" in found.advice) == open_to_all
        key.chmod(0o600)
        closed = await site.until(name, lambda found: not found.advice, within=120)
        assert closed.serial == found.serial

    site.play(story)


def test_a_file_that_is_not_renewed_is_told_before_it_ends(tmp_path: Path) -> None:
    site = Site(tmp_path)
    chain, key = tmp_path / "a.pem", tmp_path / "a.key"

    def write() -> None:
        pair = site.certifier.ca.sign(["a.example.org"])
        chain.write_text(pair.chain)
        key.write_text(pair.key.reveal())

    wanted = shop("a.example.org", mode="files", certificate=str(chain), key=str(key))
    name, later = certificate_name(wanted.services["web"].endpoints[0]), 0.0

    async def scene() -> None:
        nonlocal later
        async with site.store, anyio.create_task_group() as tasks:
            ahead = CertificateKeeper(site.store, site.tools(), clock=lambda: clock() + later, holder="n1")
            tasks.start_soon(ahead.run)
            write()
            await site.deploy(wanted)
            found = await site.until(name, usable)
            for days, told in ((24, 0), (26, 1), (31, 1)):
                later = days * DAY
                await anyio.sleep(900)
                assert (await site.kinds()).count("certificate.expiring") == told
            late = await site.certificate(name)
            assert late is not None
            assert (late.serial, late.usable) == (found.serial, True)
            tasks.cancel_scope.cancel()

    run(scene)
