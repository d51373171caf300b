"""One pull, in this process: what is asked for, in which order, and what is kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.layers import LayerStore
from zlayer.image.manifest import Descriptor
from zlayer.image.pull import pull, without_repeats
from zlayer.image.pull_layer import Workshop, fetch_layer
from zlayer.image.pull_order import PullOrder
from zlayer.image.reference import parse
from zlayer.image.registry import Registry
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Corrupt, NotFound, Unavailable, Unsupported
from zlayer.testing.imagery import OCI_INDEX, Blob, blob, image, index, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners")
SETTINGS = RegistrySettings(attempts=2, backoff=0.01, stall_timeout=5)


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as started:
        yield started


class Told:
    def __init__(self) -> None:
        self.reports: list[tuple[str, str, int, int]] = []

    def __call__(self, digest: str, phase: str, done: int, total: int) -> None:
        self.reports.append((digest, phase, done, total))

    def phases(self, digest: str) -> list[str]:
        return list(dict.fromkeys(phase for told, phase, _, _ in self.reports if told == digest))


def order(root: Path, reference: str, *known: str, downloads: int = 1) -> PullOrder:
    settings = RegistrySettings(attempts=2, backoff=0.01, stall_timeout=5, downloads=downloads)
    return PullOrder(root, reference, "linux/amd64", settings, known)


def test_the_largest_layer_comes_first(faulty: FaultyRegistry, tmp_path: Path) -> None:
    made = image([layer(Tar().file("f", os.urandom(size))) for size in (100, 9000, 3000)])
    told = Told()
    pulled = pull(order(tmp_path, faulty.hold("a", "1", made)), {}, told)
    digests = [each.blob.digest for each in made.layers]
    asked = [next(d for d in digests if d in a.path) for a in faulty.asked if any(d in a.path for d in digests)]
    assert asked == [digests[1], digests[2], digests[0]]
    assert pulled.layers == tuple(each.diff_id for each in made.layers)
    assert set(pulled.blobs) == {made.digest, made.config.digest, *digests}
    assert told.phases(digests[0]) == ["waiting", "downloading", "done"]


def test_unchanged_is_one_head(faulty: FaultyRegistry, tmp_path: Path) -> None:
    made = image([layer(Tar().file("f"))])
    assert pull(order(tmp_path, faulty.hold("a", "1", made), made.digest), {}, Told()).unchanged
    assert [(a.method, a.path) for a in faulty.asked] == [("HEAD", "/v2/a/manifests/1")]


def test_what_is_here_is_not_asked_for(faulty: FaultyRegistry, tmp_path: Path) -> None:
    made = image([layer(Tar().file("f"))])
    reference = faulty.hold("a", "1", made)
    pull(order(tmp_path, reference), {}, Told())
    faulty.asked.clear()
    told = Told()
    pull(order(tmp_path, f"{reference.removesuffix(':1')}@{made.digest}"), {}, told)
    assert faulty.asked == []
    assert told.phases(made.layers[0].blob.digest) == ["exists"]


def test_a_repeated_layer_is_fetched_and_stacked_once(faulty: FaultyRegistry, tmp_path: Path) -> None:
    one, two = layer(Tar().file("1")), layer(Tar().file("2"))
    pulled = pull(order(tmp_path, faulty.hold("a", "1", image([one, two, one])), downloads=3), {}, Told())
    assert pulled.layers == (two.diff_id, one.diff_id)
    assert faulty.count(one.blob.digest) == 1


def test_without_repeats() -> None:
    assert without_repeats(("a", "b", "a", "c", "b")) == ("a", "c", "b")
    assert without_repeats(()) == ()


def test_an_image_without_layers(faulty: FaultyRegistry, tmp_path: Path) -> None:
    assert pull(order(tmp_path, faulty.hold("a", "1", image([]))), {}, Told()).layers == ()


def test_an_index_of_indexes(faulty: FaultyRegistry, tmp_path: Path) -> None:
    made = image([layer(Tar().file("f"))])
    inner = index([made])
    outer_body = inner.manifest.read().replace(made.digest.encode(), inner.digest.encode())
    outer_body = outer_body.replace(f'"size":{made.manifest.size}'.encode(), f'"size":{inner.manifest.size}'.encode())
    outer = blob(outer_body.replace(b"image.manifest.v1", b"image.index.v1"), OCI_INDEX)
    faulty.hold("a", "inner", inner)
    faulty.hold_blob("/v2/a/manifests/1", outer)
    pulled = pull(order(tmp_path, f"{faulty.address}/a:1"), {}, Told())
    assert (pulled.digest, pulled.index_digest) == (made.digest, outer.digest)


def test_a_config_that_is_too_large(faulty: FaultyRegistry, tmp_path: Path) -> None:
    made = image([])
    body = made.manifest.read().replace(f'"size":{made.config.size}'.encode(), b'"size":99999999')
    faulty.hold_blob("/v2/a/manifests/1", blob(body, made.manifest.media_type))
    with pytest.raises(Corrupt, match="larger than"):
        pull(order(tmp_path, f"{faulty.address}/a:1"), {}, Told())


def test_an_artifact_is_no_image(faulty: FaultyRegistry, tmp_path: Path) -> None:
    made = image([])
    body = made.manifest.read().replace(b"vnd.oci.image.config.v1+json", b"vnd.cncf.helm.config.v1+json")
    faulty.hold_blob("/v2/a/manifests/1", blob(body, made.manifest.media_type))
    with pytest.raises(Unsupported, match="helm"):
        pull(order(tmp_path, f"{faulty.address}/a:1"), {}, Told())


class TestOneLayer:
    @pytest.fixture
    def shop(self, faulty: FaultyRegistry, tmp_path: Path) -> Workshop:
        registry = Registry(parse(f"{faulty.address}/a:1"), SETTINGS, {})
        stores = (BlobStore(tmp_path / "blobs"), LayerStore(tmp_path / "layers", sync=False))
        return Workshop(registry, *stores, Told(), threading.Semaphore(1))

    @staticmethod
    def descriptor(held: Blob) -> Descriptor:
        return Descriptor(held.media_type, held.digest, held.size)

    def test_when_no_place_to_extract_is_free_it_downloads_first(self, faulty: FaultyRegistry, shop: Workshop) -> None:
        made = layer(Tar().file("f", os.urandom(1000)))
        faulty.hold("a", "1", image([made]))
        shop.extractions.acquire()
        thread = threading.Thread(target=fetch_layer, args=(shop, self.descriptor(made.blob), made.diff_id))
        thread.start()
        partial = shop.blobs.root / "partial" / made.blob.digest.removeprefix("sha256:")
        reached = threading.Event()
        while not (partial.exists() and partial.stat().st_size == made.blob.size):
            assert not reached.wait(0.01)
        assert not shop.layers.has(made.diff_id)
        shop.extractions.release()
        thread.join()
        assert shop.layers.has(made.diff_id)
        assert faulty.count(made.blob.digest) == 1

    def test_a_pull_that_has_ended_stops_its_layers(self, faulty: FaultyRegistry, shop: Workshop) -> None:
        made = layer(Tar().file("f", os.urandom(1000)))
        faulty.hold("a", "1", image([made]))
        shop.ended.set()
        with pytest.raises(Unavailable, match="ended"):
            fetch_layer(shop, self.descriptor(made.blob), made.diff_id)
        assert list(shop.layers.root.iterdir()) == []

    def test_a_place_to_extract_is_given_back_after_a_fault(self, faulty: FaultyRegistry, shop: Workshop) -> None:
        made = layer(Tar().file("f", os.urandom(1000)))
        faulty.hold("a", "1", image([made]))
        faulty.faults.append(Fault(made.blob.digest, status=404, times=1))
        with pytest.raises(NotFound):
            fetch_layer(shop, self.descriptor(made.blob), made.diff_id)
        fetch_layer(shop, self.descriptor(made.blob), made.diff_id)
        assert shop.layers.has(made.diff_id)
