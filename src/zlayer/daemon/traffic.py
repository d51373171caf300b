"""A node's data plane put together: the planes and drivers that traffic goes by, and what keeps them up."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlayer.agent.drain import Drain
from zlayer.agent.fabric import forwarded, network_plane
from zlayer.agent.planes import Plane
from zlayer.agent.tables import names_plane, routes_plane
from zlayer.agent.traffic import Traffic
from zlayer.control.certificates import CertificateKeeper, Tools
from zlayer.control.orders import Ca
from zlayer.control.views import Troubles
from zlayer.model.certificate import AcmeSettings
from zlayer.model.instance import Node
from zlayer.network.contract import Network
from zlayer.network.dns.contract import NameServer
from zlayer.plan.admission import held
from zlayer.proxy.certs.contract import Certifier, Sealer
from zlayer.proxy.contract import Proxy
from zlayer.store.contract import Store
from zlayer.store.view import Picture, View

RESOLV = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Carriers:
    """The drivers that carry a node's traffic. `keep` watches over the proxy's engine until cancelled."""

    network: Network
    proxy: Proxy
    names: NameServer
    keep: Callable[[], Coroutine[Any, Any, None]]
    sealer: Sealer
    certifier: Certifier
    acme: AcmeSettings | None = None
    acme_port: int = 80
    acme_tls_port: int = 443

    @property
    def tls_port(self) -> int | None:
        """Where names are proved by tls-alpn-01, if they are."""
        return self.acme_tls_port if self.acme is not None and self.acme.challenge == "tls-alpn-01" else None

    async def destroy(self) -> None:
        """Engines ended, their files gone. Containers' networks are another's to destroy."""
        await self.proxy.destroy()
        await self.names.destroy()


def assemble(node: Node, view: View, carriers: Carriers) -> Traffic:
    """Routes before names: who looks a name up must find the port open."""
    planes: list[Plane[Any]] = [  # Any: each has its own table
        network_plane(node, carriers.network, on_trial),
        routes_plane(node, carriers.proxy, carriers.sealer.unseal, carriers.acme_port, carriers.tls_port),
        names_plane(node, carriers.names, Upstreams()),
    ]
    drain = Drain(_proxied(carriers.proxy), forwarded(view, carriers.network))
    return Traffic(view, planes, drain, carriers.proxy)


def troubles(traffic: Traffic | None) -> Troubles:
    """For `Views`: by service of a deployment."""

    def of(deployment: str) -> list[tuple[str, str]]:
        found = traffic.troubles(deployment) if traffic is not None else []
        return [(one.owner.partition("/")[2], one.text) for one in found]

    return of


def on_trial(picture: Picture) -> frozenset[str]:
    """Ids of all replacements that must not have traffic yet."""
    return frozenset().union(*(held(group.values()) for group in picture.instances.values()))


def _proxied(proxy: Proxy) -> Callable[[Collection[str]], Awaitable[Mapping[str, int]]]:
    async def count(ids: Collection[str]) -> Mapping[str, int]:
        return await proxy.in_flight(ids)

    return count


class Upstreams:
    """The host's own resolvers, loopback ones too: the name server stands where they answer. Read when they change."""

    def __init__(self, path: Path = RESOLV) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._found: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                self._found, self._stamp = _nameservers(self._path), stamp
        except OSError:
            self._found, self._stamp = (), None
        return self._found


def _nameservers(path: Path) -> tuple[str, ...]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple(
        words[1].split("%")[0] for line in lines if (words := line.split())[:1] == ["nameserver"] and words[1:]
    )


def keeper(store: Store, view: View, traffic: Traffic, carriers: Carriers, node: Node) -> CertificateKeeper:
    """Certificates of this node, and of a CA where `[acme]` names one."""
    ca = _ca(carriers.acme, traffic) if carriers.acme is not None else None
    names = (socket.gethostname(),)
    tools = Tools(carriers.sealer, carriers.certifier, ca, names)
    return CertificateKeeper(store, tools, clock=time.time, holder=node.id, view=view)


def _ca(settings: AcmeSettings, traffic: Traffic) -> Ca:
    """The library is loaded here only: most daemons never ask a CA."""
    from zlayer.proxy.acme.dns_hook import ProgramHook
    from zlayer.proxy.acme.library import LibraryAcme

    hook = ProgramHook(settings.dns_hook) if settings.dns_hook is not None else None
    return Ca(settings, LibraryAcme(settings), traffic.published, hook)
