"""`zlayer __complete WORDS…`: what can stand where the last word is. Fast, quiet, and never starts a daemon."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TypeVar

from zlayer.cli.main import parser_of, split
from zlayer.cli.verbs import VERBS
from zlayer.client import connect
from zlayer.client.client import Client
from zlayer.client.results import Deployment

T = TypeVar("T")
BUDGET = 0.2
"""Seconds the daemon has to give live names; a shell that hangs on Tab is worse than one that knows less."""
SERVICES, DEPLOYMENTS = frozenset({"logs", "exec", "scale"}), frozenset({"down", "stop"})


def run(words: list[str]) -> int:
    for word in sorted(candidates(words or [""])):
        print(word)
    return 0


def candidates(words: list[str]) -> set[str]:
    """Words that may stand for the last one: verbs, actions, options, values, live names."""
    *before, current = words
    given, verb, rest = split(before)
    if verb is None:
        found: Iterable[str] = ("--data-dir", "--help", "--no-color") if current.startswith("-") else VERBS
    elif verb not in VERBS or "--" in rest:
        found = ()
    else:
        found = _of_verb(verb, rest, current, _data_dir([*given, *rest]))
    return {word for word in found if word.startswith(current)}


def _of_verb(verb: str, rest: list[str], current: str, data_dir: str | None) -> Iterable[str]:
    parser = parser_of(verb)
    for action in parser._actions:  # argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction):
            chosen = [word for word in rest if word in action.choices]
            if not chosen:
                return () if current.startswith("-") else list(action.choices)
            parser = action.choices[chosen[0]]
    actions = parser._actions
    before = rest[-1] if rest else ""
    valued = next((a for a in actions if before in a.option_strings and a.nargs != 0), None)
    if valued is not None:
        return _values(valued, data_dir)
    if current.startswith("-"):
        return [option for action in actions for option in action.option_strings if option.startswith("--")]
    plain = [str(c) for a in actions if not a.option_strings and a.choices for c in a.choices]
    return plain + _names(verb, data_dir)


def _values(action: argparse.Action, data_dir: str | None) -> list[str]:
    if action.choices:
        return [str(choice) for choice in action.choices]
    if "--deployment" in action.option_strings:
        return [d.deployment for d in _live(data_dir)]
    if "--service" in action.option_strings:
        return [s.name for d in _live(data_dir) for s in d.services]
    return []


def _names(verb: str, data_dir: str | None) -> list[str]:
    if verb in SERVICES:
        return [s.name for d in _live(data_dir) for s in d.services]
    if verb in DEPLOYMENTS:
        return [d.deployment for d in _live(data_dir)]
    if verb == "cert":
        return [one.name for one in _ask(data_dir, Client.certificates)]
    return []


def _live(data_dir: str | None) -> tuple[Deployment, ...]:
    return _ask(data_dir, Client.deployments)


def _ask(data_dir: str | None, call: Callable[[Client], tuple[T, ...]]) -> tuple[T, ...]:
    """What a daemon says in time; nothing from one that is not there."""
    from zlayer.model.errors import ZlayerError

    try:
        return call(Client(connect.find(data_dir), timeout=BUDGET))
    except ZlayerError:
        return ()


def _data_dir(words: list[str]) -> str | None:
    for index, word in enumerate(words):
        if word == "--data-dir" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--data-dir="):
            return word.partition("=")[2]
    return None
