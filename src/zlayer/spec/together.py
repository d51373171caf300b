"""What the keys of one service must be to each other."""

from __future__ import annotations

from zlayer.spec.endpoints import make_endpoint
from zlayer.spec.model import ServiceSpec
from zlayer.spec.network import shares
from zlayer.spec.nodes import Listing, Node, Table
from zlayer.spec.report import At
from zlayer.spec.traffic import EndpointSpec


def check(made: ServiceSpec, found: Table, at: At) -> None:
    """What one service says in two places, and what its kind demands."""
    _source(made, found, at)
    _schedule(found, at)
    _network(made, found, at)
    _stream_check(made, found, at)
    _update(made, found, at)
    if "capabilities" in found.entries and "cap_add" in found.entries:
        key = found.entries["cap_add"][0]
        (at / "cap_add").refuse(key, "cap_add is capabilities by another name: give one", kind="Conflict")
    mode, legacy = found.get("network_mode"), found.get("host_network")
    if mode is not None and getattr(legacy, "value", None) is True and getattr(mode, "value", "") != "host":
        (at / "network_mode").refuse(mode, "host_network: true is network_mode: host: give one", kind="Conflict")
    named = getattr(found.get("service_type"), "text", "standard")
    for name in ("wasm", "wasm_http"):
        if name in found.entries and not named.startswith("wasm"):
            message = f"{name} needs a service_type of the wasm kinds"
            (at / name).refuse(found.entries[name][0], message, kind="WasmConfigOnNonWasmType")


def _source(made: ServiceSpec, found: Table, at: At) -> None:
    asks, source = made.image.pull_policy, made.image.source_policy
    refused = {("local_only", "always"), ("local_only", "newer"), ("remote_only", "never")}
    if (source, asks) in refused:
        message = f"pull_policy: {asks} cannot be done with source_policy: {source}"
        _refuse(found, at, "image", message, kind="Conflict")


def _schedule(found: Table, at: At) -> None:
    rtype = getattr(found.get("rtype"), "text", "service")
    if rtype == "cron" and "schedule" not in found.entries:
        node = found.get("rtype") or found
        (at / "rtype").refuse(node, "rtype: cron needs a schedule", kind="CronRequiresSchedule")
    elif rtype in {"service", "job"} and "schedule" in found.entries:
        key = found.entries["schedule"][0]
        (at / "schedule").refuse(key, f"a schedule belongs to rtype: cron, not {rtype}", kind="ScheduleOnlyForCron")


def _network(made: ServiceSpec, found: Table, at: At) -> None:
    """What each network mode leaves to say."""
    mode = "container" if shares(made.network_mode) else made.network_mode
    if mode == "bridge":
        return
    if made.port_mappings:
        why = {"host": "its ports are the host's already", "none": "it has no network"}
        _refuse(found, at, "port_mappings", f"ports cannot be mapped with network_mode: {mode}: "
                + why.get(mode, "map them where the network is"))  # fmt: skip
    if made.endpoints and mode == "none":
        _refuse(found, at, "endpoints", "network_mode: none leaves nothing to reach: remove the endpoints")
    if made.network.reach:
        _refuse(found, at, "network", f"reach is of a service's own network, which network_mode: {mode} has not")
    for i, endpoint in enumerate(made.endpoints if mode == "host" else ()):
        if endpoint.port == endpoint.target_port and not _plain(endpoint):
            message = (
                f"endpoint {endpoint.name!r}: the container itself has port {endpoint.port} of the host, so the proxy "
                "cannot have it: give a target_port that is another, or leave out what needs the proxy"
            )
            _refuse(found, at / "endpoints" / i, "", message, kind="PortClash")


def _plain(endpoint: EndpointSpec) -> bool:
    """It says nothing that only the proxy could do."""
    bare = make_endpoint(name=endpoint.name, protocol=endpoint.protocol, port=endpoint.port, expose=endpoint.expose)
    return endpoint.protocol != "https" and endpoint == bare


def _stream_check(made: ServiceSpec, found: Table, at: At) -> None:
    asking = [i for i, e in enumerate(made.endpoints) if e.stream is not None and e.stream.health_check is not None]
    if not asking:
        return
    here = at / "endpoints" / asking[-1] / "stream" / "health_check"
    node = _written(found, asking[-1])
    if made.health is not None:
        here.not_yet(node, "stream.health_check beside health: give one of the two")
    elif len(asking) > 1:
        here.refuse(
            node, "several endpoints have a stream.health_check: one says when a replica is ready", kind="Conflict"
        )


def _written(found: Table, number: int) -> Node:
    """The health check of an endpoint, or what is nearest to it."""
    endpoints = found.get("endpoints")
    entry = endpoints.items[number] if isinstance(endpoints, Listing) and number < len(endpoints.items) else found
    stream = entry.get("stream") if isinstance(entry, Table) else None
    check = stream.get("health_check") if isinstance(stream, Table) else None
    return check or stream or entry


def _update(made: ServiceSpec, found: Table, at: At) -> None:
    strategy = made.update.strategy
    if strategy == "rolling":
        return
    place = at / "update"
    update = found.get("update")
    node = update.get("strategy") if isinstance(update, Table) else None
    mode = "container" if shares(made.network_mode) else made.network_mode
    if mode in ("host", "container"):
        message = f"{strategy} needs old and new side by side, which network_mode: {mode} does not allow"
        (place / "strategy").refuse(node or found, message, suggestion="rolling", kind="Conflict")
    elif all(endpoint.transport == "udp" for endpoint in made.endpoints):
        message = (
            f"{strategy} moves traffic at the proxy, and this service has no http, https, websocket or tcp endpoint"
        )
        (place / "strategy").refuse(node or found, message, suggestion="rolling", kind="Conflict")


def _refuse(found: Table, at: At, key: str, message: str, *, kind: str = "Conflict") -> None:
    place = at / key if key else at
    node = found.entries[key][0] if key in found.entries else found
    place.refuse(node, message, kind=kind)
