from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from zlayer.model.zone import Zone
from zlayer.network.dns import zonefile
from zlayer.network.dns.control import Control
from zlayer.network.dns.server import NameServer

pytestmark = pytest.mark.anyio


async def test_a_zone_is_acknowledged_by_its_digest_and_nonsense_hung_up_on(tmp_path: Path) -> None:
    control = Control(NameServer(), "1", "none")
    path = tmp_path / "s"
    encoded = zonefile.encode(Zone())
    async with await control.listen(path):
        assert oct(path.stat().st_mode & 0o777) == "0o600"
        assert (await say(path, b'{"hello":1}'))["digest"] == "none"
        told = await say(path, b'{"zone":%b,"digest":"%b"}' % (encoded, zonefile.digest(encoded).encode()))
        assert told == {"digest": zonefile.digest(encoded), "refused": {}}
        for nonsense in (b"{", b"7", b'{"zone":{}}'):
            assert await say(path, nonsense) == {}
        assert (await say(path, b'{"end":1}'))["version"] == "1"
        assert control.ended.is_set()


async def say(path: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line + b"\n")
    answer = await reader.readline()
    writer.close()
    return dict(json.loads(answer)) if answer else {}
