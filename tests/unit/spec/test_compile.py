from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zlayer.model import container as c
from zlayer.model.endpoint import Endpoint
from zlayer.model.errors import Invalid
from zlayer.model.instance import Dependency, Service
from zlayer.model.units import Bytes, Cpu
from zlayer.spec.compile import compile_deployment
from zlayer.spec.load import load

EXAMPLES = Path(__file__).parents[3] / "examples"
BASE = Path("/srv/shop")


def service(**keys: Any) -> Service:
    document = {"version": "v1", "deployment": "shop", "services": {"web": {"image": {"name": "a"}, **keys}}}
    return compile_deployment(load(json.dumps(document)), environ={"REGION": "eu"}, base=BASE).services["web"]


def container(**keys: Any) -> c.ContainerSpec:
    return service(**keys).container


def test_an_image_alone_is_a_whole_container() -> None:
    assert service() == Service(container=c.ContainerSpec(image="a"), replicas=1, scale_mode="adaptive")


def test_the_shop() -> None:
    compiled = compile_deployment(load((EXAMPLES / "shop.zlayer.yml").read_text()), environ={})
    assert (compiled.name, list(compiled.services)) == ("shop", ["db", "cache", "api"])
    api, db = compiled.services["api"], compiled.services["db"]
    assert api.depends == (
        Dependency(service="db", condition="healthy", timeout=120),
        Dependency(service="cache", on_timeout="warn"),
    )
    assert (api.replicas, api.min_replicas, api.max_replicas) == (2, 2, 6)
    assert api.container.health == c.Health(check=c.HttpCheck(port=8080, path="/"))
    assert api.container.restart == c.Restart(kind="on_failure", max_attempts=5)
    assert db.container.resources == c.Resources(cpu=Cpu(1), memory=Bytes(1 << 30), pids=200)
    assert db.container.mounts == (c.VolumeMount(name="pgdata", target="/var/lib/postgresql/data"),)
    assert (db.container.stop_signal, float(db.container.stop_grace)) == ("SIGINT", 30)
    assert db.endpoints == (Endpoint(name="sql", protocol="tcp", port=5432, target_port=5432),)


@pytest.mark.parametrize(
    ("scale", "counts"),
    [({"mode": "fixed", "replicas": 3}, (3, 3, 3)), ({"mode": "adaptive", "min": 2}, (2, 2, 10)),
     ({"mode": "manual"}, (1, 0, 10_000)), ({"mode": "adaptive", "min": 0, "max": 4}, (0, 0, 4))],
)  # fmt: skip
def test_counts(scale: dict[str, Any], counts: tuple[int, int, int]) -> None:
    made = service(scale=scale)
    assert (made.replicas, made.min_replicas, made.max_replicas) == counts
    assert made.scale_mode == scale["mode"]


def endpoint(protocol: str, port: int) -> dict[str, Any]:
    return {"name": f"e{port}", "protocol": protocol, "port": port}


@pytest.mark.parametrize(
    ("endpoints", "port"),
    [([], None), ([endpoint("udp", 53)], None), ([endpoint("http", 80)], 80),
     ([endpoint("udp", 53), endpoint("tcp", 54), endpoint("tcp", 55)], 54)],
)  # fmt: skip
def test_health_left_out_is_a_tcp_check_of_the_first_endpoint(endpoints: list[Any], port: int | None) -> None:
    health = container(endpoints=endpoints).health
    assert health == (c.Health(check=c.TcpCheck(port=port)) if port else None)


def test_health_in_every_form() -> None:
    made = container(health={"start_grace": "1s", "interval": "2s", "timeout": "3s", "retries": 4,
                             "check": {"type": "tcp", "port": 9}}).health  # fmt: skip
    assert made is not None
    assert [float(made.start_grace), float(made.interval), float(made.timeout)] == [1, 2, 3]
    assert made.retries == 4
    url = {"type": "http", "url": "http://127.0.0.1/a?b=c", "expect_status": 204}
    made = container(health={"check": url}).health
    assert made is not None
    assert made.check == c.HttpCheck(port=80, path="/a?b=c", expect_status=204)
    made = container(health={"check": {"type": "command", "command": "true"}}).health
    assert made is not None
    assert made.check == c.CommandCheck(command="true")
    made = container(endpoints=[endpoint("tcp", 7)], health={"check": {"type": "tcp"}}).health
    assert made is not None
    assert made.check == c.TcpCheck(port=7)


