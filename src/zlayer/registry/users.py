"""Who may do what at this registry: names, rights and scrypt hashes in one file that only its owner reads.

Source: RFC 7914 (scrypt), with N=2^14, r=8, p=1: 16 MiB and some 50 ms for each guess.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zlayer.image.blobs import disk_error, sync_directory
from zlayer.model.errors import Corrupt, Denied, Invalid, NotFound
from zlayer.registry.grants import EVERYWHERE, RIGHTS, Grant, grant

SHORTEST, LONGEST = 8, 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_N, _R, _P = 2**14, 8, 1
_NOBODY_SALT = secrets.token_bytes(16)


@dataclass(frozen=True, slots=True)
class User:
    name: str
    grants: tuple[Grant, ...]
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    def document(self) -> dict[str, object]:
        """`rights` are those for all repositories, as before there were `grants`: an older program gives no more."""
        rights = {one.pattern: sorted(one.rights) for one in self.grants}
        return {"rights": rights.pop(EVERYWHERE, []), "grants": rights}


class Users:
    """The users in `file`, read again when it changes. Safe between threads and processes.

    Errors: `Denied` when others may read the file, `Corrupt` when it is no such file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._proved: dict[bytes, User] = {}
        """Passwords that were right, as a keyed hash that lives in this process only: scrypt once, not per request."""

    def all(self) -> list[User]:
        """Sorted by name."""
        return sorted(self._load().values(), key=lambda user: user.name)

    def check(self, name: str, password: str) -> User | None:
        """The user, if the password is right. Takes as long for a name that is not there."""
        user = self._load().get(name)
        if len(password) > LONGEST:
            return None
        proof = hmac.digest(self._key, f"{name}\0{password}".encode(), "sha256")
        if user is not None and self._proved.get(proof) == user:
            return user
        salt, wanted = (user.salt, user.hash) if user else (_NOBODY_SALT, bytes(32))
        if not hmac.compare_digest(_hash(password, salt), wanted) or user is None:
            return None
        if len(self._proved) > 1000:
            self._proved.clear()
        self._proved[proof] = user
        return user

    def add(self, name: str, password: str, grants: Sequence[Grant]) -> bool:
        """Add a user, or replace all that is known of one; whether it is new. Raises `Invalid`."""
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name[:80]!r} is no user name", hint="up to 64 letters, digits and . _ @ -")
        if not SHORTEST <= len(password) <= LONGEST or not password.isprintable():
            raise Invalid(f"a password has {SHORTEST} to {LONGEST} printable characters", hint="choose another")
        if not grants:
            raise Invalid("a user needs rights: " + ", ".join(RIGHTS), hint="--right pull, or --allow 'team/*:pull'")
        salt = secrets.token_bytes(16)
        user = User(name, merged(grants), salt, _hash(password, salt))
        with self._changing():
            known = dict(self._load())
            self._save({**known, name: user})
        return name not in known

    def remove(self, name: str) -> None:
        """Raises `NotFound`."""
        with self._changing():
            known = dict(self._load())
            if known.pop(name, None) is None:
                raise NotFound(f"no user {name[:80]!r}", hint="zlayer registry user ls")
            self._save(known)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._file.with_name("users.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _load(self) -> dict[str, User]:
        with self._lock:
            try:
                with self._file.open("rb") as file:
                    info = os.fstat(file.fileno())
                    stamp = (info.st_ino, info.st_mtime_ns, info.st_mode)
                    if stamp != self._stamp:
                        self._users = _read(file.read(), info.st_mode, self._file)
                        self._stamp = stamp
            except FileNotFoundError:
                self._users, self._stamp = {}, None
            return self._users

    def _save(self, users: dict[str, User]) -> None:
        document = {
            "schema": 1,
            "scrypt": {"n": _N, "r": _R, "p": _P},
            "users": {
                user.name: {**user.document(), "salt": _text(user.salt), "hash": _text(user.hash)}
                for user in users.values()
            },
        }
        _replace(self._file, json.dumps(document, indent=1, sort_keys=True).encode())


def _replace(file: Path, body: bytes) -> None:
    """Durably, and never readable by others, not even while it is written."""
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
        sync_directory(file.parent)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise disk_error(error, file) from error


def _read(body: bytes, mode: int, file: Path) -> dict[str, User]:
    if stat.S_IMODE(mode) & 0o077:
        raise Denied(f"{file} may be read by others (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 600 {file}")
    try:
        document = json.loads(body)
        if document["schema"] != 1 or document["scrypt"] != {"n": _N, "r": _R, "p": _P}:
            raise ValueError
        return {
            name: User(name, _grants(raw), _bytes(raw["salt"]), _bytes(raw["hash"]))
            for name, raw in document["users"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, Invalid):
        raise Corrupt(f"{file} is no list of users", hint="restore it, or remove it and add the users again") from None


def merged(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """One grant for each pattern, sorted."""
    rights: dict[str, frozenset[str]] = {}
    for one in grants:
        rights[one.pattern] = rights.get(one.pattern, frozenset()) | one.rights
    return tuple(Grant(pattern, rights[pattern]) for pattern in sorted(rights))


def _grants(raw: Mapping[str, Any]) -> tuple[Grant, ...]:  # Any: JSON
    everywhere = [grant(EVERYWHERE, raw["rights"])] if raw["rights"] else []
    return merged([*everywhere, *(grant(pattern, rights) for pattern, rights in raw.get("grants", {}).items())])


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=32, maxmem=64 * 1024 * 1024)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
