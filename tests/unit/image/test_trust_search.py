"""Signatures from a registry of Python that holds hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.reference import parse
from zlayer.image.registry import Registry
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.image.trust_config import read_key
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_order import TrustOrder
from zlayer.image.trust_proof import Proof
from zlayer.image.trust_root import RootFile
from zlayer.image.trust_rules import Rule, is_refusal
from zlayer.image.trust_search import MAX_PAYLOAD, MOST, prove, search
from zlayer.model.errors import Denied, Unavailable
from zlayer.testing.imagery import OCI_MANIFEST, Blob, OciImage, blob, image, index, layer
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_faulty import Fault, FaultyRegistry
from zlayer.testing.signing import (
    BUNDLE,
    SIMPLE,
    Signer,
    bundle,
    encoded,
    payload,
    referrer,
    referrers,
    referrers_path,
    signature_tag,
    signatures,
    signed,
)
from zlayer.testing.sigstore import Sigstore, Wish
from zlayer.testing.sigstore_image import bundle as keyless_bundle
from zlayer.testing.sigstore_image import signed as keyless_image

SETTINGS = RegistrySettings(attempts=2, backoff=0.01, stall_timeout=5)
MADE = image([layer(Tar().file("f", b"content"))])
TAG = signature_tag(MADE.digest)


class Shop:
    """A registry with `team/app`, a signer whose key the policy has, and one whose it has not."""

    def __init__(self, registry: FaultyRegistry, directory: Path) -> None:
        self.registry = registry
        self.reference = registry.hold("team/app", "1", MADE)
        self.name = self.reference.removesuffix(":1")
        self.signer, self.stranger = Signer.make(), Signer.make("ed25519")
        (directory / "cosign.pub").write_bytes(self.signer.pem)
        self.rule = Rule("*", "signature", (read_key(directory / "cosign.pub"),), file="/etc/config.toml", line=3)

    def prove(self, *digests: str) -> Proof:
        registry = Registry(parse(self.reference), SETTINGS, {})
        try:
            return prove(registry, self.rule, digests or (MADE.digest,))
        finally:
            registry.close()

    def refused(self, *digests: str) -> str:
        with pytest.raises(Denied) as caught:
            self.prove(*digests)
        assert is_refusal(caught.value)
        assert '[[image.policy]] match = "*" at /etc/config.toml:3' in caught.value.message
        return caught.value.message

    def hold(self, what: OciImage, tag: str = TAG) -> None:
        self.registry.hold("team/app", tag, what)

    def good(self, digest: str = MADE.digest) -> tuple[bytes, bytes]:
        content = payload(digest, self.name)
        return content, self.signer.sign(content)

    def manifest(self, document: object) -> None:
        self.registry.hold_blob(f"/v2/team/app/manifests/{TAG}", blob(encoded(document), OCI_MANIFEST))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with FaultyRegistry() as registry:
        yield Shop(registry, tmp_path)


def test_one_good_signature(shop: Shop) -> None:
    shop.hold(signed(shop.signer, MADE.digest, shop.name))
    assert shop.prove().found == f"signature 1 of {TAG}"
    assert not shop.registry.count("/referrers/"), "one is enough"


def test_an_unsigned_image_is_refused_and_told_how_to_sign_it(shop: Shop) -> None:
    with pytest.raises(Denied) as caught:
        shop.prove()
    assert "it has no signature" in caught.value.message
    assert f"cosign sign --key KEY {shop.name}@{MADE.digest}" in caught.value.hint


def test_what_is_bad_beside_a_good_one_does_not_matter(shop: Shop) -> None:
    content, signature = shop.good()
    foreign = payload(f"sha256:{'0' * 64}", shop.name)
    pairs = [(content, shop.stranger.sign(content)), (content, b"junk"), (foreign, shop.signer.sign(foreign)),
             (b"[", shop.signer.sign(b"["))]  # fmt: skip
    shop.hold(signatures(pairs))
    assert "no good signature was found" in shop.refused()
    for at in range(len(pairs) + 1):
        shop.hold(signatures([*pairs[:at], (content, signature), *pairs[at:]]))
        assert shop.prove().found == f"signature {at + 1} of {TAG}"


def test_for_another_image_or_repository(shop: Shop) -> None:
    shop.hold(signatures([shop.good(f"sha256:{'0' * 64}")]))
    assert "is for another image" in shop.refused()
    shop.hold(signed(shop.signer, MADE.digest, f"{shop.name}2"))
    assert "is for another repository" in shop.refused()
    shop.hold(signed(shop.stranger, MADE.digest, shop.name))
    assert "is not by a key of the policy" in shop.refused()


def broken_layers(shop: Shop) -> dict[str, tuple[object, str]]:
    """What stands in a signature's manifest, and what is told of it."""
    content, signature = shop.good()
    shop.hold(signatures([(content, signature)]))
    good = json.loads(signatures([(content, signature)]).manifest.read())["layers"][0]
    big = blob(b" " * (MAX_PAYLOAD + 1), SIMPLE)
    shop.registry.hold_blob(f"/v2/team/app/blobs/{big.digest}", big)
    return {
        "no layers": ({}, "has no list 'layers'"),
        "layers that are none": ({"layers": [1]}, "has no list 'layers'"),
        "not an object": ([], "is not a JSON object"),
        "another media type": ({"layers": [{**good, "mediaType": "text/plain"}]}, "is no cosign signature"),
        "no annotation": ({"layers": [{**good, "annotations": None}]}, "is no cosign signature"),
        "a number as signature": ({"layers": [{**good, "annotations": {"dev.cosignproject.cosign/signature": 1}}]},
                                  "is no cosign signature"),
        "no base64": ({"layers": [{**good, "annotations": {"dev.cosignproject.cosign/signature": "%"}}]},
                      "is not base64"),
        "no digest": ({"layers": [{**good, "digest": "sha256:1/../x"}]}, "has no proper digest"),
        "a huge payload": ({"layers": [{**good, "size": 1 << 40}]}, "is larger than"),
        "a huge payload that lies": ({"layers": [{**good, "digest": big.digest}]}, f"more than {MAX_PAYLOAD} bytes"),
        "a payload that is not there": ({"layers": [{**good, "digest": f"sha256:{'3' * 64}"}]}, "does not have"),
        "too many": ({"layers": [{**good, "mediaType": "x"}] * MOST + [good]}, f"of which {MOST} were looked at"),
    }  # fmt: skip


