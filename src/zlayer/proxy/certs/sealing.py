"""Private keys at rest: ChaCha20-Poly1305 (RFC 8439) under a key file of the data directory.

The store key a secret stands under is associated data: a sealed text moved to another document does not open.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

import structlog

from zlayer.model.errors import Corrupt, Exhausted, Failed, Invalid
from zlayer.model.secret import Secret

log = structlog.get_logger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
VERSION = "v1:"
KEY_SIZE = 32
NONCE_SIZE = 12


class FileSealer:
    """The `Sealer` over `{data}/certs/seal.key` (mode 0600), which is made once, at the first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = b""

    def seal(self, secret: Secret, bound_to: str) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        nonce = os.urandom(NONCE_SIZE)
        sealed = ChaCha20Poly1305(self._load()).encrypt(nonce, secret.reveal().encode(), bound_to.encode())
        return VERSION + base64.urlsafe_b64encode(nonce + sealed).decode()

    def unseal(self, sealed: str, bound_to: str) -> Secret:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        try:
            text = sealed.removeprefix(VERSION)
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
            if base64.urlsafe_b64encode(raw).decode() != text:  # bits of the last character that mean nothing
                raise ValueError("not as it was written")
            opened = ChaCha20Poly1305(self._load()).decrypt(raw[:NONCE_SIZE], raw[NONCE_SIZE:], bound_to.encode())
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Corrupt(
                f"the sealed key of {bound_to} cannot be opened",
                hint=f"{self._path} is not the file it was sealed with: restore that, or a new certificate is made",
            ) from error
        return Secret(opened.decode())

    def _load(self) -> bytes:
        if not self._key:
            self._key = ensure_key(self._path)
        return self._key


def ensure_key(path: Path) -> bytes:
    """The key in `path`; made when there is no such file. Two at once get the same one.

    `Exhausted`: the disk is full; `Failed`: the file cannot be read or made; `Invalid`: it is something else.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            private_file(path, secrets.token_bytes(KEY_SIZE), replace=False)
        keep_private(path)
        key = path.read_bytes()
    except OSError as error:
        kind = Exhausted if error.errno in FULL else Failed
        raise kind(f"{error.filename or path}: {error.strerror}", hint="it seals private keys in the store") from error
    if len(key) != KEY_SIZE:
        raise Invalid(f"{path} is not a sealing key of {KEY_SIZE} bytes", hint="restore it from a backup or remove it")
    return key


def keep_private(path: Path) -> None:
    """Take away what others may do with a file of ours, as after a restore by somebody's `cp`."""
    mode = path.stat().st_mode
    if mode & 0o077:
        log.warning("key.was_open", path=str(path), mode=f"{mode & 0o7777:04o}", hint="it is its owner's again")
        path.chmod(mode & 0o7700)


def private_file(path: Path, content: bytes, *, replace: bool = True, mode: int = 0o600) -> None:
    """`path` with this content, whole or not at all, also after power loss. Without `replace` an existing one stays."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if replace:
            new.replace(path)
        else:
            with suppress(FileExistsError):
                path.hardlink_to(new)
    finally:
        new.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
