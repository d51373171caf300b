from __future__ import annotations

from zlayer.cli.render import plans
from zlayer.client.results import Plan
from zlayer.testing.api_samples import plan


def test_what_is_kept_is_counted_and_the_rest_listed() -> None:
    assert plans.lines(Plan.of(plan("keep", "replace", "create")), colour=False) == [
        "shop: 1 new, 1 replaced, 1 unchanged",
        "  ~ replace web-2: image changed",
        "  + create web-3: image changed",
    ]


def test_nothing_to_do() -> None:
    assert plans.lines(Plan.of(plan()), colour=False) == ["shop: nothing to do"]


def test_an_action_of_a_newer_daemon_is_still_shown() -> None:
    assert plans.lines(Plan.of(plan("migrate")), colour=False)[1] == "  ? migrate web-1: image changed"
