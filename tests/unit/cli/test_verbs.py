from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from zlayer.cli import verbs


@pytest.mark.parametrize("name", [name for name in verbs.VERBS if name != "serve"])
def test_each_verb_has_a_module_of_the_right_shape(name: str) -> None:
    module = import_module(f"zlayer.cli.{verbs.VERBS[name][0]}")
    assert list(inspect.signature(module.register).parameters) == ["parser"]
    assert list(inspect.signature(module.run).parameters) == ["args"]
    assert module.EXAMPLES.strip().startswith(("zlayer ", "source <(zlayer", "tar c"))


def test_find() -> None:
    assert verbs.find("token") == "tokens"
    assert verbs.find("__complete") == "complete"
    assert verbs.find("frobnicate") is None
