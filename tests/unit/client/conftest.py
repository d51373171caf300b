"""A scripted daemon for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zlayer.client.transport import Address
from zlayer.testing.scripted_daemon import ScriptedDaemon


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon() as running:
        yield running


@pytest.fixture
def address(daemon: ScriptedDaemon) -> Address:
    return Address(path=str(daemon.data_dir / "zlayer.sock"))
