"""The tables of `ps` and their JSON forms."""

from __future__ import annotations

from collections.abc import Sequence

from zlayer.cli.render.colour import paint, visible
from zlayer.cli.render.colour import state as coloured
from zlayer.cli.render.table import table
from zlayer.cli.render.times import ago, lasting, seconds_of
from zlayer.client.results import Container, Deployment

LONGEST = 60
"""Characters of a status in a table."""
SERVICE_FIELDS = ("name", "image", "desired", "running", "ready", "endpoints")


def deployments_document(listed: Sequence[Deployment]) -> list[dict[str, object]]:
    """The list `ps --format json` prints; the fields are a promise."""
    out: list[dict[str, object]] = []
    for each in listed:
        services = [{name: s.document()[name] for name in SERVICE_FIELDS} for s in each.services]
        out.append({"deployment": each.deployment, "status": each.status, "services": services})
    return out


def containers_document(listed: Sequence[Container]) -> list[dict[str, object]]:
    """The list `ps -c --format json` prints; the fields are a promise."""
    return [each.document() for each in listed]


def deployments(listed: Sequence[Deployment], *, colour: bool) -> str:
    rows = []
    for each in listed:
        if not each.services:
            rows.append([each.deployment, "", coloured(each.status, colour=colour), "", "", ""])
        for s in each.services:
            status = _standing(each, s.name, colour=colour)
            ready = f"{s.ready}/{s.desired}"
            where = ", ".join(endpoint(e) for e in s.endpoints)
            rows.append([each.deployment, s.name, status, ready, s.image, where])
    return table(("DEPLOYMENT", "SERVICE", "STATUS", "READY", "IMAGE", "ENDPOINTS"), rows, colour=colour)


def _standing(deployment: Deployment, service: str, *, colour: bool) -> str:
    """`running`, or `running: why the service cannot be reached`."""
    lacks = [one.reason for one in deployment.trouble if one.service in {"", service}]
    if not lacks:
        return coloured(deployment.status, colour=colour)
    return paint(brief(f"{deployment.status}: {lacks[0]}"), "yellow", colour=colour)


def containers(listed: Sequence[Container], now: float, *, colour: bool) -> str:
    rows = [
        [
            f"{c.service}-{c.replica}" if c.service else c.id,
            c.deployment,
            coloured(brief(status(c, now)), colour=colour),
            c.image,
            c.ip or "",
            ", ".join(str(port) for port in c.ports),
            str(c.restarts),
            ago(c.created_at, now),
        ]
        for c in listed
    ]
    headers = ("CONTAINER", "DEPLOYMENT", "STATUS", "IMAGE", "IP", "PORTS", "RESTARTS", "CREATED")
    return table(headers, rows, colour=colour)


def status(c: Container, now: float) -> str:
    """`running 3 minutes (healthy)`, `exited (137)`, `failed: why`."""
    health = f" ({c.health})" if c.health not in {"none", ""} else ""
    if c.state == "running":
        since = seconds_of(c.started_at)
        return f"running {lasting(max(0.0, now - since))}{health}" if since else f"running{health}"
    if c.state == "exited":
        code = "unknown" if c.exit_code is None else str(c.exit_code)
        return f"exited ({code})" + (f": {c.reason}" if c.reason else "")
    return f"{c.state}: {c.reason}" if c.reason else c.state + health


def brief(text: str) -> str:
    """One line, cut to what a table bears; the whole of it is in the JSON form."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip(" ,;:") + "…"


def endpoint(value: object) -> str:
    """Text as it is; an object as `name host:port/protocol`, leaving out what it lacks."""
    if not isinstance(value, dict):
        return str(value)
    address = value.get("url") or ":".join(str(value[k]) for k in ("address", "port") if value.get(k))
    protocol = f"/{value['protocol']}" if value.get("protocol") and not value.get("url") else ""
    name = f"{value['name']}=" if value.get("name") else ""
    return f"{name}{address}{protocol}"