def test_mounts() -> None:
    storage = [
        {"type": "bind", "source": "../data", "target": "/a", "readonly": True},
        {"type": "bind", "source": "/x/./y", "target": "/b"},
        {"type": "anonymous", "target": "/c"},
        {"type": "tmpfs", "target": "/d", "size": "1Mi", "mode": 0o1777},
    ]
    assert container(storage=storage).mounts == (
        c.BindMount(source="/srv/data", target="/a", readonly=True),
        c.BindMount(source="/x/y", target="/b"),
        c.VolumeMount(name=None, target="/c"),
        c.TmpfsMount(target="/d", size=Bytes(1 << 20), mode=0o1777),
    )


def test_the_docker_like_keys() -> None:
    made = container(
        env={"A": "$E:REGION", "B": 1}, cap_add=["net_admin"], cap_drop=["ALL"], stop_signal="int", user=1000,
        security_opt=["no-new-privileges:false", "seccomp:unconfined"], pid_mode="host", ipc_mode="host",
        host_network=True, devices=[{"path": "/dev/fuse", "write": False, "mknod": True}],
        ulimits={"core": {"hard": 0}}, platform={"os": "linux", "arch": "arm64"}, logs={"max_size_bytes": "1Mi"},
        sysctls={"net.ipv4.ip_forward": 1},
        extra_groups=[7], read_only_root_fs=True, tty=True, stdin_open=True, hostname="h", labels={"a": True},
    )  # fmt: skip
    expected = c.ContainerSpec(
        image="a", env={"A": "eu", "B": "1"}, cap_add=("CAP_NET_ADMIN",), cap_drop=("ALL",), stop_signal="SIGINT",
        user="1000", no_new_privileges=False, seccomp="unconfined", pid_mode="host", ipc_mode="host",
        network_mode="host", devices=(c.Device(path="/dev/fuse", access="rm"),),
        ulimits=(c.Ulimit(name="core", soft=0, hard=0),), platform="linux/arm64", log_max_size=Bytes(1 << 20),
        sysctls={"net.ipv4.ip_forward": "1"}, extra_groups=("7",), read_only_root=True, tty=True, stdin_open=True,
        hostname="h", labels={"a": "true"},
    )  # fmt: skip
    assert made == expected


def test_everything_missing_is_told_at_once_with_its_place() -> None:
    text = """\
version: v1
deployment: shop
services:
  web:
    image: {name: a}
    env: {A: $E:REGON, B: $E:NOWHERE}
    storage:
      - {type: bind, source: data, target: /data}
"""
    with pytest.raises(Invalid) as caught:
        compile_deployment(load(text, file="shop.yml"), environ={"REGION": "eu"})
    assert (
        "\n".join(str(p) for p in caught.value.problems)
        == """\
shop.yml:6:14: services.web.env.A: the variable REGON is not set on the daemon's host (did you mean '$E:REGION'?)
shop.yml:6:27: services.web.env.B: the variable NOWHERE is not set on the daemon's host
shop.yml:8:30: services.web.storage.0.source: the source 'data' is relative to no file: write the whole path"""
    )


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_what_loads_compiles_and_equal_specs_have_equal_digests(
    documents: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    document = data.draw(documents)
    specs = (load(json.dumps(document)), load(json.dumps(document, indent=3), file="other"))
    one, two = (compile_deployment(spec, environ={"HOME": "/root"}, base=BASE) for spec in specs)
    assert one == two
    digests = [[s.container.digest() for s in made.services.values()] for made in (one, two)]
    assert digests[0] == digests[1]
