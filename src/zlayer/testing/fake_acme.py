"""A CA in memory that speaks the `Acme` contract, a certifier without threads, and a hook that remembers.

The CA really looks for its proofs, really signs, and can be told to fail at any call: `fault` is called with the
name of the call and `before` or `after` its effect, and may raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from zlayer.model.certificate import Facts, Pair
from zlayer.model.errors import Failed, NotFound
from zlayer.model.secret import Secret
from zlayer.proxy.certs import pem
from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.proxy.certs.contract import Authorization, Challenge, Identity, OrderState
from zlayer.proxy.certs.local import openness, read_pem
from zlayer.proxy.certs.proof import proof

Fault = Callable[[str, str], None]


def no_fault(_call: str, _when: str) -> None:
    """Everything works."""


class PlainCertifier:
    """The `Certifier` in place, so that virtual time does not run ahead of a thread."""

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.ca = LocalAuthority(directory, "test", clock=clock)

    async def authority(self) -> str:
        return self.ca.id()

    async def new_key(self) -> Secret:
        return pem.new_key()

    async def self_signed(self, names: Sequence[str]) -> Pair:
        return self.ca.sign(names)

    async def read_files(self, certificate: str, key: str) -> Pair:
        return Pair(read_pem(certificate), Secret(read_pem(key)))

    async def advice(self, key: str) -> str:
        return openness(Path(key))

    async def request(self, names: Sequence[str], key: Secret) -> bytes:
        return pem.request(names, key)

    async def proof(self, name: str, answer: str) -> Pair:
        return proof(name, answer)

    async def check(self, pair: Pair, names: Sequence[str], now: float) -> Facts:
        return pem.check(pair, names, now)


@dataclass(slots=True)
class FakeHook:
    """`records` is what DNS would answer."""

    records: set[tuple[str, str]] = field(default_factory=set)
    fault: Fault = no_fault

    async def present(self, record: str, value: str) -> None:
        self.fault("present", "before")
        self.records.add((record, value))
        self.fault("present", "after")

    async def cleanup(self, record: str, value: str) -> None:
        self.fault("cleanup", "before")
        self.records.discard((record, value))
        self.fault("cleanup", "after")


@dataclass(slots=True)
class _Order:
    account: str
    names: tuple[str, ...]
    status: str = "pending"
    proofs: dict[str, str] = field(default_factory=dict)
    """Status of each name."""
    answered: set[str] = field(default_factory=set)
    chain: str = ""


class FakeAcme:
    """`served` says what clients find: token -> key authorisation, as the proxies have it. `refused` names fail."""

    def __init__(
        self, directory: Path, clock: Callable[[], float], served: Callable[[], Mapping[str, str]], hook: FakeHook
    ) -> None:
        self.fault: Fault = no_fault
        self.refused: set[str] = set()
        self.accounts: dict[str, str] = {}
        self.orders: dict[str, _Order] = {}
        self.calls: list[str] = []
        self._ca = LocalAuthority(directory, "fake ACME", clock=clock)
        self._served = served
        self._hook = hook

    async def register(self, key: Secret) -> str:
        self._enter("register")
        url = self.accounts.setdefault(key.reveal(), f"account-{len(self.accounts) + 1}")
        self.fault("register", "after")
        return url

    async def order(self, identity: Identity, names: Sequence[str]) -> OrderState:
        self._enter("order", identity)
        url = f"order-{len(self.orders) + 1}"
        self.orders[url] = _Order(identity.url, tuple(names), proofs=dict.fromkeys(names, "pending"))
        self.fault("order", "after")
        return self._state(url)

    async def look(self, identity: Identity, url: str) -> OrderState:
        self._enter("look", identity)
        self._known(identity, url)
        self.fault("look", "after")
        return self._state(url)

    async def authorizations(self, identity: Identity, order: OrderState) -> tuple[Authorization, ...]:
        self._enter("authorizations", identity)
        known = self._known(identity, order.url)
        found = tuple(self._authorization(order.url, known, name) for name in known.names)
        self.fault("authorizations", "after")
        return found

    async def answer(self, identity: Identity, challenge: Challenge) -> None:
        self._enter("answer", identity)
        url, name, kind = challenge.url.split("|")
        known = self._known(identity, url)
        known.answered.add(name)
        found = (
            self._served().get(challenge.token) == challenge.answer
            if kind == "http-01"
            else (f"_acme-challenge.{name.removeprefix('*.')}", challenge.answer) in self._hook.records
        )
        known.proofs[name] = "valid" if found and name not in self.refused else "invalid"
        if "invalid" in known.proofs.values():
            known.status = "invalid"
        elif set(known.proofs.values()) == {"valid"}:
            known.status = "ready"
        self.fault("answer", "after")

    async def finalise(self, identity: Identity, order: OrderState, request: bytes) -> OrderState:
        self._enter("finalise", identity)
        known = self._known(identity, order.url)
        if known.status == "ready":
            known.chain = self._sign(known, request)
            known.status = "valid"
        elif known.status != "valid":
            raise Failed(f"the order is {known.status}")
        self.fault("finalise", "after")
        return self._state(order.url)

    async def download(self, identity: Identity, order: OrderState) -> str:
        self._enter("download", identity)
        known = self._known(identity, order.url)
        self.fault("download", "after")
        return known.chain

    def forget(self) -> None:
        """As a CA that was set up anew."""
        self.accounts.clear()
        self.orders.clear()

    def _enter(self, call: str, identity: Identity | None = None) -> None:
        self.calls.append(call)
        self.fault(call, "before")
        if identity is not None and self.accounts.get(identity.key.reveal()) != identity.url:
            raise NotFound("no such account")

    def _known(self, identity: Identity, url: str) -> _Order:
        order = self.orders.get(url)
        if order is None or order.account != identity.url:
            raise NotFound(f"no order {url}")
        return order

    def _state(self, url: str) -> OrderState:
        return OrderState(url, self.orders[url].status, self.orders[url].names, f"{url}/finalize", f"{url}/certificate")

    def _authorization(self, url: str, order: _Order, name: str) -> Authorization:
        status = order.proofs[name]
        wildcard = name.startswith("*.")
        kinds = ("dns-01",) if wildcard else ("http-01", "dns-01", "tls-alpn-01")
        done = "processing" if name in order.answered else "pending"
        ways = tuple(
            Challenge(kind, f"{url}|{name}|{kind}", f"{url}-{name}".replace("*", "w"), done, f"{kind}-{url}-{name}")
            for kind in kinds
        )
        error = f"found no proof of {name}" if status == "invalid" else ""
        return Authorization(name.removeprefix("*."), wildcard, status, ways, error)

    def _sign(self, order: _Order, request: bytes) -> str:
        """A leaf for the request's own key."""
        public = x509.load_der_x509_csr(request).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return self._ca.certify(order.names, public)
