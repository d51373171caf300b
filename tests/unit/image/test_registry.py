"""The client against a registry of Python: what it asks, and how often."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.manifest import Descriptor
from zlayer.image.reference import parse
from zlayer.image.registry import Registry
from zlayer.image.registry_download import Download
from zlayer.image.registry_transport import Request, Transport
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Corrupt, Denied, Invalid, Unavailable
from zlayer.testing.imagery import OciImage, blob, image, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry

SETTINGS = RegistrySettings(attempts=3, backoff=0.01, stall_timeout=5)
MADE = image([layer(Tar().file("f", os.urandom(100_000)))])


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as started:
        yield started


def client(reference: str, settings: RegistrySettings = SETTINGS, environ: dict[str, str] | None = None) -> Registry:
    return Registry(parse(reference), settings, environ or {}, pause=lambda _: None)


def test_a_manifest_by_tag_and_by_digest(faulty: FaultyRegistry) -> None:
    registry = client(faulty.hold("a", "1", MADE))
    by_tag, by_digest = registry.manifest("1"), registry.manifest(MADE.digest)
    assert by_tag == by_digest
    assert (by_tag.digest, by_tag.body) == (MADE.digest, MADE.manifest.read())
    assert registry.digest("1") == MADE.digest
    assert [asked.method for asked in faulty.asked] == ["GET", "GET", "HEAD"]


def test_a_digest_without_its_header_is_computed(faulty: FaultyRegistry) -> None:
    registry = client(faulty.hold("a", "1", MADE))
    faulty.faults.append(Fault("/manifests/", method="HEAD", status=200))
    assert registry.digest("1") == MADE.digest


def test_a_manifest_that_is_not_what_was_asked_for(faulty: FaultyRegistry) -> None:
    faulty.hold("a", "1", MADE)
    faulty.hold_blob("/v2/a/manifests/sha256:" + "0" * 64, replace(MADE.manifest, digest="sha256:" + "0" * 64))
    with pytest.raises(Corrupt, match="does not match"):
        client(f"{faulty.address}/a").manifest("sha256:" + "0" * 64)


def test_a_document_is_verified_and_limited(faulty: FaultyRegistry) -> None:
    registry = client(faulty.hold("a", "1", MADE))
    assert registry.document(MADE.config.digest, 10_000) == MADE.config.read()
    with pytest.raises(Corrupt, match="more than 10 bytes"):
        registry.document(MADE.config.digest, 10)
    faulty.faults.append(Fault(MADE.config.digest, corrupt=3))
    with pytest.raises(Corrupt, match="does not match"):
        registry.document(MADE.config.digest, 10_000)


def test_connections_are_kept(faulty: FaultyRegistry) -> None:
    """One connection serves all; one the server has dropped is replaced without a word."""
    transport = Transport(SETTINGS, {})
    faulty.hold("a", "1", MADE)
    request = Request("GET", f"http://{faulty.address}/v2/a/manifests/1", RegistryHost())
    first = transport.send(request)
    connection = first._lease._connection
    first.body(10_000)
    second = transport.send(request)
    assert second._lease._connection is connection
    second.body(10_000)
    assert connection.sock is not None
    connection.sock.shutdown(2)
    assert transport.send(request).body(10_000) == MADE.manifest.read()
    transport.close()


def test_a_cut_document_is_asked_for_again(faulty: FaultyRegistry) -> None:
    registry = client(faulty.hold("a", "1", MADE))
    faulty.faults.append(Fault("/manifests/", truncate=10, times=1))
    assert registry.manifest("1").digest == MADE.digest


def test_a_login_refused_twice_ends(faulty: FaultyRegistry) -> None:
    settings = replace(SETTINGS, hosts={faulty.address: RegistryHost(username="u", password="hush")})
    registry = client(faulty.hold("a", "1", MADE), settings)
    faulty.faults.append(Fault("/v2/a", status=401, headers={"WWW-Authenticate": 'Basic realm="r"'}))
    with pytest.raises(Denied) as caught:
        registry.manifest("1")
    assert faulty.count("/v2/a") == 2
    assert "hush" not in str(caught.value.document())


def test_one_token_for_many_threads(faulty: FaultyRegistry) -> None:
    reference = faulty.hold("a", "1", MADE)
    challenge = f'Bearer realm="http://{faulty.address}/token",service="s"'
    faulty.faults += [
        Fault("/v2/a", status=401, times=1, headers={"WWW-Authenticate": challenge}),
        Fault("/token", status=200, body=b'{"token":"t"}'),
    ]
    registry = client(reference)
    registry.manifest("1")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(registry.manifest, ["1"] * 20))
    assert faulty.count("/token") == 1
    assert {asked.authorization for asked in faulty.asked if "/v2/a" in asked.path} == {"", "Bearer t"}


def test_loopback_may_be_plain_and_others_may_not(faulty: FaultyRegistry) -> None:
    reference = faulty.hold("a", "1", MADE)
    settings = replace(SETTINGS, hosts={faulty.address: RegistryHost(insecure=False)})
    with pytest.raises(Unavailable) as caught:
        client(reference, settings).manifest("1")
    assert "insecure = true" in caught.value.hint or "cannot be reached" in caught.value.message
    assert faulty.asked == []


def test_through_a_proxy(faulty: FaultyRegistry) -> None:
    """A plain proxy is asked for the whole URL; the registry's own name is never looked up here."""
    with FaultyRegistry() as proxy:
        name = "registry.invalid:5000"
        proxy.hold_blob(f"http://{name}/v2/a/manifests/1", MADE.manifest)
        proxy.hold_blob(f"http://{name}/v2/", blob(b"{}", "application/json"))
        settings = replace(SETTINGS, hosts={name: RegistryHost(insecure=True)})
        environ = {"HTTP_PROXY": f"http://u:p@{proxy.address}", "HTTPS_PROXY": "http://127.0.0.1:1"}
        registry = client(f"{name}/a", settings, environ)
        registry._base = f"http://{name}"
        assert registry.manifest("1").digest == MADE.digest
        assert [asked.path for asked in proxy.asked] == [f"http://{name}/v2/a/manifests/1"]


