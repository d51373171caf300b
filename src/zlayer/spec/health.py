"""`health` in both forms, normalised to the reference's: a URL, and the interval outside `check`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from zlayer.model.errors import Invalid
from zlayer.spec.model import CommandCheckSpec, HealthSpec, HttpCheckSpec, TcpCheckSpec
from zlayer.spec.nodes import Node, Scalar, Table, shorten
from zlayer.spec.records import Field, Record, table
from zlayer.spec.report import UNSUPPORTED, At, refused
from zlayer.spec.shapes import Choice, Json, Number, Quantity, Shape, Text
from zlayer.spec.units import DURATION_PATTERN, parse_duration

SELF = ("localhost", "container", "0.0.0.0", "::1", "::")
TYPES = ("tcp", "http", "command")


def duration(about: str) -> Quantity:
    return Quantity(about, parse_duration, {"type": "string", "pattern": DURATION_PATTERN}, "a duration such as 30s")


INTERVAL = duration("Time between two checks. Default 10s. May also stand inside `check` (guide form).")
TIMEOUT = duration("How long one check may take. Default 5s.")


@dataclass(frozen=True, slots=True)
class Target:
    """What a check URL means: a port and path of the container itself."""

    port: int
    path: str


def target_of(url: str) -> Target:
    """Raises `Invalid` for a URL that is not plain HTTP on the container itself."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise _bad(url, "it does not parse") from None
    if parts.scheme == "https":
        raise refused("not supported yet: https health checks", kind=UNSUPPORTED)
    if parts.scheme != "http" or not host:
        raise _bad(url, "write http://localhost:PORT/PATH")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise _bad(url, "it has white space or characters that a URL must escape")
    if parts.username is not None or parts.fragment:
        raise _bad(url, "a check takes neither a user nor a fragment")
    if host not in SELF and not _loopback(host):
        raise refused(f"not supported yet: a health check of another host ({shorten(host)})", kind=UNSUPPORTED)
    if port == 0:
        raise _bad(url, "the port is 0")
    return Target(port or 80, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bad(url: str, why: str) -> Invalid:
    return refused(f"{shorten(url)!r} is not a check URL: {why}", kind="InvalidUrl")


def _check_url(text: str) -> str:
    target_of(text)
    return text


def _check_path(text: str) -> str:
    if not text.startswith("/"):
        raise refused(f"the path {shorten(text)!r} does not start with '/'", suggestion=f"/{text}", kind="InvalidUrl")
    target_of(f"http://localhost:1{text}")
    return text


def _http(*, url: str = "", path: str = "/", port: int = 0, expect_status: int = 200, **_: Any) -> HttpCheckSpec:
    return HttpCheckSpec(url=url or f"http://localhost:{port}{path}", expect_status=expect_status)


def _tcp(*, port: int = 0, **_: Any) -> TcpCheckSpec:
    return TcpCheckSpec(port=port)


def _command(*, command: str, **_: Any) -> CommandCheckSpec:  # `interval` was lifted already
    return CommandCheckSpec(command=command)


def _check_http(made: HttpCheckSpec, found: Table, at: At) -> None:
    both = [name for name in ("path", "port") if name in found.entries]
    if "url" in found.entries and both:
        key = found.entries[both[0]][0]
        (at / both[0]).refuse(key, f"give either url, or path and port, not url and {both[0]}", kind="Conflict")
    elif "url" not in found.entries and "port" not in found.entries:
        at.refuse(found, "the key 'port' is missing (or give a url)", kind="MissingKey")


_PORT = Number("Port on the container.", 1, 65535, fault="InvalidPort")
_SYNONYMS = {"endpoint": "url", "uri": "url", "test": "command", "cmd": "command", "status": "expect_status"}
_CHECKS: dict[str, Record[Any]] = {
    "tcp": Record(
        _tcp,
        {
            "type": Field(Choice("A connection is accepted.", ("tcp",)), required=True),
            "port": Field(Number("0 is the first endpoint.", 0, 65535, fault="InvalidPort")),
            "interval": Field(INTERVAL),
        },
        "Healthy when a connection is accepted.",
        synonyms=_SYNONYMS,
    ),
    "http": Record(
        _http,
        {
            "type": Field(Choice("A GET answers.", ("http",)), required=True),
            "url": Field(Text("`http://localhost:PORT/PATH` on the container.", _check_url)),
            "path": Field(Text("Path to GET (guide form, with `port`).", _check_path, "^/")),
            "port": Field(_PORT),
            "expect_status": Field(Number("Default 200.", 100, 599)),
            "interval": Field(INTERVAL),
        },
        "Healthy when a GET answers with the expected status.",
        synonyms=_SYNONYMS,
        check=_check_http,
    ),
    "command": Record(
        _command,
        {
            "type": Field(Choice("A command ends with 0.", ("command",)), required=True),
            "command": Field(Text("Run by `/bin/sh -c` in the container.", empty=False), required=True),
            "interval": Field(INTERVAL),
        },
        "Healthy when the command ends with exit code 0.",
        synonyms=_SYNONYMS,
    ),
}


class Check:
    """The tagged union under `health.check`."""

    def read(self, node: Node, at: At) -> TcpCheckSpec | HttpCheckSpec | CommandCheckSpec | None:
        found = table(node, at, "a map with 'type'")
        if found is None:
            return None
        tag = found.get("type")
        if tag is None:
            at.refuse(found, "the key 'type' is missing: tcp, http or command", kind="MissingKey")
            return None
        name = Choice("", TYPES).read(tag, at / "type")
        if name is None:
            return None
        made: TcpCheckSpec | HttpCheckSpec | CommandCheckSpec | None = _CHECKS[name].read(found, at)
        return made

    def schema(self) -> Json:
        return {"oneOf": [record.schema() for record in _CHECKS.values()]}


def _same_interval(made: HealthSpec, found: Table, at: At) -> None:
    check = found.get("check")
    inner = check.get("interval") if isinstance(check, Table) else None
    if not isinstance(inner, Scalar) or "interval" not in found.entries:
        return
    try:
        same = parse_duration(inner.text) == made.interval
    except Invalid:
        return
    if not same:
        message = f"health.interval is {_text(found.get('interval'))} and health.check.interval is {inner.text}"
        (at / "check" / "interval").refuse(inner, message, kind="Conflict")


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) else ""


@dataclass(frozen=True, slots=True)
class HealthShape:
    """A record whose interval may stand one level deeper."""

    record: Record[HealthSpec]

    def read(self, node: Node, at: At) -> HealthSpec | None:
        made = self.record.read(node, at)
        if made is None or not isinstance(node, Table) or "interval" in node.entries:
            return made
        check = node.get("check")
        inner = check.get("interval") if isinstance(check, Table) else None
        if not isinstance(inner, Scalar):
            return made
        try:
            return made.model_copy(update={"interval": parse_duration(inner.text)})
        except Invalid:
            return made

    def schema(self) -> Json:
        return self.record.schema()


HEALTH: Shape[HealthSpec] = HealthShape(
    Record(
        HealthSpec,
        {
            "start_grace": Field(duration("Failures do not count before. Default 5s.")),
            "interval": Field(INTERVAL),
            "timeout": Field(TIMEOUT),
            "retries": Field(Number("Failures in a row that make it unhealthy. Default 3.", 1, 1000)),
            "check": Field(Check(), instead=TcpCheckSpec(port=1)),
        },
        "When an instance counts as healthy. Left out: a TCP check of the first endpoint, if there is one.",
        synonyms={"start_period": "start_grace", "test": "check", "type": "check"},
        check=_same_interval,
    )
)
