"""The house rules a machine can check: file sizes, a test beside every module, no promises left in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "zlayer"
LIMIT = 400
EXEMPT: frozenset[str] = frozenset()
"""Files allowed past the limit. May only shrink."""

MODULES = sorted(p.relative_to(SRC).as_posix() for p in SRC.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_short_enough_to_live_in(module: str) -> None:
    lines = len((SRC / module).read_text().splitlines())
    assert lines <= LIMIT or module in EXEMPT, f"{module} has {lines} lines: divide it by idea"


def _has_test(module: str) -> bool:
    path = Path(module)
    name = path.stem.lstrip("_")
    unit = ROOT / "tests" / "unit" / path.parent
    whole = re.escape(".".join(("zlayer", *path.with_suffix("").parts)))
    package = re.escape(".".join(("zlayer", *path.parent.parts)))
    imported = re.compile(rf"\b{whole}\b|^from {package} import [^\n]*\b{path.stem}\b", re.MULTILINE)
    return any(unit.glob(f"test_{name}*.py")) or any(imported.search(text) for text in _tests())


_CACHE: list[str] = []


def _tests() -> list[str]:
    if not _CACHE:
        _CACHE.extend(p.read_text() for p in (ROOT / "tests").rglob("*.py"))
    return _CACHE


@pytest.mark.parametrize(
    "module", [m for m in MODULES if not m.endswith(("__init__.py", "contract.py", "__main__.py"))]
)
def test_a_module_is_named_by_a_test(module: str) -> None:
    """A test file of its name under tests/unit, or an import of it in some test."""
    assert _has_test(module), f"no test for {module}: add tests/unit/{Path(module).parent}/test_{Path(module).stem}.py"


def test_no_promise_is_left_in_the_code() -> None:
    words = re.compile("TO" + r"DO|FIX" + r"ME|NotImplemented" + "Error")
    found = [m for m in MODULES if words.search((SRC / m).read_text())]
    assert found == []


def test_every_package_says_what_it_is_for() -> None:
    silent = [p.as_posix() for p in SRC.rglob("__init__.py") if not p.read_text().startswith('"""')]
    assert silent == []
