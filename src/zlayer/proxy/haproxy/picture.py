"""All that one worker goes by: its structure, the servers in its slots, and its maps.

The same value stands for what is there and for what is wanted; `difference` makes commands of two of them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from zlayer.model.routes import Backend, Listener, RouteTable, Server
from zlayer.proxy.haproxy import routing
from zlayer.proxy.haproxy.frontend import CHALLENGES, map_of
from zlayer.proxy.haproxy.memo import by_identity
from zlayer.proxy.haproxy.names import plain, token
from zlayer.proxy.haproxy.proving import PROOFS, SHOWS
from zlayer.proxy.haproxy.structure import Structure

STATE = "state.map"
"""A map no request looks at: the engine itself remembers which slot is whose, so that it can be adopted."""
SLOT, CERTIFICATE, SHOWN = "slot:", "cert:", "shown:"
"""What its keys begin with: a backend's slot, a certificate's digest, a certificate in the list of a door."""
HTTP2, PROXIED = "..h2", "..px"
_NOTHING: Mapping[str, str] = {}
UNKNOWN = -1
"""A limit that an adopted engine does not tell."""


@dataclass(frozen=True, slots=True)
class Member:
    """A server in a slot. One that is not `on` gets nothing new, whatever a client's cookie says."""

    address: str
    port: int
    weight: int = 100
    limit: int = 0
    on: bool = True
    http2: bool = False
    proxied: bool = False

    @property
    def options(self) -> str:
        """As `add server` and the configuration both take them."""
        limit = f" maxconn {self.limit}" if self.limit > 0 else ""
        proto = " proto h2" if self.http2 else ""
        told = " send-proxy-v2" if self.proxied else ""
        return f"{self.where} weight {self.weight}{limit}{proto}{told}"

    @property
    def where(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def line(self, name: str) -> str:
        return f"server {name} {self.options}{'' if self.on else ' disabled'}"


@dataclass(frozen=True, slots=True)
class Picture:
    """`servers` by slot number and server name; `maps` by file name."""

    structure: Structure
    servers: Mapping[int, Mapping[str, Member]] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def slots(self) -> dict[str, int]:
        """Backend name, as `token` writes it, to slot number."""
        return _slots(self.maps.get(STATE, _NOTHING))


@by_identity
def _slots(state: Mapping[str, str]) -> dict[str, int]:
    return {key.removeprefix(SLOT): int(slot) for key, slot in state.items() if key.startswith(SLOT)}


def server_name(server: str, *, http2: bool = False, proxied: bool = False) -> str:
    """A server that is spoken to in another way is another server to HAProxy, so it has another name."""
    return plain(server) + (HTTP2 if http2 else "") + (PROXIED if proxied else "")


def server_names(server: str) -> tuple[str, ...]:
    """Every name that a server may have."""
    return tuple(server_name(server, http2=h, proxied=p) for h in (False, True) for p in (False, True))


@by_identity
def members(backend: Backend) -> Mapping[str, Member]:
    """A backend's servers by their names; the same object for the same backend."""
    http2, proxied = backend.http2 and backend.mode == "http", backend.proxy_protocol
    return {
        server_name(server.id, http2=http2, proxied=proxied): _member(server, backend, http2=http2)
        for server in backend.servers
    }


def _member(server: Server, backend: Backend, *, http2: bool) -> Member:
    return Member(
        server.address,
        server.port,
        weight=min(max(server.weight, 1), 256),
        limit=backend.max_connections or 0,
        on=server.weight > 0,
        http2=http2,
        proxied=backend.proxy_protocol,
    )


def wanted(
    table: RouteTable, structure: Structure, slots: Mapping[str, int | None], digests: Mapping[str, str]
) -> Picture:
    """`table` as a worker of this structure can serve it. `digests` of the usable certificates, by name."""
    servers = {
        slot: members(backend) for backend in table.backends if (slot := slots.get(token(backend.name))) is not None
    }
    listeners = {listener.name: listener for listener in table.listeners}
    state = {f"{SLOT}{name}": str(slot) for name, slot in slots.items() if slot is not None}
    maps: dict[str, dict[str, str]] = {STATE: state}
    maps[CHALLENGES] = {token(key): token(answer) for key, answer in table.challenges.items()}
    for door in structure.doors:
        listener = listeners.get(door.name)
        maps[map_of(door.name)] = routing.lines(listener, slots) if listener else {}
        for file, name in shown(listener, digests).items() if listener else ():
            state[f"{CERTIFICATE}{file}"] = digests[name]
            if file != first_of(door.name):
                state[f"{SHOWN}{plain(door.name)}/{file}"] = "1"
    if any(door.proves for door in structure.doors):
        maps[PROOFS] = {}
        for host, name in table.proofs.items():
            if name in digests:
                maps[PROOFS][token(host.lower())] = "1"
                state[f"{CERTIFICATE}{file_of(name)}"] = digests[name]
                state[f"{SHOWN}{SHOWS}/{file_of(name)}"] = "1"
    return Picture(structure, servers, maps)


def shown(listener: Listener, good: Container[str]) -> dict[str, str]:
    """Of an https listener: the file of each certificate it shows, and whose it is. The default comes first.

    The default's is a file of the listener's own: which one that is can be told at run time, a change of its name not.
    """
    if listener.mode != "https":
        return {}
    names = [name for name in listener.certificates if name in good]
    return {first_of(listener.name) if name is names[0] else file_of(name): name for name in names}


def texts(table: RouteTable, pems: Mapping[str, str]) -> dict[str, str]:
    """By file what is in it. `pems` by certificate name."""
    proofs = {file_of(name): pems[name] for name in table.proofs.values() if name in pems}
    return proofs | {file: pems[name] for listener in table.listeners for file, name in shown(listener, pems).items()}


def file_of(certificate: str) -> str:
    return f"cert-{plain(certificate)}.pem"


def first_of(door: str) -> str:
    return f"first-{plain(door)}.pem"
