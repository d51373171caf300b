"""Rules of pull-through caches: which repository comes from where. The traffic is in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Invalid
from zlayer.registry.repositories import Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.upstream import Rule, Upstream, choose, parse_rule


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hub=https://r.example", Rule("hub", "r.example", "", False)),
        ("hub=r.example:5000/team/x/", Rule("hub", "r.example:5000", "team/x", False)),
        ("*=http://127.0.0.1:5000", Rule("", "127.0.0.1:5000", "", True)),
        ("my-hub=https://[::1]:5000", Rule("my-hub", "[::1]:5000", "", False)),
    ],
)
def test_rules(text: str, wanted: Rule) -> None:
    assert parse_rule(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hub",
        "hub=",
        "=r.example",
        "a/b=https://r.example",
        "A=https://r.example",
        "..=https://r.example",
        "hub=https://u:p@r.example",
        "hub=file:///etc",
        "hub=https://r.example?x=1",
        "hub=https://r.example/A",
        "hub=https://[::1",
    ],
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(Invalid, match="no proxy rule"):
        parse_rule(text)


def test_the_name_of_a_rule_wins_over_the_rule_for_all(tmp_path: Path) -> None:
    shelf = Shelf(Repositories(tmp_path))
    every, hub = (
        Upstream(parse_rule(text), shelf, RegistrySettings()) for text in ("*=all.example/mirror", "hub=r.example")
    )
    assert choose([every, hub], "hub/team/app") is hub
    assert choose([every, hub], "hub") is every
    assert choose([every, hub], "hubris/app") is every
    assert choose([hub], "team/app") is None
    assert hub.rule.path("hub/team/app") == "team/app"
    assert every.rule.path("team/app") == "mirror/team/app"
