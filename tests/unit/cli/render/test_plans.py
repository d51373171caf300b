from __future__ import annotations

from zlayer.cli.render import plans
from zlayer.client.results import Change, Plan
from zlayer.testing.api_samples import plan


def test_what_is_kept_is_counted_and_the_rest_listed() -> None:
    assert plans.lines(Plan.of(plan("keep", "replace", "create")), colour=False) == [
        "shop: 1 new, 1 replaced, 1 unchanged",
        "  ~ replace web-2: image changed",
        "  + create web-3: image changed",
    ]


def test_replicas_with_one_fate_share_a_line() -> None:
    changes = [Change.of({"service": "web", "action": "create", "slot": n, "reason": "new"}) for n in (1, 2, 3, 7)]
    made = Plan.of({"deployment": "shop", "changes": []})
    assert plans.lines(made, colour=False) == ["shop: nothing to do"]
    many = Plan.of({"deployment": "shop", "changes": [c.document() for c in changes]})
    assert plans.lines(many, colour=False) == ["shop: 4 new", "  + create web-1..3,7: new"]


def test_nothing_to_do() -> None:
    assert plans.lines(Plan.of(plan("keep")), colour=False) == ["shop: nothing to do, 1 unchanged"]
    assert plans.lines(Plan.of(plan()), colour=False) == ["shop: nothing to do"]


def test_an_action_of_a_newer_daemon_is_still_shown() -> None:
    assert plans.lines(Plan.of(plan("migrate")), colour=False)[1] == "  ? migrate web-1: image changed"
