"""The directory an engine starts and reloads from: configuration, maps, certificates, and what each worker lives by.

Only read by HAProxy at these two moments; in between it is told everything, and its files are old. So they are
written whole before each.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from zlayer.model.errors import Exhausted
from zlayer.proxy.haproxy import text
from zlayer.proxy.haproxy.frontend import list_of
from zlayer.proxy.haproxy.names import plain
from zlayer.proxy.haproxy.picture import SHOWN, STATE, Picture, first_of
from zlayer.proxy.haproxy.process import CONFIG, surroundings
from zlayer.proxy.haproxy.proving import CELL, SHOWS
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.structure import Structure

_STRUCTURE = TypeAdapter(Structure)
COOKIE_KEY = "cookie.key"


def prepare(directory: Path) -> None:
    """The directory, ours alone, and the empty one the workers are shut into."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    (directory / CELL).mkdir(mode=0o755, exist_ok=True)


def write(directory: Path, picture: Picture, pems: Mapping[str, str], settings: Settings) -> None:
    """Everything for a worker that is to start as `picture` says. `Exhausted`: the disk is full."""
    try:
        for name, lines in picture.maps.items():
            _put(directory / name, "".join(f"{key} {value}\n" for key, value in lines.items()))
        for file, pem in pems.items():
            _put(directory / file, pem + "\n")
        for door in picture.structure.doors:
            if door.mode == "https":
                first = [first_of(door.name)] if door.default else []
                _put(directory / list_of(door.name), _shown(picture, door.name, first))
        _put(directory / list_of(SHOWS), _shown(picture, SHOWS))
        _put(directory / _name(picture.structure.generation), _STRUCTURE.dump_json(picture.structure).decode())
        config = text.render(picture, settings, surroundings(settings), cookie_key(directory, settings))
        _put(directory / CONFIG, config)
    except OSError as error:
        raise Exhausted(f"cannot write {directory}: {error.strerror}", hint="free space on its disk") from error


def _shown(picture: Picture, door: str, first: Sequence[str] = ()) -> str:
    start = f"{SHOWN}{plain(door)}/"
    files = [key.removeprefix(start) for key in picture.maps[STATE] if key.startswith(start)]
    return "".join(f"{file}\n" for file in (*first, *files))


def structure(directory: Path, generation: int) -> Structure | None:
    """What a worker of this generation lives by; None when that is not known any more."""
    try:
        return _STRUCTURE.validate_json((directory / _name(generation)).read_bytes())
    except (OSError, ValidationError):
        return None


def forget(directory: Path, generations: Collection[int], files: Collection[str]) -> None:
    """Take away what no worker lives by: other generations, certificates and maps that are not among `files`."""
    kept = {_name(generation) for generation in generations} | set(files)
    for pattern in ("structure-*.json", "cert-*.pem", "first-*.pem", "routes-*.map", "list-*.txt"):
        for path in directory.glob(pattern):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def cookie_key(directory: Path, settings: Settings) -> str:
    """The operator's key for sticky cookies, else one of our own, made once."""
    if settings.cookie_key:
        return plain(settings.cookie_key)
    path = directory / COOKIE_KEY
    with contextlib.suppress(OSError):
        if known := path.read_text().strip():
            return known
    _put(path, secrets.token_hex(16))
    return path.read_text().strip()


def destroy(directory: Path) -> None:
    """Take the directory away with all that is in it."""
    shutil.rmtree(directory, ignore_errors=True)


def _name(generation: int) -> str:
    return f"structure-{generation}.json"


def _put(path: Path, content: str) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    new.replace(path)
