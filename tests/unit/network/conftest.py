"""A namespace that plays the host, and a thread of our own inside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from zlayer.testing.netns import namespace, run_inside, short_directory

T = TypeVar("T")


@pytest.fixture
def host() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    with namespace() as made:
        yield made


@pytest.fixture
def inside(host: Path) -> Callable[[Callable[[], T]], T]:
    return lambda work: run_inside(host, work)


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as made:
        yield made


@pytest.fixture(scope="module")
def inside_once() -> Iterator[Callable[[Callable[[], T]], T]]:
    """As `inside`, one namespace for all examples of a property."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    with namespace() as made:
        yield lambda work: run_inside(made, work)
