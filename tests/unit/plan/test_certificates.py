"""The course of certificates: what is due, when, and that it comes to rest (zlayer.plan.certificates)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.certificate import Facts, Order, StoredCertificate
from zlayer.model.units import Timestamp
from zlayer.plan.certificates import (
    KEEP_UNUSED,
    SKEW,
    Abandon,
    Failure,
    Forget,
    Mark,
    Obtain,
    Read,
    Refuse,
    Warn,
    after_failure,
    after_success,
    decide,
    due,
    renewal,
)
from zlayer.plan.needs import Need

DAY = 86400.0
NOW = 1_800_000_000.0
USERS = ("d/s/e",)


def need(name: str = "a.org", **fields: Any) -> Need:
    made: dict[str, Any] = {"names": (name,), "source": "acme", "authority": "ca", "users": USERS, **fields}
    return Need(name, **made)


def facts(name: str, now: float, life: float = 90 * DAY) -> Facts:
    return Facts((name,), "CN=ca", f"{int(now):x}", Timestamp(now - 3600), Timestamp(now + life))


def good(one: Need, now: float, before: StoredCertificate | None = None, life: float = 90 * DAY) -> StoredCertificate:
    return after_success(one, before, facts(one.name, now, life), ("CHAIN", "sealed"), now)


names = st.lists(st.sampled_from(["a.org", "b.org", "c.test", "d.org"]), unique=True)
sources = st.sampled_from(["acme", "self_signed"])


@given(names, sources, st.floats(3600 * 2, 400 * DAY))
def test_it_rests_once_all_is_had_and_wakes_in_time(hosts: list[str], source: Any, life: float) -> None:
    wanted = [need(host, source=source) for host in hosts]
    stored = {one.name: good(one, NOW, life=life) for one in wanted}
    decision = decide(wanted, stored, {}, NOW)
    assert decision.actions == ()
    assert (decision.wake_at is None) == (not hosts)
    if decision.wake_at is not None:
        assert NOW < decision.wake_at < NOW + life
        late = decide(wanted, stored, {}, max(found.renew_at or 0 for found in stored.values()))
        assert {type(action) for action in late.actions} == {Obtain}


@given(st.lists(st.booleans(), min_size=1, max_size=60), sources)
def test_whatever_fails_it_waits_longer_and_longer_then_rests(outcomes: list[bool], source: Any) -> None:
    """Follow `wake_at` only: it never spins, never waits for ever, and what worked is never lost."""
    one, now, document = need(source=source), NOW, None
    worked = False
    for outcome in outcomes:
        decision = decide([one], {one.name: document} if document else {}, {}, now)
        if not decision.actions:
            assert decision.wake_at is not None
            assert decision.wake_at > now
            now = decision.wake_at
            decision = decide([one], {one.name: document} if document else {}, {}, now)
        while any(isinstance(action, Warn) for action in decision.actions) and document is not None:
            document = document.model_copy(update={"warned": True})
            decision = decide([one], {one.name: document}, {}, now)
            if not decision.actions:
                assert decision.wake_at is not None
                assert decision.wake_at > now
                now = decision.wake_at
                decision = decide([one], {one.name: document}, {}, now)
        [action] = decision.actions
        assert isinstance(action, Obtain)
        document = good(one, now, document) if outcome else after_failure(one, document, Failure("no"), now)
        worked = worked or outcome
        assert document.usable == worked
        assert document.failures == 0 if outcome else document.failures > 0


def test_at_most_four_tries_in_the_first_hour() -> None:
    one, now, document, tries = need(), NOW, None, 0
    while now < NOW + 3600:
        document = after_failure(one, document, Failure("no"), now)
        tries += 1
        assert document.next_try is not None
        now = document.next_try
    assert tries <= 5
    assert tries >= 3


def test_a_short_lived_certificate_is_not_waited_for_past_its_end() -> None:
    one = need()
    document = good(one, NOW, life=6 * 3600)
    for _ in range(20):
        document = after_failure(one, document, Failure("no"), NOW)
    assert document.next_try is not None
    assert document.next_try - NOW < 1200


@given(st.floats(60, 30 * DAY))
def test_retry_after_holds_even_against_a_user_who_asks(pause: float) -> None:
    one = need()
    document = after_failure(one, None, Failure("limited", pause), NOW).model_copy(update={"asked_at": NOW + 1})
    assert decide([one], {"a.org": document}, {}, NOW + pause - 1).actions == ()
    assert decide([one], {"a.org": document}, {}, NOW + pause + 1).actions != ()


def test_a_user_who_asks_cuts_the_back_off_once() -> None:
    one = need()
    document = after_failure(one, None, Failure("no"), NOW).model_copy(update={"asked_at": NOW + 1})
    assert decide([one], {"a.org": document}, {}, NOW + 2).actions != ()
    again = after_failure(one, document, Failure("no"), NOW + 2)
    assert decide([one], {"a.org": again}, {}, NOW + 3).actions == ()
    had = good(one, NOW).model_copy(update={"asked_at": NOW + 1})
    assert due(one, had, NOW + 2) == "a user asked for it"
    assert due(one, good(one, NOW + 2, had), NOW + 3) == ""


@given(st.floats(600, 1000 * DAY), st.floats(-400 * DAY, 400 * DAY), st.text(max_size=20))
def test_renewal_is_always_ahead_and_before_the_end(life: float, age: float, name: str) -> None:
    made = Facts((), "", "1", Timestamp(NOW), Timestamp(NOW + life))
    now = NOW + age
    at = renewal(name, made, now)
    assert at > now
    if 0 <= age < life * 0.6:
        assert NOW + life * 0.6 <= at <= NOW + life * 0.67


def test_many_made_at_once_are_not_renewed_at_once() -> None:
    times = {renewal(f"h{n}.org", facts("", NOW), NOW) for n in range(100)}
    assert max(times) - min(times) > 2 * DAY


def test_a_change_of_what_is_wanted_is_due_and_an_automatic_choice_keeps_what_works() -> None:
    document = good(need(), NOW)
    assert due(need(), document, NOW) == ""
    assert "names" in due(need(names=("a.org", "b.org")), document, NOW)
    assert "authority" in due(need(authority="staging"), document, NOW)
    assert "source" in due(need(source="self_signed"), document, NOW)
    assert due(need(source="self_signed", automatic=True), document, NOW) == ""
    assert due(need(source="self_signed", automatic=True), document, NOW + 80 * DAY)


def order(name: str = "a.org", at: float = NOW, **fields: Any) -> Order:
    made: dict[str, Any] = {"names": (name,), "directory": "ca", "url": "u", "key": "k", "started_at": at, **fields}
    return Order(name=name, **made)


def test_an_order_is_gone_on_with_while_it_fits_and_else_abandoned_first() -> None:
    assert [type(a) for a in decide([need()], {}, {"a.org": order()}, NOW).actions] == [Obtain]
    for misfit in (order(directory="other"), order(names=("x",)), order(at=NOW - 2 * DAY)):
        assert [type(a) for a in decide([need()], {}, {"a.org": misfit}, NOW).actions] == [Abandon, Obtain]
    assert decide([], {}, {"a.org": order()}, NOW).actions == (Abandon("a.org"),)
    had = {"a.org": good(need(), NOW)}
    assert decide([need()], had, {"a.org": order()}, NOW).actions == (Abandon("a.org"),)


def test_unused_ones_are_kept_a_while() -> None:
    document = good(need(), NOW)
    assert decide([], {"a.org": document}, {}, NOW).actions == (Mark("a.org", "", Timestamp(NOW), USERS),)
    unused = document.model_copy(update={"unused_since": Timestamp(NOW)})
    resting = decide([], {"a.org": unused}, {}, NOW + 1)
    assert (resting.actions, resting.wake_at) == ((), NOW + KEEP_UNUSED)
    assert decide([], {"a.org": unused}, {}, NOW + KEEP_UNUSED).actions == (Forget("a.org"),)
    assert decide([need()], {"a.org": unused}, {}, NOW + 1).actions == (Mark("a.org", "", None, USERS),)
    never = after_failure(need(), None, Failure("no"), NOW)
    assert decide([], {"a.org": never}, {}, NOW).actions == (Forget("a.org"),)


def test_a_problem_is_told_once_and_files_are_looked_at_always() -> None:
    bad = need(problem="no host")
    assert decide([bad], {}, {}, NOW).actions == (Refuse(bad),)
    told = after_failure(bad, None, Failure("no host"), NOW)
    assert (decide([bad], {"a.org": told}, {}, NOW).actions, told.next_try) == ((), None)
    files = need(source="files")
    decision = decide([files], {}, {}, NOW)
    assert decision.actions == (Read(files),)
    assert decision.wake_at is not None


def test_where_nobody_refused_it_is_tried_again_soon() -> None:
    refused = after_failure(need(), None, Failure("no"), NOW)
    unreached = after_failure(need(), None, Failure("no answer", unreached=True), NOW)
    assert refused.next_try is not None
    assert unreached.next_try is not None
    assert unreached.next_try - NOW <= 10
    assert refused.next_try - NOW > 200
    for _ in range(30):
        unreached = after_failure(need(), unreached, Failure("no answer", unreached=True), NOW)
    assert unreached.next_try is not None
    assert 600 < unreached.next_try - NOW <= 900


def test_one_that_ends_soon_is_told_once() -> None:
    files = need(source="files")
    document = good(files, NOW, life=30 * DAY)
    assert decide([files], {"a.org": document}, {}, NOW + 24 * DAY).actions == (Read(files),)
    late = decide([files], {"a.org": document}, {}, NOW + 25.1 * DAY)
    assert late.actions == (Warn(files), Read(files))
    warned = {"a.org": document.model_copy(update={"warned": True})}
    assert decide([files], warned, {}, NOW + 31 * DAY).actions == (Read(files),)
    assert not good(files, NOW + 26 * DAY, warned["a.org"]).warned


@given(st.floats(SKEW + 1, 3650 * DAY), st.booleans())
def test_a_clock_that_went_back_holds_nothing_up(jump: float, asked: bool) -> None:
    """What was put off by a clock that was ahead is not put off until then."""
    one = need()
    document = after_failure(one, good(one, NOW, life=10 * DAY), Failure("limited", 7 * DAY), NOW + jump)
    now = NOW + 9 * DAY if jump > 9 * DAY + SKEW else NOW
    if asked:
        document = document.model_copy(update={"asked_at": Timestamp(NOW + jump + 1)})
    due_now = now > NOW or asked
    assert any(isinstance(action, Obtain) for action in decide([one], {"a.org": document}, {}, now).actions) == due_now
    again = after_failure(
        one,
        document,
        Failure("no"),
        now,
    )
    resting = decide([one], {"a.org": again}, {}, now)
    assert not any(isinstance(action, Obtain) for action in resting.actions)


def test_a_self_signed_one_of_the_future_is_made_anew_and_a_cas_is_not() -> None:
    mine = need(source="self_signed")
    made = good(mine, NOW + 365 * DAY)
    assert "clock" in due(mine, made, NOW)
    assert due(mine, made, NOW + 365 * DAY) == ""
    assert due(need(), good(need(), NOW + 365 * DAY), NOW) == ""


def test_a_note_that_changed_is_written() -> None:
    one = need(note="self-signed, for there is no [acme]")
    assert decide([one], {"a.org": good(need(), NOW)}, {}, NOW).actions == (Mark("a.org", one.note, None, USERS),)


def test_one_that_stands_in_remembers_for_whom_and_is_kept() -> None:
    """Its user is to have another certificate, which is not there yet."""
    old, other = good(need("a.org~1"), NOW), need("a.org~2", source="files")
    at = NOW + KEEP_UNUSED + 1
    unused = old.model_copy(update={"unused_since": Timestamp(NOW)})
    assert decide([other], {old.name: unused}, {}, at).actions == (Read(other),)
    failed = after_failure(other, None, Failure("no such file"), NOW)
    assert decide([other], {old.name: unused, other.name: failed}, {}, at).actions == (Read(other),)
    there = {old.name: unused, other.name: good(other, NOW)}
    assert Forget(old.name) in decide([other], there, {}, at).actions


def test_who_left_for_one_that_is_there_is_no_user_any_more() -> None:
    shared = good(need("a.org~1", users=("a", "b")), NOW)
    stays, goes = need("a.org~1", users=("a",)), need("a.org~2", source="files", users=("b",))
    assert decide([stays, goes], {shared.name: shared}, {}, NOW).actions == (Read(goes),)
    there = {shared.name: shared, goes.name: good(goes, NOW)}
    assert Mark(shared.name, "", None, ("a",)) in decide([stays, goes], there, {}, NOW).actions