def test_an_unreadable_ca(faulty: FaultyRegistry, tmp_path: Path) -> None:
    settings = replace(SETTINGS, hosts={faulty.address: RegistryHost(ca=str(tmp_path / "none.pem"))})
    with pytest.raises(Invalid, match=r"none\.pem"):
        client(faulty.hold("a", "1", MADE), settings).manifest("1")


class TestDownload:
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return BlobStore(tmp_path)

    @pytest.fixture
    def content(self) -> OciImage:
        return MADE

    def fetch(self, faulty: FaultyRegistry, store: BlobStore, size: int | None = None) -> list[int]:
        """Download the layer to the store; the positions reported."""
        held = MADE.layers[0].blob
        wanted = Descriptor("", held.digest, held.size if size is None else size)
        positions: list[int] = []
        with store.partial(held.digest) as partial:
            download = Download(client(faulty.hold("a", "1", MADE)), wanted, partial, positions.append)
            try:
                download.drain()
            finally:
                download.close()
            partial.commit()
        return positions

    def test_whole(self, faulty: FaultyRegistry, store: BlobStore) -> None:
        positions = self.fetch(faulty, store)
        assert positions == sorted(set(positions))
        assert positions[-1] == MADE.layers[0].blob.size
        assert store.path(MADE.layers[0].blob.digest).read_bytes() == MADE.layers[0].blob.read()

    def test_what_is_there_is_not_fetched(self, faulty: FaultyRegistry, store: BlobStore) -> None:
        with store.partial(MADE.layers[0].blob.digest) as partial:
            partial.append(memoryview(MADE.layers[0].blob.read()))
        self.fetch(faulty, store)
        assert faulty.asked == []

    def test_too_much_there_is_forgotten(self, faulty: FaultyRegistry, store: BlobStore) -> None:
        with store.partial(MADE.layers[0].blob.digest) as partial:
            partial.append(memoryview(MADE.layers[0].blob.read() + b"more"))
        self.fetch(faulty, store)
        assert [asked.range for asked in faulty.asked if "/blobs/" in asked.path] == [""]

    def test_another_length_is_refused_before_a_byte_is_read(self, faulty: FaultyRegistry, store: BlobStore) -> None:
        with pytest.raises(Corrupt, match="bytes at the registry"):
            self.fetch(faulty, store, size=10)

    def test_a_wrong_range_is_not_believed(self, faulty: FaultyRegistry, store: BlobStore) -> None:
        with store.partial(MADE.layers[0].blob.digest) as partial:
            partial.append(memoryview(MADE.layers[0].blob.read()[:100]))
        held = MADE.layers[0].blob
        faulty.faults.append(
            Fault(held.digest, status=206, times=1, headers={"Content-Range": "bytes 0-5/6"}, body=b"abcdef")
        )
        self.fetch(faulty, store)
        assert store.path(held.digest).read_bytes() == held.read()
