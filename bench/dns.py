"""Answers a second of one core and how long they take: our name server, unbound and dnsmasq, in turns in one run.

    python bench/dns.py [--rounds 5] [--seconds 2] [--services 1000] [--json FILE]

Needs dnsperf, and for the peers unbound and dnsmasq (dnsmasq-base); what is missing is said. Every server has the same
names (services of three replicas each), one thread, and the last core to itself; dnsperf has the first. Of the
questions, 60 % are for a service (three addresses), 20 % for a replica (one), 10 % for IPv6 addresses there are none
of, 10 % for names that do not exist, as a search list makes them. Rounds go server by server; the median counts.
The figure to trust is the server's own processor time per answer; `one core` is what that allows. Answers a second
as dnsperf sees them and p99 depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from dns_peers import DNSMASQ, UNBOUND, UNBOUND_RECORD
from zlayer.model.zone import View, Zone
from zlayer.network.dns.process import DnsProcess
from zlayer.testing.name_bench import ask

LAST, FIRST = str((os.cpu_count() or 1) - 1), "0"
CALM = 2000
"""Questions a second at which latency is looked at."""
DOMAIN, TTL, REPLICAS = "service.local", 5, 3
WANTED = 15_000

Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    address: str
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Round:
    rate: float
    """Answers a second, as many as it could."""
    cpu: float
    """Microseconds of its processor time per answer."""
    p50: float
    p99: float
    """Microseconds, at `CALM` questions a second."""


def main(rounds: int, seconds: int, services: int, document: Path | None) -> None:
    names = _names(services)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zlb", dir="/tmp")))
        questions = work / "questions"
        questions.write_text(_questions(names))
        servers = [stack.enter_context(_ours(work, names))]
        for name, program, made in (("unbound", "unbound", _unbound), ("dnsmasq", "dnsmasq", _dnsmasq)):
            if shutil.which(program) is None:
                print(f"{name}: not here, so not measured (apt-get install {name})")
                continue
            servers.append(stack.enter_context(made(work, names)))
        for server in servers:
            _check(server, names)
        found = _measure(servers, questions, rounds, seconds)
    _show(servers, found)
    if document is not None:
        document.write_text(json.dumps({name: [vars_of(one) for one in each] for name, each in found.items()}))


def vars_of(one: Round) -> dict[str, float]:
    return {"rate": one.rate, "cpu": one.cpu, "p50": one.p50, "p99": one.p99}


def _names(services: int) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for n in range(services):
        each = tuple(f"10.{n // 250}.{n % 250}.{slot + 1}" for slot in range(REPLICAS))
        found[f"web{n}.{DOMAIN}"] = each
        found |= {f"{slot + 1}.web{n}.{DOMAIN}": (each[slot],) for slot in range(REPLICAS)}
    return found


def _questions(names: Names, count: int = 20_000) -> str:
    chance = random.Random(1)
    services = [name for name, found in names.items() if len(found) > 1]
    replicas = [name for name, found in names.items() if len(found) == 1]
    lines = []
    for _ in range(count):
        dice = chance.random()
        if dice < 0.6:
            lines.append(f"{chance.choice(services)} A")
        elif dice < 0.8:
            lines.append(f"{chance.choice(replicas)} A")
        elif dice < 0.9:
            lines.append(f"{chance.choice(services)} AAAA")
        else:
            lines.append(f"host{chance.randrange(1000)}.example.{DOMAIN} A")
    return "\n".join(lines) + "\n"


# Measuring.


def _measure(servers: list[Server], questions: Path, rounds: int, seconds: int) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {server.name: [] for server in servers}
    for turn in range(rounds + 1):
        start = turn % len(servers)
        for server in servers[start:] + servers[:start]:
            one = _round(server, questions, seconds)
            if turn:  # the first warms up
                found[server.name].append(one)
    return found


def _round(server: Server, questions: Path, seconds: int) -> Round:
    before = _processor(server.pid)
    said = _dnsperf(server, questions, seconds, "-c", "8", "-q", "100")
    spent = _processor(server.pid) - before
    answers, rate = int(_found(r"Queries completed:\s+(\d+)", said)), float(_found(r"per second:\s+([\d.]+)", said))
    shares = {code: float(share) for code, share in re.findall(r"(NOERROR|NXDOMAIN) \d+ \(([\d.]+)%\)", said)}
    assert abs(shares["NXDOMAIN"] - 10) < 1.5, said
    assert abs(sum(shares.values()) - 100) < 0.1, said
    calm = _dnsperf(server, questions, seconds, "-c", "8", "-Q", str(CALM), "-v")
    times = sorted(float(line.split()[-1]) for line in calm.splitlines() if line.startswith("> "))
    return Round(rate, spent * 1e6 / answers, _at(times, 0.5), _at(times, 0.99))


def _dnsperf(server: Server, questions: Path, seconds: int, *options: str) -> str:
    argv = ["taskset", "-c", FIRST, "dnsperf", "-s", server.address, "-p", str(server.port), "-d", str(questions)]
    done = subprocess.run([*argv, "-l", str(seconds), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr)
    return done.stdout


def _found(pattern: str, said: str) -> str:
    found = re.search(pattern, said)
    assert found, said
    return found[1]


def _at(times: list[float], share: float) -> float:
    return times[int(len(times) * share)] * 1e6


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _check(server: Server, names: Names) -> None:
    """It has the names, once it is up."""
    name, wanted = next(iter(names.items()))
    for _ in range(100):
        if (got := ask(server.address, server.port, name)) is not None:
            assert sorted(got) == sorted(wanted), (server.name, got)
            return
        time.sleep(0.1)
    raise AssertionError(f"{server.name} does not answer")


def _show(servers: list[Server], found: Mapping[str, list[Round]]) -> None:
    print(f"{'':10}{'CPU us':>9}{'of ours':>9}{'one core /s':>13}{'seen /s':>10}{'p50 us':>9}{'p99 us':>9}", end="")
    print(f"   (load {os.getloadavg()[0]:.1f}; p50 and p99 at {CALM}/s)")
    ours = statistics.median(one.cpu for one in found[servers[0].name])
    for server in servers:
        each = found[server.name]
        cpu, rate, p50, p99 = (
            statistics.median(getattr(r, key) for r in each) for key in ("cpu", "rate", "p50", "p99")
        )
        print(f"{server.name:10}{cpu:9.1f}{cpu / ours:9.2f}{1e6 / cpu:13.0f}{rate:10.0f}{p50:9.0f}{p99:9.0f}")
    print(f"wanted: {WANTED} answers/s of one core: {'reached' if 1e6 / ours >= WANTED else 'MISSED'}")


# The servers.


@contextmanager
def _ours(work: Path, names: Names) -> Iterator[Server]:
    """The process as the daemon starts and tells it."""
    address, port = "127.53.0.1", _free("127.53.0.1")
    pids: list[int] = []
    server = DnsProcess(work / "ours", port=port, place=pids.append)

    async def start() -> None:
        await server.apply(Zone(domain=DOMAIN, ttl=TTL, views=(View("bench", (address,), names),)))
        await server.close()

    async def end() -> None:
        await DnsProcess(work / "ours", port=port).destroy()

    anyio.run(start)
    subprocess.run(["taskset", "-acp", LAST, str(pids[0])], check=True, capture_output=True)
    try:
        yield Server("ours", address, port, pids[0])
    finally:
        anyio.run(end)


@contextmanager
def _unbound(work: Path, names: Names) -> Iterator[Server]:
    address, port = "127.53.0.2", _free("127.53.0.2")
    records = "\n".join(
        UNBOUND_RECORD.format(name=name, ttl=TTL, address=one) for name, found in names.items() for one in found
    )
    config = work / "unbound.conf"
    config.write_text(UNBOUND.format(address=address, port=port, work=work, domain=DOMAIN, ttl=TTL, records=records))
    with _running(work, "unbound", ["unbound", "-d", "-c", str(config)]) as pid:
        yield Server("unbound", address, port, pid)


@contextmanager
def _dnsmasq(work: Path, names: Names) -> Iterator[Server]:
    address, port = "127.53.0.3", _free("127.53.0.3")
    (work / "hosts").write_text("".join(f"{one} {name}\n" for name, found in names.items() for one in found))
    config = work / "dnsmasq.conf"
    config.write_text(DNSMASQ.format(address=address, port=port, work=work, domain=DOMAIN, ttl=TTL))
    with _running(work, "dnsmasq", ["dnsmasq", "-k", f"--conf-file={config}"]) as pid:
        yield Server("dnsmasq", address, port, pid)


@contextmanager
def _running(work: Path, name: str, argv: list[str]) -> Iterator[int]:
    with (work / f"{name}.out").open("w") as out:
        started = subprocess.Popen(["taskset", "-c", LAST, *argv], stdout=out, stderr=out)
        try:
            yield started.pid
        finally:
            started.terminate()
            started.wait()


def _free(address: str) -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="the figures of each round, for a program")
    given = parser.parse_args()
    if missing := [tool for tool in ("dnsperf", "taskset") if shutil.which(tool) is None]:
        sys.exit(f"needs {', '.join(missing)}: apt-get install dnsperf util-linux")
    main(given.rounds, given.seconds, given.services, given.json)
