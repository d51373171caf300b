"""The reference page says what the commands do: every verb, action and option, and the exit codes of the error tree."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from zlayer.cli.main import parser_of
from zlayer.cli.verbs import VERBS
from zlayer.model.errors import BY_CODE

PAGE = (Path(__file__).parents[3] / "docs" / "reference-cli.md").read_text()
EVERYWHERE = {"--help", "--data-dir", "--verbose", "--no-color"}


def section(verb: str) -> str:
    found = re.search(rf"^### zlayer {re.escape(verb)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference-cli.md has no section of {verb}"
    return found[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_there(verb: str) -> None:
    text = section(verb)
    parsers = [parser_of(verb)]
    for action in parsers[0]._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                assert f"`zlayer {verb} {name}`" in text
                parsers.append(parser)
    for parser in parsers:
        for action in parser._actions:
            for option in set(action.option_strings) - EVERYWHERE:
                assert option in text or set(action.option_strings) & EVERYWHERE, option


def test_every_verb_of_the_page_exists() -> None:
    assert set(re.findall(r"^### zlayer (\S+)$", PAGE, re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("code", BY_CODE)
def test_the_exit_code_of_every_error(code: str) -> None:
    row = next(line for line in PAGE.splitlines() if re.match(rf"\| {BY_CODE[code].exit_code} \|", line))
    assert re.search(rf"\b{code}\b", row)
