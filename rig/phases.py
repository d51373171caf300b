"""What the rig does behind the proxy while the load goes on. Each phase says what it did."""

from __future__ import annotations

import json
import socket
import ssl
import statistics
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from stage import Stage, free_ports
from zlayer.testing.site import deployment

Phase = Callable[[Stage], str]
END = "-----END CERTIFICATE-----\n"


def updates(replicas: int) -> Phase:
    def run(on: Stage) -> str:
        on.serves(on.deploy(replicas))
        spans = []
        for _ in range(on.measure.updates):
            began = time.monotonic()
            on.serves(on.deploy(replicas))
            spans.append(time.monotonic() - began)
        each = f"{statistics.median(spans):.1f} s each, at most {max(spans):.1f}"
        return f"{len(spans)} rolling updates of {replicas} replica{'s' if replicas > 1 else ''}, {each}"

    return run


def certificates(on: Stage) -> str:
    """Another certificate for the same name: in turn in other files, and in the same ones with a wish beside it.

    The wish makes the daemon look at the files now, which it does every 30 seconds by itself.
    """
    before, spans = on.generation, []
    for number in range(on.measure.certificates):
        if number % 2:
            on.certificates.renew(on.tls)
        else:
            on.tls = on.certificates.next()
        on.response = 60 + number % 30
        on.diary.note(f"certificate {number + 1} wished, in {'the same' if number % 2 else 'other'} files")
        began = time.monotonic()
        on.reroute()
        on.until(lambda: shown(on) == expected(on), f"certificate {number + 1} is shown")
        spans.append(time.monotonic() - began)
    reloads = on.generation - before
    return f"{len(spans)} certificates swapped, {statistics.median(spans) * 1e3:.0f} ms each, {reloads} reloads"


def shown(on: Stage) -> bytes:
    """The leaf that a new client is shown, DER. Nothing where there is none: the load counts that."""
    context = ssl.create_default_context(cafile=str(on.certificates.ca))
    try:
        with (
            socket.create_connection(("127.0.0.1", on.tls_port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="rig.local") as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""
    except OSError as error:
        on.missed.append((time.time(), f"{type(error).__name__}: {error}"))
        return b""


def expected(on: Stage) -> bytes:
    leaf, _, _ = Path(on.tls["certificate"]).read_text().partition(END)
    return ssl.PEM_cert_to_DER_cert(leaf + END)


def kills(on: Stage) -> str:
    """kill -9 of the daemon at a different point of each update, and a new one."""
    for number in range(on.measure.kills):
        revision = on.deploy(4)
        time.sleep(0.15 * (number % 12))  # where in the update: that is what is varied
        on.diary.note("daemon killed")
        on.site.kill()
        on.site.start()
        on.diary.note("daemon started")
        on.serves(revision)
    return f"{on.measure.kills} updates of 4 replicas with the daemon killed half-way"


def reloads(on: Stage) -> str:
    """Listeners that come and go, and backends with them: what no runtime API can do."""
    before = on.generation
    for number in range(on.measure.reloads):
        [port] = free_ports(1)
        name = f"other{number}"
        other = {
            "image": {"name": on.image},
            "scale": {"mode": "fixed", "replicas": 1},
            "endpoints": [
                {"name": "http", "protocol": "http", "port": port, "target_port": 8080, "expose": "public",
                 "timeouts": {"connect": f"{number + 1}s"}}
            ],
            "stop_grace_period": "1s",
        }  # fmt: skip
        on.diary.note(f"listener {port} wished")
        on.client.deploy(json.dumps(deployment(name, web=other)))
        on.until(lambda: _open(port), f"port {port} answers")  # noqa: B023 - at once
        on.diary.note(f"listener {port} removed")
        on.client.remove(name)
        on.until(lambda: not _open(port), f"nobody listens on {port} any more")  # noqa: B023 - at once
    return f"{on.measure.reloads} listeners added and removed, {on.generation - before} reloads"


def scales(on: Stage) -> str:
    """Up and down, without an update."""
    for number in range(on.measure.scales):
        replicas = 1 + number * 2 % 5
        on.diary.note(f"scaled to {replicas}")
        on.client.scale("rig", {"web": replicas})
        on.until(lambda: _replicas(on) == replicas, f"{replicas} replicas serve")  # noqa: B023 - at once
    on.replicas = replicas
    return f"{on.measure.scales} times scaled, 1 to 5 replicas"


BAD = {
    "never ready": {"NEVER_READY": "1"},
    "crashes after 3 s": {"CRASH_AFTER": "3"},
    "answers 500": {"STATUS": "500"},
}


def broken(on: Stage) -> str:
    """Revisions that do not work: nobody reaches them, and they are undone."""
    good = str(on.revision)
    on.serves(good)
    for what, env in BAD.items():
        on.deploy(on.replicas, {"min_ready": "4s", "deadline": "8s"}, **env)
        on.diary.note(f"that one {what}")
        on.until(lambda: on.client.deployment("rig").status == "rolled_back", f"rolled back: {what}")
        on.serves(good)
    return f"{len(BAD)} revisions that do not work, undone: {', '.join(BAD)}"


def _replicas(on: Stage) -> int:
    return sum(one.servers for one in on.client.proxy_routes() if one.deployment == "rig" and one.endpoint == "http")


def _open(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
            return True
    except OSError:
        return False


PHASES: dict[str, Phase] = {
    "updates-1": updates(1),
    "updates-4": updates(4),
    "certificates": certificates,
    "reloads": reloads,
    "kill-9": kills,
    "scales": scales,
    "broken": broken,
}
