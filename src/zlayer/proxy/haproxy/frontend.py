"""One frontend: where it listens, what it refuses, how it finds the backend, and what it tells that backend."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from zlayer.proxy.haproxy import proving
from zlayer.proxy.haproxy.names import plain
from zlayer.proxy.haproxy.proving import CELL
from zlayer.proxy.haproxy.refusals import answer
from zlayer.proxy.haproxy.settings import Settings
from zlayer.proxy.haproxy.structure import Door

CHALLENGES = "challenges.map"
CHALLENGE_PATH = "/.well-known/acme-challenge/"
CLOSE = "hdr Connection close"
"""Where nobody can say whether what follows is a request."""
DIGITS = 18
"""Of a body's length: no body is an exabyte long."""
BUFFERED = 12_000
"""Bytes of a body that surely fit a buffer (16 KiB, the head and what is added to it in it too)."""
ROUTED = "{ var(txn.route) -m found }"
SHORT, LONG = "var(txn.route),field(5,|)", "var(txn.route),field(6,|)"
LINE = (
    '"at":%[date(0,ms)],"client":"%ci","host":"%[var(txn.host),json(utf8s)]","backend":"%[var(txn.route),field(2,|)]",'
    '"server":"%s","bytes":%B'
)
WEB_LINE = '"method":"%HM","path":"%[var(txn.path),json(utf8s)]","status":%ST,"ms":%Ta,"version":"%HV","end":"%ts"'
STREAM_LINE = '"ms":%Tt,"end":"%ts"'


def map_of(door: str) -> str:
    """The map with a door's routes."""
    return f"routes-{plain(door)}.map"


def list_of(door: str) -> str:
    """The list of a door's certificates (`crt-list`)."""
    return f"list-{plain(door)}.txt"


def handover(door: str) -> str:
    """The name of a door's backend and socket by which a replaced worker passes requests on to the current one."""
    return f"over-{hashlib.sha256(door.encode(errors='surrogatepass')).hexdigest()[:16]}"


def render(door: Door, settings: Settings) -> str:
    lines = [*_listening(door), *(_web(door, settings) if door.web else _stream(door))]
    if settings.log:
        lines += ["log stdout format raw local0 info", f"log-format '{log_line(door)}'"]
    seen = "".join(f"{line}\n" for line in proving.look(door)) if _is_seen(door) else ""
    return seen + "".join((f"frontend l-{plain(door.name)}\n", *(f"    {line}\n" for line in lines)))


def _is_seen(door: Door) -> bool:
    """Whether somebody else listens, and passes on what is for it."""
    return door.proves and door.mode == "https"


def _listening(door: Door) -> Iterator[str]:
    yield f"mode {'http' if door.web else 'tcp'}"
    if _is_seen(door):
        yield f"bind unix@{CELL}/{proving.socket_of(door.name)} mode 666 accept-proxy{_tls(door)}"
    for address, port in () if _is_seen(door) else door.binds:
        only = " v6only" if ":" in address else ""
        yield f"bind {address}:{port}{only}{_tls(door)}"
    if door.web:
        yield f"bind unix@{CELL}/{handover(door.name)}.sock mode 666 accept-proxy"
    yield f"timeout client {door.body if door.web else door.idle}ms"
    if door.web:
        yield f"timeout http-request {door.head}ms"
        yield f"timeout http-keep-alive {door.idle}ms"


def _tls(door: Door) -> str:
    if door.mode != "https":
        return ""
    strict = "" if door.default else " strict-sni"
    return f" ssl crt-list {list_of(door.name)}{strict} alpn h2,http/1.1"


def log_line(door: Door) -> str:
    """A JSON object per request or connection. The query stays out of it: it often holds secrets."""
    return f'{{"listener":"{plain(door.name)}",{LINE},{WEB_LINE if door.web else STREAM_LINE}}}'


def _web(door: Door, settings: Settings) -> Iterator[str]:
    name = "path,field(4,/)"
    yield (
        f"http-request return status 200 content-type text/plain lf-string %[{name},map({CHALLENGES})]"
        f" if {{ path_beg {CHALLENGE_PATH} }} {{ {name},map({CHALLENGES}) -m found }}"
    )
    yield f"http-request {answer(405, CLOSE)} if METH_CONNECT"
    # Not all read a coding in HTTP/1.0, and HAProxy 2.6 itself lets a length of 64 bits wrap (RFC 9112, 6.1 and 6.3).
    yield f"http-request {answer(400, CLOSE)} if {{ req.ver 1.0 }} {{ req.hdr(transfer-encoding) -m found }}"
    yield f"http-request {answer(400, CLOSE)} if {{ req.hdr(content-length) -m len gt {DIGITS} }}"
    yield f"http-request {answer(400)} if {{ req.hdr(host) -m sub / }}"
    # Few servers know the absolute form (RFC 9112, 3.2.2). HTTP/2 has it always, and loses it by itself.
    yield "http-request set-uri %[pathq] if !{ url_beg / } !{ req.ver 2.0 } { url_beg -i http:// https:// }"
    yield f"http-request {answer(400)} if !{{ url_beg / }} !{{ req.ver 2.0 }} !{{ url -m str * }}"
    yield "http-request set-var(txn.host) req.hdr(host),host_only,lower"
    yield "http-request set-var(txn.path) path"
    yield from _routing(door, "http-request")
    yield f"http-request {answer(404)} unless {ROUTED}"
    yield from _sizes() if door.sized else ()
    yield from _web_rates() if door.rated else ()
    yield from _bodies(door)
    yield from _headers(door, settings)
    for count in door.strips:
        stripped = f"{{ var(txn.route),field(3,|) -m str {count} }}"
        yield f"http-request set-path /%[path,field({count + 2},/,0)] if {stripped}"
    if door.timed:
        yield "http-request set-var(txn.response) var(txn.route),field(7,|)"
        yield "http-request set-var(txn.tunnel) var(txn.route),field(8,|)"
    yield "use_backend %[var(txn.route),field(1,|)]"


