"""Parts of the data plane are killed one by one: each heals, is told, and traffic to the others is not touched."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.leaks import snapshot_machine
from zlayer.testing.site import Site, deployment, service

from .test_traffic import STAY, endpoint, fetch, get, inside, page, port, python, soon, steady

__all__ = ["port", "python"]
pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
CYCLES = int(os.environ.get("ZLAYER_CYCLES", "4"))


def up(site: Site, image: str, at: int, ask: str = "") -> None:
    web = service(image, 2, command=page("here"), endpoints=[endpoint(at, expose=True)])
    site.cli("up", "-d", site.write(deployment("shop", web=web, ask=service(ask or image, command=STAY))))
    soon(lambda: get(at) == (200, "here"), "it serves")


def processes(site: Site, *words: str) -> list[int]:
    """Pids of this daemon's processes whose command line has all the words."""
    listed = (line.split(" ", 1) for line in snapshot_machine(site.paths.root).processes)
    return [int(pid) for pid, argv in listed if all(word in argv for word in words)]


def kill(pids: list[int]) -> None:
    """All of them; a worker ends by itself once its master is gone."""
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def asks(site: Site) -> bool:
    return inside(site, "shop", "ask", *fetch("http://web/")).stdout == "here\n"


def test_a_killed_proxy_comes_back(site: Site, busybox: str, port: int) -> None:
    up(site, busybox, port)
    kill(processes(site, "haproxy"))
    soon(lambda: get(port) == (200, "here"), "the proxy is back", within=10)


def test_a_killed_name_server_comes_back(site: Site, busybox: str, python: str, port: int) -> None:
    up(site, busybox, port, python)
    soon(lambda: asks(site), "names are answered")
    kill(processes(site, "dns"))
    soon(lambda: asks(site), "names are answered again", within=10)


def test_a_killed_replica_is_never_missed(site: Site, busybox: str, port: int) -> None:
    up(site, busybox, port)
    with steady(port) as seen:
        for _ in range(5):
            victim = site.running("web")[0]
            os.kill(victim["pid"], signal.SIGKILL)
            soon(lambda: victim["id"] not in [o["id"] for o in site.running("web")], "it is gone")  # noqa: B023
            soon(lambda: len(site.running("web")) == 2, "another is there")
    failed = [status for status in seen if status != 200]
    assert len(failed) <= 5, f"at most the request each had under way: {failed}"


def test_a_killed_monitor_ends_nothing(site: Site, busybox: str, port: int) -> None:
    up(site, busybox, port)
    before = {one["id"] for one in site.running("web")}
    with steady(port) as seen:
        os.kill(processes(site, "conmon", "shop-web-1")[0], signal.SIGKILL)
        soon(lambda: "unwatched" in site.cli("events").stdout, "it is told")
    assert set(seen) == {200}
    assert {one["id"] for one in site.running("web")} == before


@pytest.mark.parametrize("what", ["ruleset", "bridge"])
def test_what_somebody_takes_from_the_network_is_put_back(
    site: Site, busybox: str, python: str, port: int, what: str
) -> None:
    up(site, busybox, port, python)
    soon(lambda: asks(site), "names are answered")
    if what == "ruleset":
        for table in ours(site):
            subprocess.run(["nft", "delete", "table", *table.split()], check=True)
    else:
        for name in [name for name in os.listdir("/sys/class/net") if name.startswith(f"zl{site.paths.id}")]:  # noqa: PTH208
            if Path(f"/sys/class/net/{name}/bridge").exists():
                subprocess.run(["ip", "link", "delete", name], check=True)
    soon(lambda: get(port) == (200, "here") and asks(site), f"the {what} is back", within=10)


def ours(site: Site) -> list[str]:
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    return [line.removeprefix("table ") for line in listed.splitlines() if site.paths.id in line]


def test_traffic_goes_on_without_a_daemon(site: Site, busybox: str, port: int) -> None:
    up(site, busybox, port)
    with steady(port) as seen:
        site.kill()
        soon(lambda: len(seen) > 30, "requests go on")
        site.start()
        soon(lambda: len(site.running("web")) == 2, "they are adopted")
    assert set(seen) == {200}


@pytest.mark.timeout(240 + 10 * CYCLES)
def test_cycles_leave_nothing(site: Site, busybox: str, port: int) -> None:
    web: dict[str, Any] = service(
        busybox, 2, command=page("here"), stop_grace_period="0s",
        endpoints=[endpoint(port, expose=True), endpoint(8081), {**endpoint(5353), "protocol": "udp"}],
        port_mappings=[{"container_port": 80}],
    )  # fmt: skip
    path = site.write(deployment("cycle", web=web))
    before = site.census()
    for number in range(CYCLES):
        site.cli("up", "-d", path)
        site.cli("scale", "--deployment", "cycle", "--wait", f"web={number % 3 + 1}")
        site.cli("down", "cycle")
    site.assert_clean(before)
