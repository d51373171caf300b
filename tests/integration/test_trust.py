"""Policies over a real registry: what is refused leaves nothing unpacked, what was signed runs without the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
from zlayer.image.trust_config import read_key
from zlayer.image.trust_gate import Gate
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_root import read_root_file
from zlayer.image.trust_rules import Require, Rule, is_refusal
from zlayer.model.container import PullPolicy
from zlayer.model.errors import Denied, Unavailable
from zlayer.testing.imagery import OciImage, image, index, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry, missing
from zlayer.testing.registry_faulty import FaultyRegistry
from zlayer.testing.signing import Signer, bundle, payload, referrer, referrers, signature_tag, signatures, signed
from zlayer.testing.sigstore import Sigstore, Wish
from zlayer.testing.sigstore_image import bundle as keyless_bundle
from zlayer.testing.sigstore_image import signed as keyless_image

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]
SETTINGS = RegistrySettings(attempts=1, backoff=0.01, stall_timeout=10)


def made(content: str, platform: str = "linux/amd64") -> OciImage:
    return image([layer(Tar().file("f", content.encode()))], platform=platform)


class Shop:
    """A real registry with `team/app:1`; `images` has a policy for all of it."""

    def __init__(self, registry: Registry, directory: Path) -> None:
        self.registry, self.target = registry, registry.target
        self.root = directory / "data"
        self.signer = Signer.make()
        self.name = f"{registry.address}/team/app"
        self.made = made("first")
        self.reference = push(self.target, "team/app", "1", self.made)
        (directory / "cosign.pub").write_bytes(self.signer.pem)
        self.key = read_key(directory / "cosign.pub")

    def images(self, require: Require = "signature", *more: Rule) -> LocalImages:
        keys = (self.key,) if require == "signature" else ()
        rule = Rule(f"{self.registry.address}/*", require, keys, file="/etc/config.toml", line=4)
        return LocalImages(self.root, SETTINGS, rules=(rule, *more))

    def sign(self, digest: str, signer: Signer | None = None) -> None:
        push(self.target, "team/app", signature_tag(digest), signed(signer or self.signer, digest, self.name))

    def unpacked(self) -> list[str]:
        return sorted(one.name for one in (self.root / "layers").glob("*") if len(one.name) == 64)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Registry(tmp_path) as registry:
        yield Shop(registry, tmp_path)


async def refused(images: LocalImages, reference: str, policy: PullPolicy = "if_not_present") -> str:
    with pytest.raises(Denied) as caught:
        await images.pull(reference, policy=policy)
    assert is_refusal(caught.value)
    return caught.value.message


async def test_unsigned_leaves_nothing_unpacked_and_signed_is_there(shop: Shop) -> None:
    images = shop.images()
    told: list[tuple[str, str]] = []
    images.gate.tell = lambda kind, message: told.append((kind, message))
    for _ in range(2):
        message = await refused(images, shop.reference)
    assert "it has no signature" in message
    assert f'match = "{shop.registry.address}/*" at /etc/config.toml:4' in message
    assert told == [("image.refused", message)], "each reason once"
    assert (shop.unpacked(), await images.list()) == ([], [])
    shop.sign(shop.made.digest, Signer.make("rsa"))
    assert "not by a key of the policy" in await refused(images, shop.reference)
    shop.sign(shop.made.digest)
    assert (await images.pull(shop.reference)).digest == shop.made.digest
    report = await images.trust(shop.reference)
    assert (report.allowed, report.local, report.digest) == (True, True, shop.made.digest)
    assert report.verified is not None
    assert (report.verified.key, report.verified.kind) == (shop.signer.fingerprint, "simple-signing")
    assert report.policy is not None
    assert (report.policy.file, report.policy.line) == ("/etc/config.toml", 4)


async def test_a_signature_is_kept_and_needs_no_network(shop: Shop) -> None:
    shop.sign(shop.made.digest)
    await shop.images().pull(shop.reference)
    shop.registry.__exit__(None, None, None)
    again = shop.images()
    assert (await again.pull(shop.reference, policy="never")).digest == shop.made.digest
    assert (await again.pull(f"{shop.name}@{shop.made.digest}", policy="never")).digest == shop.made.digest
    assert (await again.trust(shop.reference)).allowed
    (kept,) = (shop.root / "trust").glob("*/*.json")
    for broken in (b"{", kept.read_bytes().replace(b'"signature": "M', b'"signature": "A')):
        kept.write_bytes(broken)
        with pytest.raises(Unavailable):
            await again.pull(shop.reference, policy="never")
    shutil.rmtree(shop.root / "trust")
    with pytest.raises(Unavailable):
        await again.pull(shop.reference, policy="never")


async def test_an_image_that_is_here_meets_a_policy_that_became_stricter(shop: Shop) -> None:
    await shop.images("nothing").pull(shop.reference)
    for policy in ("never", "if_not_present", "newer", "always"):
        assert "it has no signature" in await refused(shop.images(), shop.reference, policy)
    assert "the policy refuses it" in await refused(shop.images("refuse"), shop.reference)
    assert "wants a digest" in await refused(shop.images("digest"), shop.reference)
    await shop.images("digest").pull(f"{shop.reference}@{shop.made.digest}")
    shop.sign(shop.made.digest)
    await shop.images().pull(shop.reference, policy="never")
    (shop.root.parent / "other.pub").write_bytes(Signer.make().pem)
    other = read_key(shop.root.parent / "other.pub")
    changed = shop.images("signature", Rule(shop.name, "signature", (other,)))
    assert "not by a key of the policy" in await refused(changed, shop.reference)


async def test_another_name_for_an_unsigned_image_does_not_let_it_in(shop: Shop) -> None:
    free = push(shop.target, "free/app", "1", made("free"))
    images = shop.images("signature", Rule(f"{shop.registry.address}/free/*", "nothing"))
    await images.pull(free)
    await images.tag(free, f"{shop.name}:2")
    assert "it has no signature" in await refused(images, f"{shop.name}:2")


async def test_signed_without_a_key(shop: Shop) -> None:
    sigstore = Sigstore()
    (shop.root.parent / "root.json").write_text(sigstore.root())
    allowed = (Identity("https://issuer.example", "https://github.com/team/*"),)
    rule = Rule(shop.name, "signature", identities=allowed, root=read_root_file(shop.root.parent / "root.json"))
    images = shop.images("refuse", rule)
    tag, flow = signature_tag(shop.made.digest), "https://github.com/team/app/.github/workflows/x.yml@refs/heads/main"
    stranger = sigstore.signer(Wish(subject="https://github.com/evil/app"))
    push(shop.target, "team/app", tag, keyless_image(stranger, shop.made.digest, shop.name))
    assert "is by https://github.com/evil/app, for whom" in await refused(images, shop.reference)
    assert shop.unpacked() == []
    signer = sigstore.signer(Wish(subject=flow))
    one = referrer(keyless_bundle(signer, shop.made.digest, stamped=True), shop.made.manifest.descriptor)
    push(shop.target, "team/app", shop.made.digest.replace(":", "-"), referrers([one]))
    await images.pull(shop.reference)
    shop.registry.__exit__(None, None, None)
    report = await shop.images("refuse", rule).trust(shop.reference)
    assert report.allowed, "what was kept is verified anew, without the network"
    assert report.verified is not None
    assert (report.verified.subject, report.verified.log_index) == (flow, 4321)
    assert (report.verified.signed_at, report.verified.key) == ("2024-05-06T12:00:00Z", "")
    assert report.policy is not None
    assert report.policy.identities[0].subject == "https://github.com/team/*"
    other = replace(rule, identities=(Identity("https://issuer.example", "dev@example.com"),))
    with pytest.raises(Unavailable):
        await shop.images("refuse", other).pull(shop.reference, policy="never")


async def test_many_at_once_look_once(shop: Shop, tmp_path: Path) -> None:
    with FaultyRegistry() as registry:
        reference = registry.hold("team/app", "1", shop.made)
        name = reference.removesuffix(":1")
        tag = signature_tag(shop.made.digest)
        registry.hold("team/app", tag, signed(shop.signer, shop.made.digest, name))
        await LocalImages(tmp_path / "many", SETTINGS).pull(reference)
        images = LocalImages(tmp_path / "many", SETTINGS, rules=(Rule("*", "signature", (shop.key,)),))
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(images.pull, reference)
        assert registry.count(tag) == 1


async def test_a_tag_that_moves_is_looked_at_again(shop: Shop) -> None:
    shop.sign(shop.made.digest)
    images = shop.images()
    first = await images.pull(shop.reference)
    push(shop.target, "team/app", "1", made("second"))
    for policy in ("always", "newer"):
        await refused(images, shop.reference, policy)
    assert len(shop.unpacked()) == 1
    assert (await images.pull(shop.reference)).digest == first.digest, "what is here was signed"


async def test_the_signature_of_another_image_under_the_right_tag(shop: Shop) -> None:
    content = payload(f"sha256:{'0' * 64}", shop.name)
    replayed = signatures([(content, shop.signer.sign(content))])
    push(shop.target, "team/app", signature_tag(shop.made.digest), replayed)
    assert "is for another image" in await refused(shop.images(), shop.reference)


async def test_an_index_is_signed_as_a_whole(shop: Shop) -> None:
    both = index([made("amd"), made("arm", "linux/arm64")])
    reference = push(shop.target, "team/app", "multi", both)
    await refused(shop.images(), reference)
    shop.sign(both.digest)
    images = shop.images()
    assert (await images.trust(reference)).digest == both.digest
    pulled = await images.pull(reference, platform="linux/amd64")
    assert pulled.index_digest == both.digest
    pinned = f"{shop.name}@{pulled.digest}"
    assert (await shop.images().pull(pinned, platform="linux/amd64")).digest == pulled.digest, "its index is known here"
    shutil.rmtree(shop.root)
    await refused(shop.images(), pinned)


async def test_a_bundle_where_the_registry_has_no_referrers_api(shop: Shop) -> None:
    one = referrer(bundle(shop.signer, shop.made.digest), shop.made.manifest.descriptor)
    push(shop.target, "team/app", shop.made.digest.replace(":", "-"), referrers([one]))
    images = shop.images()
    await images.pull(shop.reference)
    report = await images.trust(shop.reference)
    assert report.verified is not None
    assert report.verified.kind == "bundle"


async def test_what_is_refused_by_name_asks_no_registry(shop: Shop) -> None:
    images = shop.images("refuse")
    shop.registry.__exit__(None, None, None)
    for call in (images.pull, images.resolve):
        with pytest.raises(Denied, match="the policy refuses it"):
            await call(shop.reference)
    report = await images.trust(shop.reference)
    assert (report.allowed, report.reason, report.local) == (False, "the policy refuses it", False)


async def test_of_images_that_are_gone_nothing_is_kept(shop: Shop) -> None:
    shop.sign(shop.made.digest)
    images = shop.images()
    await images.pull(shop.reference)
    assert isinstance(images.gate, Gate)
    await images.remove(shop.reference)
    assert list((shop.root / "trust").glob("*/*.json"))
    shop.images()
    assert not list((shop.root / "trust").glob("*/*.json"))


async def test_a_copy_of_a_signed_image_in_another_repository(shop: Shop) -> None:
    copy = push(shop.target, "mirror/app", "1", shop.made)
    push(shop.target, "mirror/app", signature_tag(shop.made.digest), signed(shop.signer, shop.made.digest, shop.name))
    assert "is for another repository" in await refused(shop.images(), copy)
    mirrored = Rule(f"{shop.registry.address}/mirror/*", "signature", (shop.key,))
    await refused(shop.images("signature", mirrored), copy)
    await shop.images("signature", replace(mirrored, signed_as=(shop.name,))).pull(copy)
