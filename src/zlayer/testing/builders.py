"""Short ways to make the values tests are about."""

from __future__ import annotations

from typing import Any

from zlayer.model.container import ContainerSpec
from zlayer.model.endpoint import Update
from zlayer.model.instance import Deployment, Instance, InstanceStatus, Node, Service, State
from zlayer.model.units import Seconds, Timestamp
from zlayer.plan.seen import Seen

SUBNET = "10.77.0.0/24"


def container(image: str = "example.test/app:1", **fields: Any) -> ContainerSpec:  # Any: ContainerSpec's own fields
    return ContainerSpec(image=image, **fields)


def service(replicas: int = 1, image: str = "example.test/app:1", **fields: Any) -> Service:
    """Updated without a trial, unless `update` says otherwise."""
    own = {key: fields.pop(key) for key in list(fields) if key in Service.model_fields}
    own.setdefault("update", Update(min_ready=Seconds(0)))
    return Service(container=container(image, **fields), replicas=replicas, **own)


def deployment(name: str = "shop", revision: int = 1, **services: Service) -> Deployment:
    return Deployment(name=name, revision=revision, services=services, created_at=Timestamp(1))


def node(node_id: str = "n1", **fields: Any) -> Node:
    defaults: dict[str, Any] = {
        "subnet": SUBNET,
        "platform": "linux/amd64",
        "cpus": 2,
        "memory": 1 << 30,
        "runtime": "fake",
    }
    return Node(id=node_id, **{**defaults, **fields})


def status(instance: Instance, state: State, **fields: Any) -> InstanceStatus:
    if state.ended:
        fields = {"finished_at": Timestamp(10), "released": True, **fields}
    return InstanceStatus(id=instance.id, node=instance.node or "n1", state=state, **fields)


def seen(instance: Instance, state: State | None = None, **fields: Any) -> Seen:
    return Seen(instance, None if state is None else status(instance, state, **fields))


def spec_text(name: str = "shop", **services: dict[str, Any]) -> str:
    """A deployment file in JSON, which is YAML."""
    import json

    written = {
        key: {"image": {"name": "example.test/app:1"}, "scale": {"mode": "fixed", "replicas": 1}, **value}
        for key, value in services.items()
    }
    return json.dumps({"version": "v1", "deployment": name, "services": written})