def _routing(door: Door, rule: str) -> Iterator[str]:
    """The first that is found: exact host, suffixes from the longest, any host."""
    path = ",concat(,txn.path,/)" if door.web else ""
    found = f"{path},map_beg({map_of(door.name)})" if door.web else f",map({map_of(door.name)})"
    if door.mode != "tcp":
        yield f"{rule} set-var(txn.route) var(txn.host){found}"
    if door.depths:
        yield f"{rule} set-var(txn.rest) var(txn.host),field(2,.,0) unless {ROUTED}"
    for depth in door.depths:
        yield f"{rule} set-var(txn.suffix) var(txn.rest),field(-1,.,{depth}) unless {ROUTED}"
        yield f"{rule} set-var(txn.route) str(*.),concat(,txn.suffix){found} unless {ROUTED}"
    yield f"{rule} set-var(txn.route) str(*){found} unless {ROUTED}"


def _sizes() -> Iterator[str]:
    """Field 4 of a route's value. A body without a length cannot be measured before it is passed on: 411."""
    yield "http-request set-var(txn.size) var(txn.route),field(4,|)"
    limited = "{ var(txn.size) -m len gt 0 }"
    yield f"http-request {answer(413)} if {limited} {{ req.body_size,sub(txn.size) gt 0 }}"
    yield (
        f"http-request {answer(411)} if {limited} !{{ req.hdr(content-length) -m found }} {{ method POST PUT PATCH }}"
    )


def _bodies(door: Door) -> Iterator[str]:
    """A body that fits our buffer is waited for, so that one that stops holds no server up.

    In the middle of a longer one HAProxy 2.6 heeds the server's time only: it ends with a 504 after that.
    """
    length = "req.hdr_val(content-length)"
    sent = f"{{ method POST PUT PATCH }} {{ {length} gt 0 }} {{ {length} le {BUFFERED} }}"
    yield f"http-request wait-for-body time {door.body}ms if {sent}"


def _web_rates() -> Iterator[str]:
    refuse = answer(429, "hdr Retry-After 1")
    yield from _rates("http-request", refuse)


def _rates(rule: str, refuse: str) -> Iterator[str]:
    """Fields 5 and 6: what one client may have let through in a second, and in ten. Refused ones do not count."""
    rated = f"{{ {SHORT} -m len gt 0 }}"
    yield f"{rule} set-var(txn.short) {SHORT}"
    yield f"{rule} set-var(txn.long) {LONG}"
    yield f"{rule} set-var(txn.slot) var(txn.route),field(1,|)"
    yield f"{rule} track-sc0 src,concat(|,txn.slot) table rates if {rated}"
    yield f"{rule} {refuse} if {rated} {{ sc0_gpc0_rate(rates),sub(txn.short) ge 0 }}"
    yield f"{rule} {refuse} if {rated} {{ sc0_gpc1_rate(rates),sub(txn.long) ge 0 }}"
    yield f"{rule} sc-inc-gpc0(0) if {rated}"
    yield f"{rule} sc-inc-gpc1(0) if {rated}"


def _headers(door: Door, settings: Settings) -> Iterator[str]:
    """A client's own claims are replaced, save those of proxies that are trusted, to which its address is added."""
    trusted = f"{{ src {' '.join(settings.trusted)} }}" if settings.trusted else ""
    unless = f" unless {trusted}" if trusted else ""
    if trusted:
        known = "{ req.hdr(x-forwarded-for) -m found }"
        yield f'http-request set-header X-Forwarded-For "%[req.hdr(x-forwarded-for)], %[src]" if {trusted} {known}'
        yield f"http-request set-header X-Forwarded-For %[src] if {trusted} !{known}"
    yield f"http-request set-header X-Forwarded-For %[src]{unless}"
    yield f"http-request set-header X-Forwarded-Proto {door.mode}{unless}"
    yield f"http-request set-header X-Forwarded-Host %[req.hdr(host)]{unless}"
    yield f"http-request set-header X-Forwarded-Port {door.port}{unless}"
    yield f"http-request set-header X-Real-IP %[src]{unless}"
    yield f"http-request del-header Forwarded{unless}"
    yield "http-request del-header Proxy"


def _stream(door: Door) -> Iterator[str]:
    hello = "{ req.ssl_hello_type 1 }"
    if door.mode == "passthrough":
        yield f"tcp-request inspect-delay {door.head}ms"
        yield f"tcp-request content set-var(txn.host) req.ssl_sni,lower if {hello}"
        yield from [proving.accepted()] if door.proves else ()
    yield from _routing(door, "tcp-request content")
    yield f"tcp-request content reject unless {ROUTED}"
    yield from _rates("tcp-request content", "reject") if door.rated else ()
    if door.mode == "passthrough":
        yield f"tcp-request content accept if {hello}"
        yield "tcp-request content reject"
        yield from [proving.chosen()] if door.proves else ()
    yield "use_backend %[var(txn.route),field(1,|)]"