def test_manifests_that_are_none(shop: Shop) -> None:
    for case, (document, why) in broken_layers(shop).items():
        shop.manifest(document)
        assert why in shop.refused(), case


def test_a_manifest_with_a_key_twice_or_too_large(shop: Shop) -> None:
    shop.registry.hold_blob(f"/v2/team/app/manifests/{TAG}", blob(b'{"layers":[],"layers":[]}', OCI_MANIFEST))
    assert "has a key twice" in shop.refused()
    huge = Blob(b" " * (5 << 20), f"sha256:{'4' * 64}", 5 << 20, OCI_MANIFEST)
    shop.registry.hold_blob(f"/v2/team/app/manifests/{TAG}", huge)
    assert "more than 4194304 bytes" in shop.refused()


def test_a_payload_whose_digest_lies(shop: Shop) -> None:
    made = signed(shop.signer, MADE.digest, shop.name)
    shop.hold(made)
    shop.registry.faults.append(Fault(made.layers[0].blob.digest, corrupt=3))
    assert "does not match its digest" in shop.refused()
    tagged = payload(MADE.digest, f"{shop.name}:1")
    shop.hold(signatures([shop.good(), (tagged, shop.signer.sign(tagged))]))
    assert shop.prove().found == f"signature 2 of {TAG}", "it hides none that is good"


def test_a_registry_in_trouble_is_no_verdict(shop: Shop) -> None:
    shop.hold(signed(shop.signer, MADE.digest, shop.name))
    shop.registry.faults.append(Fault(TAG, status=503))
    with pytest.raises(Unavailable):
        shop.prove()
    shop.registry.faults[:] = [Fault(TAG, status=403)]
    with pytest.raises(Denied) as caught:
        shop.prove()
    assert not is_refusal(caught.value)


def bundles(shop: Shop, *contents: bytes) -> None:
    made = [referrer(content, MADE.manifest.descriptor) for content in contents]
    for one in made:
        shop.hold(one, "any")
    shop.registry.hold_blob(referrers_path("team/app", MADE.digest), referrers(made).manifest)


