"""A zone as JSON: on disk, for a server that starts; over the socket, for one that runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from zlayer.model.zone import View, Zone


def encode(zone: Zone) -> bytes:
    """One line. Equal zones give equal bytes, whatever revision they are of."""
    document = {"domain": zone.domain, "ttl": zone.ttl, "upstreams": zone.upstreams}
    views = ",".join(map(_view, zone.views))
    return f'{_json(document)[:-1]},"views":[{views}]}}'.encode()


def _view(view: View) -> str:
    document = {"clients": view.clients, "listen": view.listen, "network": view.network}
    return f'{_json(document)[:-1]},"names":{_names(view.names)}}}'


def _names(names: Mapping[str, Sequence[str]]) -> str:
    """Put together from what was put together before: of many names, few change at a time."""
    return "{" + ",".join([_name(name, tuple(found)) for name, found in sorted(names.items())]) + "}"


@lru_cache(maxsize=1 << 14)
def _name(name: str, addresses: tuple[str, ...]) -> str:
    return f"{_json(name)}:{_json(addresses)}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def digest(encoded: bytes) -> str:
    return hashlib.sha256(encoded).hexdigest()[:16]


def of(found: dict[str, Any]) -> Zone:  # Any: JSON
    """KeyError or TypeError when it is none. Addresses stay in lists: a copy of thousands would be the longest step."""
    views = tuple(
        View(v["network"], tuple(v["listen"]), v["names"], tuple(v.get("clients", ()))) for v in found["views"]
    )
    return Zone(domain=found["domain"], ttl=found["ttl"], upstreams=tuple(found["upstreams"]), views=views)


def write(path: Path, encoded: bytes) -> None:
    """Whole or not at all. OSError when the disk says no."""
    spare = path.with_suffix(".new")
    fd = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, encoded)
    finally:
        os.close(fd)
    spare.rename(path)


def load(path: Path) -> Zone:
    """The zone on disk; an empty one where there is none, or none that can be read."""
    try:
        return of(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return Zone()
