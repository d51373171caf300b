"""One daemon per worker in front of three registries with the same images; each test leaves it as it found it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from zlayer.testing import registry
from zlayer.testing.debian_images import SAMPLES, debian_image
from zlayer.testing.imagery_push import push
from zlayer.testing.registry import PASSWORD, USERNAME, Registry
from zlayer.testing.site import CONFIG, Site


def missing() -> str:
    """Why nothing can run end to end here, or empty."""
    if os.geteuid() != 0:
        return "needs root: containers, mounts and networks are made"
    for names in (("runc", "crun", "youki"), ("conmon",), ("nft",), ("busybox",)):
        if not any(map(shutil.which, names)):
            return f"{' or '.join(names)} is not installed"
    return registry.missing()


@dataclass(frozen=True)
class Registries:
    """Three doors to one storage: what is pushed to one can be pulled from all."""

    plain: Registry
    tls: Registry
    token: Registry
    directory: Path

    @property
    def config(self) -> str:
        """The TLS registry by its address is trusted and known by config.toml alone; as `localhost` only trusted."""
        secret = self.directory / "password"
        secret.write_text(f"{PASSWORD}\n")
        return (
            f'{CONFIG}[pull]\nattempts = 2\n[registries."{self.tls.address}"]\nca = "{self.tls.ca}"\n'
            f'username = "{USERNAME}"\npassword_file = "{secret}"\n'
            f'[registries."{self.tls_as_localhost}"]\nca = "{self.tls.ca}"\n'
        )

    @property
    def tls_as_localhost(self) -> str:
        return self.tls.address.replace("127.0.0.1", "localhost")

    def docker_config(self) -> Path:
        """A directory with docker's config.json: credentials for the TLS registry as `localhost`."""
        home = self.directory / "docker"
        home.mkdir(exist_ok=True)
        known = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        (home / "config.json").write_text(json.dumps({"auths": {self.tls_as_localhost: {"auth": known}}}))
        return home


@contextmanager
def shared(base: Path) -> Iterator[Path]:
    """A directory of all workers of this run; whoever leaves last takes it away."""
    path = base / "e2e-registry"
    path.mkdir(exist_ok=True)
    with (base / "e2e-registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        path.mkdir(exist_ok=True)
        yield path
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Registries]:
    if reason := missing():
        pytest.skip(reason)
    own = tmp_path_factory.mktemp("registries")
    base = tmp_path_factory.getbasetemp()
    with ExitStack() as stack:
        storage = stack.enter_context(shared(base if worker_id == "master" else base.parent))
        plain, tls, token = (
            stack.enter_context(Registry(own, mode=mode, storage=storage / "storage"))
            for mode in ("plain", "tls_htpasswd", "token")
        )
        yield Registries(plain, tls, token, own)


@pytest.fixture(scope="session")
def image(registries: Registries) -> Callable[[str], str]:
    """`repository:tag` of a sample or a Debian image, made and pushed when first asked for by any worker."""
    notes = registries.plain.storage.parent

    def pushed(name: str) -> str:
        with (notes / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (notes / f"{name}.pushed").exists():
                if name not in SAMPLES and shutil.which("mmdebstrap") is None:
                    pytest.skip("mmdebstrap is not installed: it makes the Debian images")
                push(registries.plain.target, name, "1", SAMPLES[name]() if name in SAMPLES else debian_image(name))
                (notes / f"{name}.pushed").touch()
        return f"{name}:1"

    return pushed


@pytest.fixture(scope="session")
def busybox(registries: Registries, image: Callable[[str], str]) -> str:
    """Full reference of an image with a shell."""
    return f"{registries.plain.address}/{image('busybox')}"


@pytest.fixture(scope="session")
def web(registries: Registries, image: Callable[[str], str]) -> str:
    """Full reference of an image with a web server on port 80."""
    return f"{registries.plain.address}/{image('web')}"


class KnownSite(Site):
    """A site whose daemon has a docker config directory."""

    def __init__(self, config: str, docker: Path) -> None:
        super().__init__(config)
        self._docker = docker

    @property
    def environ(self) -> dict[str, str]:
        return {**super().environ, "DOCKER_CONFIG": str(self._docker)}


@pytest.fixture(scope="session")
def daemon(registries: Registries) -> Iterator[Site]:
    with KnownSite(registries.config, registries.docker_config()) as site:
        site.start()
        yield site


@pytest.fixture
def site(daemon: Site) -> Iterator[Site]:
    """The worker's daemon, with nothing on it; afterwards nothing may be left."""
    before = daemon.census()
    yield daemon
    for name in daemon.cli("ps", "-q").stdout.split():
        daemon.cli("down", name)
    for one in daemon.instances():
        daemon.cli("rm", one["id"])
    daemon.assert_clean(before)