def test_a_bundle_among_the_referrers(shop: Shop) -> None:
    other = bundle(shop.signer, f"sha256:{'0' * 64}")
    provenance = bundle(shop.signer, MADE.digest, "https://slsa.dev/provenance/v1")
    bundles(shop, b"{", other, provenance, bundle(shop.stranger, MADE.digest))
    told = shop.refused()
    assert "is not JSON" in told
    bundles(shop, b"{", other, provenance, bundle(shop.stranger, MADE.digest), bundle(shop.signer, MADE.digest))
    assert shop.prove().kind == "bundle"


def test_a_bundle_below_the_tag_that_stands_in_for_the_referrers(shop: Shop) -> None:
    made = referrers([referrer(bundle(shop.signer, MADE.digest), MADE.manifest.descriptor)])
    shop.registry.hold("team/app", MADE.digest.replace(":", "-"), made)
    assert shop.prove().kind == "bundle"
    for status in (404, 405):
        shop.registry.faults[:] = [Fault("/referrers/", status=status)]
        assert shop.prove().kind == "bundle"


@pytest.mark.parametrize("link", ["{path}?n=1", "?n=1", "{base}{path}?n=1"])
def test_referrers_come_in_pages(shop: Shop, link: str) -> None:
    made = referrer(bundle(shop.signer, MADE.digest), MADE.manifest.descriptor)
    shop.hold(made, "any")
    path = referrers_path("team/app", MADE.digest)
    following = link.format(path=path, base=f"http://{shop.registry.address}")
    first = Fault(path, times=1, status=200, body=referrers([]).manifest.read(),
                  headers={"Link": f'<{following}>; rel="next"'})  # fmt: skip
    shop.registry.hold_blob(path, referrers([made]).manifest)
    shop.registry.faults.append(first)
    assert shop.prove().kind == "bundle"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda one: one.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.9"),
            f"is not a {BUNDLE}",
        ),
        (lambda one: one.pop("dsseEnvelope"), "has no DSSE envelope"),
        (lambda one: one["dsseEnvelope"].update(payloadType="text/plain"), "is not about"),
        (lambda one: one["dsseEnvelope"].update(signatures=[]), "has not exactly one signature"),
        (lambda one: one["dsseEnvelope"].update(signatures=one["dsseEnvelope"]["signatures"] * 2), "has not exactly"),
        (lambda one: one["dsseEnvelope"].update(payload="%"), "is not base64"),
    ],
)
def test_bundles_that_are_none(shop: Shop, change: Callable[[dict[str, object]], object], why: str) -> None:
    document = json.loads(bundle(shop.signer, MADE.digest))
    change(document)
    bundles(shop, encoded(document))
    assert why in shop.refused()


def test_signed_without_a_key(shop: Shop) -> None:
    sigstore = Sigstore()
    root = RootFile("/etc/root.json", sigstore.root(), "sha256:1")
    shop.rule = replace(shop.rule, identities=(Identity("https://issuer.example", "dev@example.com"),), root=root)
    shop.hold(keyless_image(sigstore.signer(Wish(sct="none")), MADE.digest, shop.name))
    assert "has a certificate without a proof of publication (SCT)" in shop.refused()
    shop.hold(keyless_image(sigstore.signer(), MADE.digest, shop.name))
    assert shop.prove().material is not None
    bundles(shop, keyless_bundle(sigstore.signer(), MADE.digest, "0.1"))
    shop.registry.faults.append(Fault(TAG, status=404))
    assert shop.prove().kind == "bundle"
    shop.rule = replace(shop.rule, keys=(), identities=(Identity("https://issuer.example", "qa@example.com"),))
    with pytest.raises(Denied) as caught:
        shop.prove()
    assert "is by dev@example.com, for whom https://issuer.example vouched" in caught.value.message
    assert "cosign sign, as qa@example.com:" in caught.value.hint


class Mirrored:
    """The shop behind two mirrors, of which the second has a path of its own before it."""

    def __init__(self, shop: Shop, mirrors: list[FaultyRegistry]) -> None:
        self.shop, self.mirrors = shop, mirrors
        names = (mirrors[0].address, f"{mirrors[1].address}/cache")
        hosts = {shop.registry.address: RegistryHost(mirrors=names)}
        self.settings = replace(SETTINGS, hosts=hosts)

    def search(self) -> Proof:
        order = TrustOrder(self.shop.reference, (MADE.digest,), None, self.shop.rule, self.settings)
        proof = search(order, {})["proof"]
        assert isinstance(proof, dict)
        return Proof(**proof)


