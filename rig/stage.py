"""What the phases act on: a daemon with a deployment `rig` behind two public ports, and the load on them."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crowd import PLAIN, TLS, Crowd, crowd
from diary import Diary
from load import Order
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.proxy.certs.authority import LocalAuthority
from zlayer.testing.debian_images import default_cache
from zlayer.testing.debian_layers import LayerCache
from zlayer.testing.debian_recipes import PYTHON
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry
from zlayer.testing.site import CONFIG, Site, deployment

HERE = Path(__file__).parent
WITHIN = 90.0
DRAIN = 5.0
"""Seconds beyond the slow answer that a replica which leaves is given."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How much of each phase there is."""

    updates: int = 100
    swaps: int = 1000
    rate: float = 25.0
    """Swaps per second."""
    certificates: int = 100
    reloads: int = 20
    kills: int = 20
    scales: int = 20
    cycles: int = 200
    recreations: int = 10
    """Of the peer."""
    slow: float = 10.0


QUICK = Measure(updates=8, swaps=150, certificates=10, reloads=4, kills=4, scales=6, cycles=10, recreations=3)


@dataclass(slots=True)
class Certificates:
    """Pairs for one name from an authority of the rig's own."""

    directory: Path
    name: str
    made: int = 0
    authority: LocalAuthority = field(init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir()
        self.authority = LocalAuthority(self.directory, "rig")

    @property
    def ca(self) -> Path:
        self.authority.id()
        return self.directory / "ca.pem"

    def next(self) -> dict[str, str]:
        """A new pair in files of its own, as `tls` of an endpoint has it."""
        self.made += 1
        paths = {what: str(self.directory / f"{self.made}.{what}") for what in ("certificate", "key")}
        self.renew(paths)
        return {"mode": "files", **paths}

    def renew(self, tls: Mapping[str, str]) -> None:
        """Another pair in the same files, as an ACME client of the operator's puts it there."""
        pair = self.authority.sign([self.name])
        for what, text in (("certificate", pair.chain), ("key", pair.key.reveal())):
            fresh = Path(f"{tls[what]}.new")
            fresh.write_text(text)
            fresh.replace(tls[what])


class Stage:
    """Phases wish (`deploy`), wait (`serves`), and say what they are at (`diary`). `missed` are their own losses."""

    def __init__(self, site: Site, image: str, measure: Measure) -> None:
        self.site, self.image, self.measure = site, image, measure
        self.plain, self.tls_port = free_ports()
        self.client = Client(Address(path=str(site.paths.socket)), timeout=120)
        self.diary = Diary()
        self.certificates = Certificates(site.root / "certificates", "rig.local")
        self.tls = self.certificates.next()
        self.response = 60
        self.revision = 0
        self.replicas = 1
        self.missed: list[tuple[float, str]] = []
        self._under_load = False

    @property
    def drain(self) -> float:
        return self.measure.slow + DRAIN

    def order(self) -> Order:
        ca = str(self.certificates.ca)
        return Order(self.plain, {**PLAIN, **TLS}, self.drain, self.tls_port, ca)

    @contextmanager
    def loaded(self) -> Iterator[Crowd]:
        with crowd(self.order(), self.diary) as clients:
            self._under_load = True
            yield clients
            self._under_load = False

    def deploy(self, replicas: int, update: Mapping[str, object] | None = None, **env: str) -> str:
        """Wish for the next revision; its number as the application answers with it."""
        self.revision += 1
        self.replicas = replicas
        wanted = str(self.revision)
        self.diary.note(f"revision {wanted} of {replicas} wished")
        self._wish({"REVISION": wanted, **env}, update or {})
        return wanted

    def reroute(self) -> None:
        """Wish for the same containers behind endpoints as they are now described: `tls`, `response` seconds."""
        self._wish({"REVISION": str(self.revision)}, {})

    def _wish(self, env: Mapping[str, str], update: Mapping[str, object]) -> None:
        self.client.deploy(json.dumps(self._spec(self.replicas, env, update)))

    def _spec(self, replicas: int, env: Mapping[str, str], update: Mapping[str, object]) -> dict[str, Any]:
        shared: dict[str, Any] = {"target_port": 8080, "expose": "public"}
        shared["timeouts"] = {"response": f"{self.response}s"}
        web: dict[str, Any] = {
            "image": {"name": self.image},
            "scale": {"mode": "fixed", "replicas": replicas},
            "env": {"SLOW": str(self.measure.slow), **env},
            "endpoints": [
                {"name": "http", "protocol": "http", "port": self.plain, **shared},
                {"name": "tls", "protocol": "https", "port": self.tls_port, "tls": self.tls, **shared},
            ],
            "health": {"interval": "1s", "check": {"type": "http", "path": "/", "port": 8080}},
            "update": {"min_ready": "0s", "drain": f"{self.drain:g}s", **update},
            "stop_grace_period": "10s",
        }
        return deployment("rig", web=web)

    def serves(self, revision: str, within: float = WITHIN) -> None:
        """Returns when ten answers in a row are of the revision."""
        deadline = time.monotonic() + within
        row = 0
        while row < 10:
            row = row + 1 if self.answer().startswith(f"{revision} ") else 0
            if row == 0:
                if time.monotonic() > deadline:
                    raise AssertionError(f"revision {revision} does not serve\n{self.standing()}")
                time.sleep(0.02)
        self.diary.note(f"revision {revision} serves")

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WITHIN
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {WITHIN:g} s: {what}\n{self.standing()}")
            time.sleep(0.02)

    def standing(self) -> str:
        """What the daemon says of itself, for whoever looks for the reason."""
        asked = (
            ["ps", "-c"],
            ["why", "--deployment", "rig", "web"],
            ["history", "rig"],
            ["proxy", "routes"],
            ["proxy", "backends"],
            ["status"],
        )
        answers = [self.site.cli(*words, check=False) for words in asked]
        return "\n".join([*(f"{one.stdout}{one.stderr}" for one in answers), self.site.log()])

    def answer(self) -> str:
        """What the rig itself is answered; that it is not, under load, is a failure as any other."""
        began = time.time()
        connection = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=30)
        try:
            connection.request("GET", "/", headers={"Host": "rig.local"})
            reply = connection.getresponse()
            text = reply.read().decode()
            if reply.status == 200:
                return text
            words = f"status {reply.status}"
        except (OSError, http.client.HTTPException) as error:
            words = f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        if self._under_load:
            self.missed.append((began, words))
        return ""

    @property
    def generation(self) -> int:
        """How often the proxy was reloaded, and once more."""
        found = (self.site.paths.run / "proxy").glob("structure-*.json")
        return max((int(path.stem.rpartition("-")[2]) for path in found), default=0)


@contextmanager
def stage(measure: Measure) -> Iterator[Stage]:
    """Everything up, one replica answering; all of it gone afterwards, whatever happened."""
    with ExitStack() as stack:
        site = stack.enter_context(Site(CONFIG))
        registry = stack.enter_context(Registry(site.root))
        reference = push(registry.target, "rig/app", "1", app_image())
        site.start()
        print(f"rig: a daemon over {site.paths.root}", flush=True)
        on = Stage(site, reference, measure)
        on.serves(on.deploy(1))
        yield on


def app_image() -> OciImage:
    """Debian's Python with `app.py` in it."""
    layers = LayerCache(default_cache())
    files = Tar().file("app.py", (HERE / "app.py").read_bytes(), mode=0o755)
    return image([layers.base(), layers.of(PYTHON), layer(files)], {**PYTHON.config, "Cmd": ["python3", "/app.py"]})


def free_ports(count: int = 2) -> Sequence[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
