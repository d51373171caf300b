"""Bearer tokens of the TCP listener: JWT (RFC 7519) signed with HS256 by a key in the data directory.

Whoever reads the key can make any token, so it is mode 0600 and a wider mode is refused, not mended in silence.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from zlayer.api.authorise import ROLES, Claims
from zlayer.model.errors import Corrupt, Denied, Invalid, NotFound, Problem
from zlayer.model.units import Seconds, Timestamp

ISSUER = "zlayer"
ALGORITHM = "HS256"
KEY_BYTES = 32


def ensure_key(path: Path) -> bytes:
    """The signing key; made at first use. Two processes at once get the same key.

    Raises `Denied` when others may read the file, `Corrupt` when it is no key.
    """
    text = secrets.token_hex(KEY_BYTES).encode() + b"\n"
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return load_key(path)


def load_key(path: Path) -> bytes:
    """The key, checked. Raises `NotFound` before the first daemon made it; else as `ensure_key`."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(1024).strip()
    except FileNotFoundError:
        raise NotFound(f"no signing key at {path}", hint="start the daemon once: `zlayer serve --daemon`") from None
    if mode & 0o077:
        raise Denied(f"the signing key {path} may be read by others (mode {mode:04o})", hint=f"chmod 600 {path}")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise Corrupt(
            f"{path} is no signing key ({KEY_BYTES} bytes in hex wanted)",
            hint=f"remove it and restart the daemon; tokens made before stop working: rm {path}",
        )
    return key


def create_token(key: bytes, *, subject: str, roles: Sequence[str], lifetime: Seconds) -> str:
    """A signed token. Raises `Invalid` on an unknown role, an empty subject or a lifetime that is not positive."""
    import jwt  # on demand: it costs 8 MB, and a daemon that is only asked over its socket never needs it

    problems = [
        Problem(f"unknown role {role!r}; roles are {', '.join(ROLES)}", path="roles")
        for role in roles
        if role not in ROLES
    ]
    if not roles:
        problems.append(Problem("a token needs at least one role", path="roles"))
    if not subject:
        problems.append(Problem("a token needs a subject", path="subject"))
    if lifetime <= 0:
        problems.append(Problem("the lifetime must be positive", path="lifetime"))
    if problems:
        raise Invalid("; ".join(str(p) for p in problems), problems=tuple(problems))
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": subject,
        "iat": now,
        "exp": now + max(1, int(lifetime)),
        "roles": list(roles),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def decode_token(key: bytes, token: str) -> Claims:
    """Who signed in, checked: signature, algorithm (HS256 and no other), issuer, expiry, roles.

    Raises `Denied` with the reason; the token itself is never in the message.
    """
    import jwt

    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            leeway=5,
            options={"require": ["exp", "iat", "iss", "sub"]},
        )
    except jwt.ExpiredSignatureError:
        raise Denied("the token has expired", hint="make a new one: `zlayer token create`") from None
    except jwt.PyJWTError as error:
        raise Denied(
            f"the token is not valid: {error}", hint="make one on the daemon's machine: `zlayer token create`"
        ) from None
    roles = claims.get("roles")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise Denied("the token is not valid: roles must be a list of strings")
    return Claims(
        subject=str(claims["sub"]),
        roles=frozenset(role for role in roles if role in ROLES),
        expires=Timestamp(float(claims["exp"])),
    )