@pytest.fixture
def mirrored(shop: Shop) -> Iterator[Mirrored]:
    with FaultyRegistry() as first, FaultyRegistry() as second:
        yield Mirrored(shop, [first, second])


def test_mirrors_are_asked_in_their_order_and_the_registry_last(mirrored: Mirrored) -> None:
    shop, (first, second) = mirrored.shop, mirrored.mirrors
    shop.hold(signed(shop.signer, MADE.digest, shop.name))
    assert mirrored.search().found == f"signature 1 of {TAG}"
    assert first.count(TAG) == second.count(TAG) == shop.registry.count(TAG) == 1
    second.hold("cache/team/app", TAG, signed(shop.signer, MADE.digest, shop.name))
    assert mirrored.search().found == f"signature 1 of {TAG} at mirror {second.address}/cache"
    assert (first.count(TAG), shop.registry.count(TAG)) == (2, 1)
    first.hold("team/app", TAG, signed(shop.stranger, MADE.digest, shop.name))
    assert mirrored.search().found.endswith(f"{second.address}/cache"), "a bad one at a mirror hides none that is good"
    first.faults.append(Fault("/v2/", status=503))
    assert mirrored.search().found.endswith(f"{second.address}/cache")
    shop.registry.faults.append(Fault("/v2/", status=503))
    assert mirrored.search().found.endswith(f"{second.address}/cache"), "the registry itself is not needed then"


def test_what_no_mirror_has_is_told_of_each(mirrored: Mirrored) -> None:
    shop, (first, second) = mirrored.shop, mirrored.mirrors
    first.hold("team/app", TAG, signed(shop.stranger, MADE.digest, shop.name))
    second.faults.append(Fault("/manifests/", status=503))
    with pytest.raises(Denied) as caught:
        mirrored.search()
    assert f"not by a key of the policy, or is broken (mirror {first.address})" in caught.value.message
    assert f"mirror {second.address}/cache failed" in caught.value.message
    shop.registry.faults.append(Fault("/manifests/", status=503))
    with pytest.raises(Unavailable):
        mirrored.search()


def test_a_mirror_vouches_for_nobody(mirrored: Mirrored) -> None:
    """What it serves is a signature of the registry's repository by a key of the policy, or none."""
    shop, (first, _) = mirrored.shop, mirrored.mirrors
    first.hold("team/app", TAG, signed(shop.signer, MADE.digest, f"{first.address}/team/app"))
    with pytest.raises(Denied, match="is for another repository"):
        mirrored.search()


def test_an_index_or_its_manifest_for_the_platform(shop: Shop) -> None:
    """cosign signs the index; with --recursive also the manifests. Either is enough, another platform's is not."""
    arm = image([layer(Tar().file("f", b"arm"))], platform="linux/arm64")
    both = index([MADE, arm])
    shop.reference = shop.registry.hold("team/app", "multi", both)
    assert "it has no signature" in shop.refused(both.digest, MADE.digest)
    shop.hold(signed(shop.signer, arm.digest, shop.name), signature_tag(arm.digest))
    shop.refused(both.digest, MADE.digest)
    for digest in (both.digest, MADE.digest):
        with FaultyRegistry() as registry:
            shop.registry, shop.reference = registry, registry.hold("team/app", "multi", both)
            shop.name = shop.reference.removesuffix(":multi")
            shop.hold(signed(shop.signer, digest, shop.name), signature_tag(digest))
            order = TrustOrder(shop.reference, (), "linux/amd64", shop.rule, SETTINGS)
            found = search(TrustOrder.read(json.loads(json.dumps(order.document()))), {})
            assert found["digests"] == [both.digest, MADE.digest]


def test_sha512_has_no_tag_of_cosign(shop: Shop) -> None:
    digest = f"sha512:{'5' * 128}"
    assert "it has no signature" in shop.refused(digest)
    assert [one.path for one in shop.registry.asked if "manifests" in one.path] == [
        f"/v2/team/app/manifests/sha512-{'5' * 64}"
    ]
