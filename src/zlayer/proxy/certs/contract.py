"""What the certificate keeper needs: sealing, certificates of this node, a CA that speaks ACME, a hook for DNS.

Drivers block nobody: what takes time goes to a thread. They keep no state the store would not give back, save the
local CA and the sealing key in the data directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zlayer.model.certificate import Facts, Pair
from zlayer.model.secret import Secret


class Sealer(Protocol):
    """Encrypts private keys for the store. Quick enough to be called in place."""

    def seal(self, secret: Secret, bound_to: str) -> str:
        """Text that `unseal` opens for the same `bound_to` (the store key) only. Twice the same gives two texts."""
        ...

    def unseal(self, sealed: str, bound_to: str) -> Secret:
        """`Corrupt` where it was sealed for something else, by another key, or was changed."""
        ...


class Certifier(Protocol):
    """Keys and certificates made and checked here."""

    async def authority(self) -> str:
        """The id of the local CA, which is made when there is none or it ends soon."""
        ...

    async def new_key(self) -> Secret:
        """A P-256 key, PEM (PKCS #8)."""
        ...

    async def self_signed(self, names: Sequence[str]) -> Pair:
        """A leaf of the local CA for these names and addresses. `Invalid` for what is neither."""
        ...

    async def read_files(self, certificate: str, key: str) -> Pair:
        """What two PEM files hold; `Invalid` with the path where one cannot be read or is something else."""
        ...

    async def advice(self, key: str) -> str:
        """What the owner of a private key file is to do so that it stays private; empty when all is well."""
        ...

    async def request(self, names: Sequence[str], key: Secret) -> bytes:
        """A certificate signing request (RFC 2986), DER."""
        ...

    async def proof(self, name: str, answer: str) -> Pair:
        """What is shown to a CA that looks for `answer` by tls-alpn-01 (RFC 8737, 3)."""
        ...

    async def check(self, pair: Pair, names: Sequence[str], now: float) -> Facts:
        """What the leaf says; `Invalid` unless the key is its own, it is valid now, and it covers every name.

        One that begins within minutes is valid: clocks differ.
        """
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Our account at the CA: its key, and its URL once the CA has confirmed it."""

    key: Secret
    url: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove a name. `answer` is the key authorisation, for dns-01 the TXT value."""

    kind: str
    url: str
    token: str
    status: str
    answer: str


@dataclass(frozen=True, slots=True)
class Authorization:
    """A name to be proved. `status` as in RFC 8555, 7.1.6; `error` is what the CA says of a failed proof."""

    name: str
    wildcard: bool
    status: str
    challenges: tuple[Challenge, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order as the CA has it: pending, ready, processing, valid or invalid. URLs are the CA's."""

    url: str
    status: str
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str = ""
    error: str = ""
    retry_after: float | None = None


class Acme(Protocol):
    """One CA. Every call may be repeated: a CA answers what is so already with what is so.

    Errors: `Unavailable` (not reached, overloaded, or a rate limit: `retry_after` says how long), `NotFound` (the CA
    does not know the account or order: it forgot, or it is another one), `Invalid` (settings it wants are missing),
    `Failed` (it refuses; the message is its own).
    """

    async def register(self, key: Secret) -> str:
        """The account's URL; the same for the same key, also when it was registered long ago."""
        ...

    async def order(self, identity: Identity, names: Sequence[str]) -> OrderState: ...

    async def look(self, identity: Identity, url: str) -> OrderState: ...

    async def authorizations(self, identity: Identity, order: OrderState) -> tuple[Authorization, ...]: ...

    async def answer(self, identity: Identity, challenge: Challenge) -> None:
        """Tell the CA to look: the proof is in place."""
        ...

    async def finalise(self, identity: Identity, order: OrderState, request: bytes) -> OrderState:
        """Send the signing request (DER) of a ready order."""
        ...

    async def download(self, identity: Identity, order: OrderState) -> str:
        """The chain of a valid order, PEM, leaf first; the preferred one where the CA offers several."""
        ...


class DnsHook(Protocol):
    """Puts TXT records where the CA looks for them. Both may be called again for the same record."""

    async def present(self, record: str, value: str) -> None:
        """Returns when the record can be looked up. `Failed` with what the program said, `Deadline` when it hangs."""
        ...

    async def cleanup(self, record: str, value: str) -> None:
        """The record is no longer needed; one that is not there is no error for us."""
        ...
