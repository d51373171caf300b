from __future__ import annotations

from zlayer.cli.help import text
from zlayer.cli.verbs import VERBS


def test_every_verb_is_listed_once_and_it_fits_a_screen() -> None:
    lines = text().splitlines()
    for name, (_, line, _) in VERBS.items():
        assert f"  {name:<12}{line}" in lines
    assert len(lines) <= 72
    assert max(map(len, lines)) <= 100


def test_hidden_verbs_are_hidden() -> None:
    assert "__complete" not in text()
