"""Proxies by environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, read as Go's httpproxy reads them.

Loopback never goes through a proxy. `NO_PROXY` holds names (`example.com` also covers its subdomains, a leading dot
only those), addresses, CIDR ranges, each with an optional `:port`, or `*`.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from zlayer.image.settings import is_loopback
from zlayer.model.errors import Invalid


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the Proxy-Authorization header's value, or empty."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy a connection goes through, or None. Errors: `Invalid` for a proxy address that cannot be used."""
    name = f"{scheme}_proxy"
    value = next((environ[n] for n in (name, name.upper(), "all_proxy", "ALL_PROXY") if environ.get(n)), "")
    if not value or is_loopback(f"[{host}]" if ":" in host else host):
        return None
    if _bypassed(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    parts = urlsplit(value if "://" in value else f"http://{value}")
    try:
        port_given = parts.port
    except ValueError:
        port_given = -1
    if parts.scheme != "http" or not parts.hostname or port_given == -1:
        # The value may hold a password: only the variable is named.
        raise Invalid(f"cannot use the proxy in {name.upper()}", hint="give it as http://[user:password@]host:port")
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, port_given or 80, authorization)


def _bypassed(host: str, port: int, rules: str) -> bool:
    host = host.lower().rstrip(".")
    for raw in rules.lower().split(","):
        rule = raw.strip()
        if rule == "*" or (rule and _matches(rule, host, port)):
            return True
    return False


def _matches(rule: str, host: str, port: int) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and "/" in rule:
        try:
            return address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, digits = rule.rpartition(":")
    if colon and digits.isdigit() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    if rule.startswith("."):
        return host.endswith(rule)
    return host == rule or (address is None and host.endswith(f".{rule}"))
