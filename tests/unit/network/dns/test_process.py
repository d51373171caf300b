from __future__ import annotations

import socket
from pathlib import Path

import pytest

from zlayer.network.dns import process

pytestmark = pytest.mark.anyio


async def test_a_server_that_accepts_nobody_is_not_taken_for_a_living_one(tmp_path: Path) -> None:
    path = tmp_path / "dns.sock"
    lines = []
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen(0)
        while (line := await process._open(path)) is not None:
            assert line.pid > 0
            lines.append(line)
            assert len(lines) < 10
    assert lines
    for line in lines:
        line.writer.close()
    assert await process._open(path) is None
