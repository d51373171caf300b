"""Who may do what: the one table of routes and roles. What is not in it is refused, to everybody.

`admin` may do all that is listed; `operator` changes what runs; `reader` looks. The source text of a deployment is
not for readers: it may hold passwords. Nor are plans: they tell a guessed password from the true one, and ask
registries of the caller's choice. Requests over the trusted socket carry `SOCKET`, an admin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from zlayer.model.errors import Denied
from zlayer.model.units import Timestamp

Role = Literal["admin", "operator", "reader"]
ROLES: tuple[Role, ...] = ("admin", "operator", "reader")


@dataclass(frozen=True, slots=True)
class Claims:
    """Who asks. `expires` None: as long as the connection's own trust lasts."""

    subject: str
    roles: frozenset[str]
    expires: Timestamp | None = None


SOCKET = Claims("socket", frozenset({"admin"}))

READ: frozenset[Role] = frozenset({"admin", "operator", "reader"})
WRITE: frozenset[Role] = frozenset({"admin", "operator"})
ADMIN: frozenset[Role] = frozenset({"admin"})
OPEN: frozenset[Role] = frozenset()
"""Marks a route that needs no token at all: health only."""

V1 = "/api/v1"
DEPLOYMENT = f"{V1}/deployments/{{deployment}}"
SERVICE = f"{DEPLOYMENT}/services/{{service}}"

TABLE: dict[tuple[str, str], frozenset[Role]] = {
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/openapi.json"): READ,
    ("GET", "/metrics"): READ,
    ("GET", f"{V1}/status"): READ,
    ("GET", f"{V1}/nodes"): READ,
    ("GET", f"{V1}/runtimes"): READ,
    ("GET", f"{V1}/events"): READ,
    ("POST", f"{V1}/validate"): READ,
    ("POST", f"{V1}/deployments:plan"): WRITE,
    ("POST", f"{V1}/deployments"): WRITE,
    ("POST", f"{V1}/deploy"): WRITE,
    ("GET", f"{V1}/deployments"): READ,
    ("GET", DEPLOYMENT): READ,
    ("PUT", DEPLOYMENT): WRITE,
    ("DELETE", DEPLOYMENT): WRITE,
    ("GET", f"{DEPLOYMENT}/spec"): WRITE,
    ("GET", f"{DEPLOYMENT}/events"): READ,
    ("GET", f"{DEPLOYMENT}/logs"): READ,
    ("POST", f"{DEPLOYMENT}/stop"): WRITE,
    ("POST", f"{DEPLOYMENT}/start"): WRITE,
    ("POST", f"{DEPLOYMENT}/scale"): WRITE,
    ("GET", f"{DEPLOYMENT}/history"): READ,
    ("POST", f"{DEPLOYMENT}/rollback"): WRITE,
    ("POST", f"{DEPLOYMENT}/pause"): WRITE,
    ("POST", f"{DEPLOYMENT}/resume"): WRITE,
    ("POST", f"{DEPLOYMENT}/abort"): WRITE,
    ("GET", f"{SERVICE}/why"): READ,
    ("GET", f"{DEPLOYMENT}/services"): READ,
    ("GET", SERVICE): READ,
    ("GET", f"{SERVICE}/containers"): READ,
    ("GET", f"{SERVICE}/logs"): READ,
    ("POST", f"{SERVICE}/scale"): WRITE,
    ("POST", f"{SERVICE}/exec"): WRITE,
    ("WEBSOCKET", f"{SERVICE}/exec"): WRITE,
    ("GET", f"{V1}/instances"): READ,
    ("GET", f"{V1}/instances/{{instance}}"): READ,
    ("DELETE", f"{V1}/instances/{{instance}}"): WRITE,
    ("GET", f"{V1}/instances/{{instance}}/stats"): READ,
    ("GET", f"{V1}/instances/{{instance}}/logs"): READ,
    ("POST", f"{V1}/run"): WRITE,
    ("WEBSOCKET", f"{V1}/run"): WRITE,
    ("GET", f"{V1}/proxy/routes"): READ,
    ("GET", f"{V1}/proxy/backends"): READ,
    ("GET", f"{V1}/certificates"): READ,
    ("GET", f"{V1}/certificates/{{name}}"): READ,
    ("POST", f"{V1}/certificates/{{name}}/renew"): WRITE,
    ("GET", f"{V1}/images"): READ,
    ("POST", f"{V1}/images/pull"): WRITE,
    ("POST", f"{V1}/images/push"): WRITE,
    ("POST", f"{V1}/images/tag"): WRITE,
    ("POST", f"{V1}/images/verify"): WRITE,
    ("GET", f"{V1}/images/referrers"): WRITE,
    ("POST", f"{V1}/images/attach"): WRITE,
    ("GET", f"{V1}/images/sbom"): WRITE,
    ("GET", f"{V1}/system/df"): READ,
    ("POST", f"{V1}/system/prune"): WRITE,
    ("GET", f"{V1}/images/history"): READ,
    ("GET", f"{V1}/images/trust"): READ,
    ("GET", f"{V1}/images/export"): WRITE,
    ("POST", f"{V1}/images/import"): WRITE,
    ("GET", f"{V1}/images/parcel"): WRITE,
    ("GET", f"{V1}/images/blobs"): WRITE,
    ("POST", f"{V1}/images/missing"): WRITE,
    ("POST", f"{V1}/images/blobs"): WRITE,
    ("POST", f"{V1}/images/accept"): WRITE,
    ("GET", f"{V1}/images/{{reference:path}}"): READ,
    ("DELETE", f"{V1}/images/{{reference:path}}"): WRITE,
    ("GET", f"{V1}/registries"): WRITE,
    ("POST", f"{V1}/registries/login"): ADMIN,
    ("DELETE", f"{V1}/registries/{{registry}}"): ADMIN,
}

PUBLIC: frozenset[str] = frozenset(path for (_, path), roles in TABLE.items() if not roles)


def permit(method: str, path: str, roles: Iterable[str]) -> None:
    """Raises `Denied` unless one of `roles` may use the route with this path template."""
    wanted = TABLE.get((method, path))
    if wanted is None:
        raise Denied(f"{method} {path} is in no one's rights", hint="this is a fault of the daemon: report it")
    if wanted and wanted.isdisjoint(roles):
        need = " or ".join(role for role in ROLES if role in wanted)
        raise Denied(f"{method} {path} needs the role {need}", hint=f"zlayer token create --role {need.split()[-1]}")


async def authorise(connection: HTTPConnection) -> None:
    """The dependency of every route. The claims were put into the scope by `access`; without them nobody passes."""
    method = "WEBSOCKET" if connection.scope["type"] == "websocket" else connection.scope["method"]
    claims: Claims | None = connection.scope.get("zlayer.claims")
    permit("GET" if method == "HEAD" else method, connection.scope["route"].path, claims.roles if claims else ())
