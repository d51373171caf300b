"""The configuration file: global settings, one frontend per door, one backend per slot.

Paths in it are relative to the engine's directory (`haproxy -C`), which so may have any name. Everything that comes
from outside passes `names`. Rules that only some routes need cost one comparison for the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zlayer.proxy.haproxy import frontend, proving, refusals
from zlayer.proxy.haproxy.picture import STATE, Member, Picture
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.structure import Shape

FORMAT = 4
"""Of the text below. A running engine of another format is reloaded with ours when it is adopted."""
CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


@dataclass(frozen=True, slots=True)
class Process:
    """Of the machine: whom workers become (empty: whoever we are), and how many connections the limits allow."""

    user: str
    connections: int


def render(picture: Picture, settings: Settings, process: Process, cookie_key: str) -> str:
    """The whole file, from which a worker starts as `picture` says."""
    structure = picture.structure
    sections = [_global(settings, process, structure.generation), _defaults(), _state(), _rates()]
    sections += [frontend.render(door, settings) for door in structure.doors]
    sections += [proving.render(structure.doors, "" if process.user else proving.CELL)]
    sections += [_handover(door.name, process) for door in structure.doors if door.web]
    timed = any(door.timed for door in structure.doors)
    sections += [
        _backend(number, shape, picture.servers.get(number, {}), cookie_key, timed=timed)
        for number, shape in enumerate(structure.slots)
    ]
    return "\n".join(sections)


def tag(generation: int) -> str:
    """What a worker of this generation says of itself in `show info`."""
    return f"zlayer-{FORMAT}-{generation}"


def _section(head: str, lines: Iterable[str]) -> str:
    return "".join((f"{head}\n", *(f"    {line}\n" for line in lines)))


def _global(settings: Settings, process: Process, generation: int) -> str:
    lines = [
        f"description {tag(generation)}",
        f"maxconn {process.connections}",
        f"nbthread {settings.threads}",
        "stats socket unix@stats.sock mode 600 level admin expose-fd listeners",
        "stats timeout 1m",
        f"hard-stop-after {int(settings.hard_stop * 1000)}ms",
        f"mworker-max-reloads {settings.old_workers}",
        "ssl-load-extra-files none",
        "ssl-default-bind-options ssl-min-ver TLSv1.2",
        f"ssl-default-bind-ciphers {CIPHERS}",
        f"ssl-default-bind-ciphersuites {SUITES}",
        "tune.ssl.default-dh-param 2048",
    ]
    if process.user:
        lines += [f"user {process.user}", f"chroot {proving.CELL}"]
    return _section("global", lines)


def _defaults() -> str:
    lines = [
        "mode http",
        "option redispatch 1",
        "option dontlognull",
        "option idle-close-on-response",
        "option abortonclose",  # who has gone waits for no server
        "option http-restrict-req-hdr-names delete",
        "http-reuse safe",
        "retries 3",
        "retry-on conn-failure",
        "timeout connect 5s",
        "timeout client 60s",
        "timeout server 60s",
    ]
    lines += [f"http-error status {code} {refusals.body(code)}" for code in refusals.ENGINE]
    return _section("defaults", lines)


def _state() -> str:
    return _section("backend state", [f"http-request set-var(txn.state) str(-),map({STATE})"])


def _rates() -> str:
    kept = "gpc0,gpc0_rate(1s),gpc1,gpc1_rate(10s)"
    return _section("backend rates", [f"stick-table type string len 64 size 100k expire 20s store {kept}"])


def _handover(door: str, process: Process) -> str:
    """Where a worker sends what still arrives on its connections once it is replaced: to its successor."""
    name = frontend.handover(door)
    cell = "" if process.user else proving.CELL
    lines = [
        "mode http",
        "http-reuse never",
        "timeout server 1h",
        "timeout tunnel 1h",
        f"server onward unix@{cell}/{name}.sock send-proxy-v2",
    ]
    return _section(f"backend {name}", lines)


def _backend(number: int, shape: Shape, members: Mapping[str, Member], cookie_key: str, *, timed: bool) -> str:
    balance = "leastconn" if shape.balance == "least_connections" else "roundrobin"
    lines = [f"id {1000 + number}", f"mode {shape.mode}"]
    if shape.mode == "tcp":
        lines += ["balance source", "hash-type consistent"] if shape.sticky else [f"balance {balance}"]
        lines += [f"timeout server {shape.idle}ms"]
    else:
        lines += [f"balance {balance}", "timeout tunnel 1h"]
        for kind, name in (("server", "response"), ("tunnel", "tunnel")) if timed else ():
            lines += [f"http-request set-timeout {kind} var(txn.{name}) if {{ var(txn.{name}) -m len gt 0 }}"]
        if shape.sticky:
            lines += ["cookie zlayer insert indirect nocache dynamic httponly attr SameSite=Lax"]
            lines += [f"dynamic-cookie-key {cookie_key}"]
    lines += [f"timeout connect {shape.connect}ms", f"timeout queue {shape.queue}ms"]
    lines += [member.line(name) for name, member in members.items()]
    return _section(f"backend be{number}", lines)
