"""Mirrors before a registry: their order, what makes a pull go on without them, and what they are never sent."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.pull import pull
from zlayer.image.pull_order import Pulled, PullOrder
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Corrupt, Invalid
from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners")


class Site:
    """A registry and two mirrors of it; all have the image."""

    def __init__(self, root: Path, registries: list[FaultyRegistry]) -> None:
        self.root = root
        self.origin, self.first, self.second = registries
        self.made: OciImage = image([layer(Tar().file(n, os.urandom(200_000))) for n in "ab"], {"Cmd": ["x"]})
        self.reference = self.origin.hold("team/app", "1", self.made)
        self.first.hold("team/app", "1", self.made)
        self.second.hold("cache/team/app", "1", self.made)
        self.told: list[tuple[str, str]] = []

    def pull(self, rate: int = 0) -> Pulled:
        mirrors = (self.first.address, f"{self.second.address}/cache")
        hosts = {self.origin.address: RegistryHost(mirrors=mirrors, username="me", password="hush-hush")}
        settings = RegistrySettings(
            hosts=hosts, attempts=3, backoff=0.01, stall_timeout=5, downloads=2, limit_rate=rate
        )
        settings = RegistrySettings.of_document(settings.document())
        order = PullOrder(self.root, self.reference, "linux/amd64", settings)
        pulled = pull(order, {}, lambda digest, phase, *_: self.told.append((digest, phase)))
        assert pulled.digest == self.made.digest
        assert set(BlobStore(self.root / "blobs").list()) == set(pulled.blobs)
        return pulled

    def said(self, registry: FaultyRegistry) -> str:
        return " | ".join(phase for name, phase in self.told if registry.address in name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, [stack.enter_context(FaultyRegistry()) for _ in range(3)])


def challenge() -> Fault:
    return Fault("/v2/team", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})


def test_the_first_mirror_serves_all(site: Site) -> None:
    site.pull()
    assert (site.second.asked, site.origin.asked) == ([], [])
    assert set(site.said(site.first).split(" | ")) == {"answers"}


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 403}, {"corrupt": 5}, {"truncate": 50}])
@pytest.mark.parametrize("where", ["/blobs/", "/manifests/"])
def test_any_failure_goes_on_to_the_next(site: Site, fault: dict[str, int], where: str) -> None:
    site.first.faults.append(Fault(where, **fault))  # type: ignore[arg-type]
    site.pull()
    assert site.second.count(where) > 0
    assert "failed, asking further" in site.said(site.first)
    assert site.origin.asked == []


def test_what_no_mirror_has_right_comes_from_the_registry(site: Site) -> None:
    site.first.faults.append(Fault("/blobs/", corrupt=100))
    site.second.faults.append(Fault("/blobs/", truncate=1000))
    site.pull()
    assert site.origin.count("/blobs/") > 0
    assert "failed, asking further" in site.said(site.second)


def test_a_mirror_without_the_image_is_no_failure(site: Site) -> None:
    site.first.faults.append(Fault("/v2/team/app", status=404))
    site.pull()
    assert "does not have all" in site.said(site.first)
    assert site.origin.asked == []


def test_a_mirror_is_never_sent_the_registrys_login(site: Site) -> None:
    site.first.faults.append(challenge())
    site.second.faults.append(Fault("/v2/cache", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}))
    site.origin.faults.append(Fault("/v2/team", times=1, status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}))
    site.pull()
    basic = base64.b64encode(b"me:hush-hush").decode()
    assert {one.authorization for one in (*site.first.asked, *site.second.asked)} == {""}
    assert any(basic in one.authorization for one in site.origin.asked)
    assert "hush" not in str(site.told)


def test_wrong_everywhere_is_refused(site: Site) -> None:
    for each in (site.first, site.second, site.origin):
        each.faults.append(Fault("/blobs/" + site.made.layers[0].blob.digest, corrupt=100))
    with pytest.raises(Corrupt):
        site.pull()
    assert not BlobStore(site.root / "blobs").has(site.made.layers[0].blob.digest)


def test_all_layers_share_the_rate(site: Site) -> None:
    begun = time.monotonic()
    site.pull(rate=400_000)
    assert time.monotonic() - begun >= 0.8, "400 kB at 400 kB/s, less what may come at once"


def test_settings_say_what_is_no_mirror() -> None:
    good = {"registries": {"docker.io": {"mirrors": ["m:5000", "cache.example/hub"]}}, "pull": {"limit_rate": 1000}}
    settings = RegistrySettings.from_config(good)
    assert (settings.host("docker.io").mirrors, settings.limit_rate) == (("m:5000", "cache.example/hub"), 1000)
    for bad in ("m:5000", ["https://m"], ["docker.io"], [5], ["m"], [""]):
        with pytest.raises(Invalid) as caught:
            RegistrySettings.from_config({"registries": {"docker.io": {"mirrors": bad}}})
        assert "mirrors" in caught.value.problems[0].path
    for rate in (-1, 1.5, True, "10M"):
        with pytest.raises(Invalid):
            RegistrySettings.from_config({"pull": {"limit_rate": rate}})
