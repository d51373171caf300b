"""Endpoints, published ports and updates of a spec, compiled."""

from __future__ import annotations

from collections.abc import Callable

from zlayer.model.endpoint import Endpoint, Limits, PublishedPort, Step, Timeouts, Tls, Update
from zlayer.spec import traffic as t
from zlayer.spec.ports import EVERYWHERE

ResolvePath = Callable[[str, str], str]
"""The whole path of one written under the given key."""


def endpoint(spec: t.EndpointSpec, whole: ResolvePath) -> Endpoint:
    times = {name: value for name, value in spec.timeouts if value is not None}
    stream = spec.stream or t.StreamSpec()
    session = {} if stream.session_timeout is None else {"session": stream.session_timeout}
    return Endpoint(
        name=spec.name,
        protocol=spec.protocol,
        port=spec.port,
        target_port=spec.target_port,
        public=spec.expose == "public",
        host=spec.host,
        path=spec.path or "/",
        strip_path=spec.strip_path,
        http2=spec.http2,
        balance=spec.balance,
        sticky=spec.sticky,
        proxy_protocol=stream.proxy_protocol,
        tls=_tls(spec.tls, whole),
        limits=Limits(**dict(spec.limits)),
        timeouts=Timeouts(**times),
        **session,
    )


def _tls(spec: t.TlsSpec | None, whole: ResolvePath) -> Tls | None:
    if spec is None:
        return None
    certificate = whole(spec.certificate, "certificate") if spec.certificate is not None else None
    key = whole(spec.key, "key") if spec.key is not None else None
    return Tls(mode=spec.mode, certificate=certificate, key=key)


def port(spec: t.PortSpec) -> PublishedPort:
    return PublishedPort(
        host_port=spec.host_port,
        container_port=spec.container_port,
        protocol=spec.protocol,
        host_ip="" if spec.host_ip in EVERYWHERE else spec.host_ip,
    )


def update(spec: t.UpdateSpec) -> Update:
    """Steps that no canary has stay the model's own, so that equal updates are equal documents."""
    values = dict(spec)
    steps = tuple(Step(weight=s.weight, pause=s.pause) for s in spec.steps)
    return Update(**(values | {"steps": steps or Update().steps}))
