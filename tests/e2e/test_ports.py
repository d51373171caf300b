"""Ports that cannot be had and a proxy that is not there: said at once, by name, with an exit code that tells."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.site import CONFIG, Site, deployment, service

from .conftest import Registries, missing
from .test_traffic import _status, endpoint, free_port, get, page, soon, up

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@contextmanager
def taken(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[int]:
    """A port that this process has on every address."""
    with socket.socket(type=kind) as holder:
        holder.bind(("0.0.0.0", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        yield int(holder.getsockname()[1])


def test_an_endpoint_whose_port_another_program_has(site: Site, busybox: str) -> None:
    with taken() as port:
        web = service(busybox, command=page("late"), endpoints=[endpoint(port, expose=True)])
        done = site.cli("up", "-d", site.write(deployment("shop", web=web)), check=False)
        assert done.returncode == 1
        assert f"web: cannot listen on 0.0.0.0:{port}: in use by " in done.stderr
        assert f"(pid {os.getpid()})" in done.stderr
        assert f"running: cannot listen on 0.0.0.0:{port}" in site.cli("ps").stdout
        assert f"web: cannot listen on 0.0.0.0:{port}" in site.cli("why", "--deployment", "shop", "web").stdout
        assert str(port) in str(_status(site)["failing"])
        other = service(busybox, command=page("fine"), endpoints=[endpoint(free_port(), expose=True)])
        up(site, deployment("blog", web=other))
    soon(lambda: get(port) == (200, "late"), "it takes the port when that is free")
    up(site, deployment("shop", web=web))
    assert _status(site)["failing"] == {}


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_published_port_another_program_has(site: Site, busybox: str, kind: socket.SocketKind) -> None:
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with taken(kind) as port:
        mapping = {"host_port": port, "container_port": 80, "protocol": protocol}
        web = service(busybox, command=page("late"), port_mappings=[mapping])
        done = site.cli("up", "-d", site.write(deployment("shop", web=web)), check=False)
        assert done.returncode == 1
        assert f"web: {protocol} port {port} is in use by " in done.stderr
        assert f"(pid {os.getpid()})" in done.stderr
    up(site, deployment("shop", web=web))


def test_two_deployments_cannot_have_one_port(site: Site, busybox: str) -> None:
    port = free_port()
    web = service(busybox, command=page("first"), endpoints=[endpoint(port, expose=True)])
    up(site, deployment("shop", web=web))
    done = site.cli("up", "-d", site.write(deployment("blog", web=web)), check=False)
    assert done.returncode == 6
    assert f"port {port}/tcp for any host is taken: endpoint 'e{port}' of shop/web has it" in done.stderr
    mapped = service(busybox, command=page("second"), port_mappings=[{"host_port": port, "container_port": 80}])
    done = site.cli("up", "-d", site.write(deployment("blog", web=mapped)), check=False)
    assert done.returncode == 6
    assert "of shop/web has it" in done.stderr
    assert "blog" not in site.cli("ps", "-q").stdout.split()
    assert get(port) == (200, "first")


def test_a_port_goes_from_one_deployment_to_the_next(site: Site, busybox: str) -> None:
    port = free_port()
    proxied = service(busybox, command=page("proxied"), endpoints=[endpoint(port, expose=True)])
    mapped = service(busybox, command=page("mapped"), port_mappings=[{"host_port": port, "container_port": 80}])
    for name, web in (("one", proxied), ("two", mapped), ("three", proxied)):
        up(site, deployment(name, web=web))
        wanted = web["command"]["args"][0].split("'")[1]
        soon(lambda: get(port) == (200, wanted), f"{name} has the port")  # noqa: B023 - called at once
        site.cli("stop", name)


class BareSite(Site):
    """A machine without HAProxy: every program that is on the path, but that one."""

    @property
    def environ(self) -> dict[str, str]:
        return {**super().environ, "PATH": str(self.programs())}

    def programs(self) -> Path:
        made = self.root / "bin"
        if not made.exists():
            made.mkdir()
            for directory in os.environ["PATH"].split(os.pathsep):
                for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
                    if program.name != "haproxy" and not (made / program.name).is_symlink():
                        (made / program.name).symlink_to(program)
        return made


@pytest.fixture
def bare(registries: Registries) -> Iterator[Site]:
    if reason := missing():
        pytest.skip(reason)
    with BareSite(CONFIG) as site:
        site.start()
        yield site


def test_without_haproxy_endpoints_are_refused_at_once(bare: Site, busybox: str) -> None:
    web = service(busybox, command=page("x"), endpoints=[endpoint(free_port(), expose=True)])
    for verb in (("up", "-d"), ("up",), ("deploy",), ("plan",)):
        done = bare.cli(*verb, bare.write(deployment("shop", web=web)), check=False)
        assert done.returncode == 7
        assert "the endpoints of web cannot be served: HAProxy is not installed" in done.stderr
        assert "apt-get install haproxy" in done.stderr
    assert bare.cli("ps", "-q").stdout == ""
    doctor = bare.cli("doctor", check=False)
    assert doctor.returncode == 1
    assert "endpoints cannot be served: HAProxy is not installed" in doctor.stdout
    plain: dict[str, Any] = service(busybox, command=page("x"))
    up(bare, deployment("plain", web=plain))
    bare.cli("down", "plain")
