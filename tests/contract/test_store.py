"""The store suite and the model machine over both drivers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from zlayer.store.memory import MemoryStore
from zlayer.store.sqlite import SqliteStore
from zlayer.testing.contracts.store import Reopen, StoreContract
from zlayer.testing.contracts.store_machine import StoreMachine

pytestmark = pytest.mark.anyio


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def reopen(self) -> Reopen:
        store = MemoryStore()
        return lambda: store


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        return lambda: SqliteStore(tmp_path / "state.db")


class _MemoryMachine(StoreMachine):
    @staticmethod
    @contextmanager
    def storage() -> Iterator[Reopen]:
        store = MemoryStore()
        yield lambda: store


class _SqliteMachine(StoreMachine):
    @staticmethod
    @contextmanager
    def storage() -> Iterator[Reopen]:
        with TemporaryDirectory(prefix="zl") as directory:
            yield lambda: SqliteStore(Path(directory) / "state.db")


TestMemoryModel = _MemoryMachine.TestCase
TestMemoryModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSqliteModel = _SqliteMachine.TestCase
TestSqliteModel.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
