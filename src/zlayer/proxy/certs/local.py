"""The `Certifier` of a node: its CA, its files, its checks, each in a thread of one limiter."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from zlayer.model.certificate import Facts, Pair
from zlayer.model.errors import Exhausted, Failed, Invalid
from zlayer.model.secret import Secret
from zlayer.proxy.certs.sealing import FULL

if TYPE_CHECKING:
    from zlayer.proxy.certs.authority import LocalAuthority

T = TypeVar("T")
MAX_PEM = 1 << 20
THREADS = 2


class LocalCertifier:
    """`directory` holds the CA (`ca.pem`, `ca.key`); `name` is the node's, for people who look at the CA."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._authority: LocalAuthority | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    async def authority(self) -> str:
        return await self._thread(lambda: self._ca().id())

    async def new_key(self) -> Secret:
        from zlayer.proxy.certs import pem

        return await self._thread(pem.new_key)

    async def self_signed(self, names: Sequence[str]) -> Pair:
        return await self._thread(lambda: self._ca().sign(names))

    async def read_files(self, certificate: str, key: str) -> Pair:
        return await self._thread(lambda: Pair(read_pem(certificate), Secret(read_pem(key))))

    async def advice(self, key: str) -> str:
        return await self._thread(lambda: openness(Path(key)))

    async def request(self, names: Sequence[str], key: Secret) -> bytes:
        from zlayer.proxy.certs import pem

        return await self._thread(lambda: pem.request(names, key))

    async def proof(self, name: str, answer: str) -> Pair:
        from zlayer.proxy.certs.proof import proof

        return await self._thread(lambda: proof(name, answer))

    async def check(self, pair: Pair, names: Sequence[str], now: float) -> Facts:
        from zlayer.proxy.certs import pem

        return await self._thread(lambda: pem.check(pair, names, now))

    def _ca(self) -> LocalAuthority:
        if self._authority is None:
            from zlayer.proxy.certs.authority import LocalAuthority

            self._authority = LocalAuthority(self._directory, self._name)
        return self._authority

    async def _thread(self, work: Callable[[], T]) -> T:
        self._limiter = self._limiter or anyio.CapacityLimiter(THREADS)
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        except OSError as error:
            kind = Exhausted if error.errno in FULL else Failed
            raise kind(f"{error.filename or self._directory}: {error.strerror}") from error


def openness(key: Path) -> str:
    """Whether everybody may read a private key, as a sentence that says what to do."""
    open_to_all = key.stat().st_mode & stat.S_IROTH
    if open_to_all and all(parent.stat().st_mode & stat.S_IXOTH for parent in key.resolve().parents):
        return f"{key} can be read by every user of this machine: chmod o= {key}"
    return ""


def read_pem(path: str) -> str:
    """The text of a PEM file. `Invalid` names the path and never what is in it."""
    if not path.startswith("/"):
        raise Invalid(f"{path!r} is not an absolute path", hint="write the whole path of the PEM file")
    try:
        # A FIFO or device must not hold us: open without waiting, then see what it is.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise Invalid(f"{path}: {getattr(error, 'strerror', None) or error}", hint="is the path right?") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Invalid(f"{path} is not a file", hint="name the PEM file itself")
    with os.fdopen(descriptor, "rb") as file:
        try:
            raw = file.read(MAX_PEM + 1)
            if len(raw) > MAX_PEM:
                raise Invalid(f"{path} is larger than {MAX_PEM} bytes", hint="a PEM chain is a few kilobytes")
            return raw.decode("ascii")
        except UnicodeDecodeError:
            raise Invalid(f"{path} is not PEM", hint="convert it: openssl x509 -inform der -in FILE") from None
        except OSError as error:
            raise Invalid(f"{path}: {error.strerror}", hint="can root read it?") from None
