"""A store, a keeper, and a CA that looks for its proofs in the store, as every proxy would have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from zlayer.control.certificates import CertificateKeeper, Tools
from zlayer.control.orders import Ca
from zlayer.model import keys
from zlayer.model.certificate import AcmeSettings, Order, StoredCertificate
from zlayer.model.endpoint import Endpoint, Tls
from zlayer.model.instance import Deployment, Event
from zlayer.proxy.certs.sealing import FileSealer
from zlayer.store.documents import encode
from zlayer.store.memory import MemoryStore
from zlayer.testing.builders import deployment, service
from zlayer.testing.clock import run
from zlayer.testing.fake_acme import FakeAcme, FakeHook, PlainCertifier

START = 1_800_000_000.0


def clock() -> float:
    return START + anyio.current_time()


class Killed(BaseException):
    """As kill -9 would: nothing of ours runs after it."""


class Faulty(MemoryStore):
    """`fault` is called before and after each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[str, str], None] = lambda _call, _when: None

    async def commit(
        self, puts: Mapping[str, bytes] | None = None, deletes: Sequence[str] = (), *args: Any, **kwargs: Any
    ) -> int:
        self.fault("commit", "before")
        revision = await super().commit(puts, deletes, *args, **kwargs)
        self.fault("commit", "after")
        return revision


def shop(*hosts: str | None, mode: Any = "auto", name: str = "shop", **tls: str) -> Deployment:  # Any: a Tls mode
    endpoints = tuple(
        Endpoint(
            name=f"e{n}", protocol="https", port=443, target_port=80, host=host, public=True, tls=Tls(mode=mode, **tls)
        )
        for n, host in enumerate(hosts)
    )
    return deployment(name, web=service(endpoints=endpoints))


class Site:
    """Everything around a keeper. It survives the keeper, as the store and the CA do."""

    def __init__(self, directory: Path, *, acme: bool = True, hook: bool = False) -> None:
        self.store = Faulty()
        self.directory = directory
        self.hook = FakeHook()
        self.sealer = FileSealer(directory / "seal.key")
        self.certifier = PlainCertifier(directory / "certs", clock)
        self.challenges: dict[str, str] = {}
        self.published: list[int] = []
        self.ca = FakeAcme(directory / "ca", clock, lambda: self.challenges, self.hook)
        self.settings = AcmeSettings(email="ops@example.test", directory="https://ca.test/dir")
        self._acme, self._with_hook = acme, hook

    def tools(self) -> Tools:
        ca = Ca(self.settings, self.ca, self._publish, self.hook if self._with_hook else None) if self._acme else None
        return Tools(self.sealer, self.certifier, ca, own_names=("node1",))

    async def _publish(self, revision: int) -> None:
        """As the proxies: they have all challenges of the store once this returns."""
        orders = [Order.model_validate_json(item.value) for item in (await self.store.list(keys.ORDERS)).items]
        self.challenges = {token: answer for order in orders for token, answer in order.challenges.items()}
        self.published.append(revision)

    async def deploy(self, *deployments: Deployment) -> None:
        await self.store.commit({keys.deployment(one.name): encode(one) for one in deployments})

    async def certificate(self, name: str) -> StoredCertificate | None:
        item = await self.store.get(keys.certificate(name))
        return StoredCertificate.model_validate_json(item.value) if item is not None else None

    async def until(
        self, name: str, true: Callable[[StoredCertificate], object], within: float = 1e7
    ) -> StoredCertificate:
        """The certificate once it is so; virtual seconds."""
        with anyio.fail_after(within):
            while True:
                revision = (await self.store.list("/")).revision
                found = await self.certificate(name)
                if found is not None and true(found):
                    return found
                async for _ in self.store.watch("/", revision):
                    break

    async def events(self) -> list[Event]:
        return [Event.model_validate_json(item.value) for item in (await self.store.list(keys.EVENTS)).items]

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.events()]

    def keeper(self, holder: str = "n1") -> CertificateKeeper:
        return CertificateKeeper(self.store, self.tools(), clock=clock, holder=holder)

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        """The story beside a keeper, in virtual time."""

        async def scene() -> None:
            async with self.store, anyio.create_task_group() as tasks:
                tasks.start_soon(self.keeper().run)
                await story()
                tasks.cancel_scope.cancel()

        run(scene)
