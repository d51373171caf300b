"""tls-alpn-01 (RFC 8737): a CA's hello goes to a frontend of its own, every other one on to the door it came for.

HAProxy chooses a certificate by name only, so a proof in a door's own list would be shown to everybody who asks for
that name. Therefore such a door is looked at from outside before TLS begins: by `p-DOOR`, which passes what is no
question of a CA on to `l-DOOR` by a socket, with the client's address. It costs a hop: only doors that prove have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from zlayer.proxy.haproxy.names import plain
from zlayer.proxy.haproxy.structure import Door

CELL = "empty"
"""The directory that workers are shut into. Nobody else gets there: it is in the engine's own."""
PROOFS = "proofs.map"
"""Hosts that are being proved."""
SHOWS = "proofs"
"""Whose list of certificates the proofs are in; no door is called so."""
_ASKED = f"{{ req.ssl_alpn acme-tls/1 }} !{{ req.ssl_alpn h2 http/1.1 }} {{ req.ssl_sni,lower,map({PROOFS}) -m found }}"
"""A rule looks at each of the protocols that are offered; a CA offers one alone."""
_LONG = "1h"
"""The door behind has the real times: when it hangs up, so do we."""


def socket_of(door: str) -> str:
    """By which a door that is looked at from outside is reached."""
    return f"tls-{hashlib.sha256(door.encode(errors='surrogatepass')).hexdigest()[:16]}.sock"


def accepted() -> str:
    """The rule of a door that sees hellos itself."""
    return f"tcp-request content accept if {_ASKED}"


def chosen() -> str:
    return f"use_backend {SHOWS} if {_ASKED}"


def look(door: Door) -> Iterator[str]:
    """The frontend in front of an https door."""
    yield f"frontend p-{plain(door.name)}"
    yield "    mode tcp"
    for address, port in door.binds:
        yield f"    bind {address}:{port}{' v6only' if ':' in address else ''}"
    yield f"    timeout client {_LONG}"
    yield f"    tcp-request inspect-delay {door.head}ms"
    yield "    tcp-request content accept if { req.ssl_hello_type 1 }"
    yield f"    {chosen()}"
    yield f"    default_backend t-{plain(door.name)}"


def render(doors: tuple[Door, ...], cell: str) -> str:
    """What stands behind the doors that prove. `cell` is how workers reach their own directory."""
    lines: list[str] = []
    for door in doors:
        if door.proves and door.mode == "https":
            lines += [f"backend t-{plain(door.name)}", *_onward(cell, socket_of(door.name), _LONG)]
    if any(door.proves for door in doors):
        lines += [f"backend {SHOWS}", *_onward(cell, f"{SHOWS}.sock", "10s")]
        tls = f"ssl crt-list list-{SHOWS}.txt strict-sni alpn acme-tls/1"
        lines += [
            "frontend shows",
            "    mode tcp",
            f"    bind unix@{CELL}/{SHOWS}.sock mode 666 accept-proxy {tls}",
            "    timeout client 10s",
            "    tcp-request content reject",
        ]
    return "".join(f"{line}\n" for line in lines)


def _onward(cell: str, socket: str, patience: str) -> list[str]:
    return ["    mode tcp", f"    timeout server {patience}", f"    server onward unix@{cell}/{socket} send-proxy-v2"]
