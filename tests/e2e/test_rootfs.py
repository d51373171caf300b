"""Containers on each root file system driver: they run, outlive the daemon, and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zlayer.testing.imagery_drivers import lacking
from zlayer.testing.site import CONFIG, Site, deployment, service

from .conftest import missing
from .test_traffic import STAY

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture(params=["copy", "fuse-overlayfs", "erofs"])
def apart(request: pytest.FixtureRequest) -> Iterator[Site]:
    if reason := missing():
        pytest.skip(reason)
    if reason := lacking(request.param):
        pytest.skip(reason)
    with Site(f'{CONFIG}rootfs = "{request.param}"\n') as site:
        site.start()
        yield site


def sh(site: Site, script: str) -> str:
    return site.cli("exec", "--deployment", "shop", "web", "--", "sh", "-c", script).stdout.strip()


def test_a_container_keeps_what_it_wrote_over_a_killed_daemon(apart: Site, busybox: str) -> None:
    before = apart.census()
    apart.cli("up", "-d", apart.write(deployment("shop", web=service(busybox, command=STAY))))
    [first] = apart.running("web")
    assert sh(apart, "echo kept > /mine && mkdir /d && mv /d /e && rm /bin/ls && cat /mine") == "kept"
    apart.kill()
    apart.start()
    apart.until(lambda: [one["id"] for one in apart.running("web")] == [first["id"]], "it is adopted")
    assert sh(apart, "cat /mine; test -d /e && test ! -e /bin/ls && echo still") == "kept\nstill"
    assert (
        apart.cli("run", "--rm", busybox, "sh", "-c", "test -e /bin/ls && test ! -e /mine && echo new").stdout
        == "new\n"
    )
    apart.cli("down", "shop")
    apart.assert_clean(before)


def test_containers_of_another_driver_run_on(apart: Site, busybox: str) -> None:
    before = apart.census()
    apart.cli("up", "-d", apart.write(deployment("shop", web=service(busybox, command=STAY))))
    [first] = apart.running("web")
    apart.kill()
    config = apart.data / "config.toml"
    config.write_text(config.read_text().replace("rootfs = ", "#"))
    apart.start()
    apart.until(lambda: [one["id"] for one in apart.running("web")] == [first["id"]], "it is adopted")
    assert sh(apart, "echo fine") == "fine"
    apart.cli("scale", "--deployment", "shop", "--wait", "web=2")
    apart.cli("down", "shop")
    apart.assert_clean(before)
