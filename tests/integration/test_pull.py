"""Pulls from a real registry in its three modes: plain, TLS with passwords, tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Denied, NotFound, Unavailable, ZlayerError
from zlayer.testing.imagery import image, index, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import PASSWORD, USERNAME, Registry, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]
WRONG = "not-the-password"


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path) as registry:
        yield registry


def fast(**hosts: RegistryHost) -> RegistrySettings:
    return RegistrySettings(hosts=hosts, attempts=2, backoff=0.01, stall_timeout=10)


def data_of(root: Path, diff_id: str, name: str) -> bytes:
    return (root / "layers" / diff_id.removeprefix("sha256:") / "diff" / name).read_bytes()


async def test_a_real_image_arrives_whole(plain: Registry, tmp_path: Path) -> None:
    made = busybox_image({"Cmd": ["sleep", "1"], "Env": ["A=b=c"], "WorkingDir": "/srv", "User": "7"})
    reference = push(plain.target, "team/busybox", "1.0", made)
    root = tmp_path / "data"
    pulled = await LocalImages(root, fast()).pull(reference)
    assert pulled.reference == reference
    assert pulled.digest == made.digest
    assert pulled.layers == tuple(each.diff_id for each in made.layers)
    assert pulled.size == sum(each.blob.size for each in made.layers)
    assert (pulled.config.cmd, pulled.config.workdir, pulled.config.user) == (("sleep", "1"), "/srv", "7")
    assert pulled.config.env == {"A": "b=c"}
    assert len(data_of(root, pulled.layers[0], "bin/busybox")) > 100_000
    for blob in (*made.blobs(), made.manifest):
        kept = root / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
        assert f"sha256:{hashlib.sha256(kept.read_bytes()).hexdigest()}" == blob.digest
    assert list((root / "blobs" / "partial").iterdir()) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_each_compression_unpacks_to_the_same_files(plain: Registry, tmp_path: Path, compression: str) -> None:
    made = image([layer(Tar().file("hello", b"world" * 1000), compression)])  # type: ignore[arg-type]
    pulled = await LocalImages(tmp_path / "data", fast()).pull(push(plain.target, "a", compression, made))
    assert data_of(tmp_path / "data", pulled.layers[0], "hello") == b"world" * 1000


async def test_gzip_members_and_zstd_frames_in_a_row_are_one_layer(plain: Registry, tmp_path: Path) -> None:
    from zlayer.testing.imagery import Layer, blob, compress, sha256

    raw = Tar().file("f", b"x" * 50_000).finish()
    for compression in ("gzip", "zstd"):
        packed = compress(raw[:20_000], compression) + compress(raw[20_000:], compression)
        media_type = f"application/vnd.oci.image.layer.v1.tar+{compression}"
        made = image([Layer(blob(packed, media_type), sha256(raw))])
        root = tmp_path / compression
        pulled = await LocalImages(root, fast()).pull(push(plain.target, "many", compression, made))
        assert data_of(root, pulled.layers[0], "f") == b"x" * 50_000


@pytest.mark.parametrize("docker", [False, True])
async def test_an_index_gives_the_platform_and_no_attestation(plain: Registry, tmp_path: Path, docker: bool) -> None:
    own, other, attestation = (
        image([layer(Tar().file("arch", name.encode()))], platform=name, docker=docker)
        for name in ("linux/amd64", "linux/arm64/v8", "unknown/unknown")
    )
    many = index([attestation, other, own], docker=docker)
    reference = push(plain.target, "multi", "1", many)
    images = LocalImages(tmp_path / "data", fast())
    amd = await images.pull(reference, platform="linux/amd64")
    arm = await images.pull(reference, platform="linux/arm64")
    assert (amd.digest, amd.index_digest, amd.platform) == (own.digest, many.digest, "linux/amd64")
    assert (arm.digest, arm.index_digest, arm.platform) == (other.digest, many.digest, "linux/arm64")
    with pytest.raises(NotFound) as caught:
        await images.pull(reference, platform="linux/s390x")
    assert "linux/amd64, linux/arm64" in caught.value.hint


async def test_a_single_image_of_another_platform_is_refused_by_name(plain: Registry, tmp_path: Path) -> None:
    made = image([layer(Tar().file("f"))], platform="linux/riscv64")
    reference = push(plain.target, "odd", "1", made)
    images = LocalImages(tmp_path / "data", fast())
    with pytest.raises(NotFound, match="not there for") as caught:
        await images.pull(reference)
    assert "linux/riscv64" in caught.value.hint
    assert (await images.pull(reference, platform="linux/riscv64")).platform == "linux/riscv64"


async def test_by_digest_and_by_tag_with_digest(plain: Registry, tmp_path: Path) -> None:
    made = busybox_image()
    name = push(plain.target, "pinned", "1", made).removesuffix(":1")
    images = LocalImages(tmp_path / "data", fast())
    pulled = await images.pull(f"{name}@{made.digest}")
    assert pulled.digest == made.digest
    again = await images.pull(f"{name}:other@{made.digest}", policy="never")
    assert again.digest == made.digest, "the digest wins over the tag, and is here"


async def test_always_sees_a_moved_tag_and_keeps_the_old_image(plain: Registry, tmp_path: Path) -> None:
    first, second = (image([layer(Tar().file("v", v))]) for v in (b"1", b"2"))
    reference = push(plain.target, "app", "latest", first)
    root = tmp_path / "data"
    images = LocalImages(root, fast())
    old = await images.pull(reference)
    assert (await images.pull(reference, policy="always")) == old, "unchanged: the very record"
    push(plain.target, "app", "latest", second)
    assert (await images.pull(reference)).digest == first.digest
    new = await images.pull(reference, policy="newer")
    assert new.digest == second.digest
    assert data_of(root, old.layers[0], "v") == b"1", "instances may still run it"
    assert await images.find(old.digest) is not None
    kept = await images.remove(new.digest, in_use=[old.digest])
    assert f"deleted layer: {new.layers[0]}" in kept
    assert data_of(root, old.layers[0], "v") == b"1"


async def test_the_digest_served_is_told_without_a_download(plain: Registry, tmp_path: Path) -> None:
    one = image([layer(Tar().file("v", b"r"))])
    reference = push(plain.target, "resolved", "1", one)
    images = LocalImages(tmp_path / "data", fast())
    assert await images.resolve(reference) == one.digest
    assert await images.list() == []
    both = index([one])
    reference = push(plain.target, "resolved", "2", both)
    assert await images.resolve(reference) == both.digest
    pinned = await images.pull(f"{reference}@{both.digest}")
    assert (pinned.digest, pinned.index_digest) == (one.digest, both.digest)
    with pytest.raises(NotFound):
        await images.resolve(reference.replace("resolved", "nowhere"))


async def test_newer_falls_back_when_the_registry_is_gone_and_always_does_not(tmp_path: Path) -> None:
    with Registry(tmp_path) as registry:
        reference = push(registry.target, "app", "1", image([layer(Tar().file("v"))]))
        images = LocalImages(tmp_path / "data", fast())
        pulled = await images.pull(reference, policy="newer")
    assert await images.pull(reference, policy="newer") == pulled
    with pytest.raises(Unavailable):
        await images.pull(reference, policy="always")
    with pytest.raises(Unavailable):
        await images.pull(reference.replace("app", "other"), policy="newer")


async def test_never_touches_no_network(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="never"):
        await LocalImages(tmp_path / "data").pull("127.0.0.1:1/nobody/there", policy="never")


async def test_unknown_names_and_tags(plain: Registry, tmp_path: Path) -> None:
    reference = push(plain.target, "known", "1", image([layer(Tar().file("v"))]))
    images = LocalImages(tmp_path / "data", fast())
    with pytest.raises(NotFound, match="known:2"):
        await images.pull(reference.removesuffix(":1") + ":2")
    with pytest.raises(NotFound, match="stranger"):
        await images.pull(f"{plain.address}/stranger")
    assert await images.list() == []


class TestTlsWithPasswords:
    @pytest.fixture
    def reference(self, tls: Registry) -> str:
        return push(tls.target, "private/app", "1", image([layer(Tar().file("v"))]))

    @pytest.fixture
    def tls(self, tmp_path: Path) -> Iterator[Registry]:
        with Registry(tmp_path, mode="tls_htpasswd") as registry:
            yield registry

    async def test_by_settings(self, tls: Registry, reference: str, tmp_path: Path) -> None:
        secret = tmp_path / "password"
        secret.write_text(PASSWORD + "\n")
        host = RegistryHost(ca=str(tls.ca), username=USERNAME, password_file=str(secret))
        assert await LocalImages(tmp_path / "data", fast(**{tls.address: host})).pull(reference)

    @pytest.mark.parametrize("prefix", ["", "https://"])
    async def test_by_docker_config(
        self, tls: Registry, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
    ) -> None:
        auth = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {prefix + tls.address: {"auth": auth}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        settings = fast(**{tls.address: RegistryHost(ca=str(tls.ca))})
        assert await LocalImages(tmp_path / "data", settings).pull(reference)

    async def test_by_credential_helper(
        self, tls: Registry, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        helper = tmp_path / "docker-credential-test"
        answer = json.dumps({"ServerURL": tls.address, "Username": USERNAME, "Secret": PASSWORD})
        helper.write_text(f"#!/bin/sh\nread server\n[ \"$server\" = {tls.address} ] && echo '{answer}'\n")
        helper.chmod(0o755)
        (tmp_path / "auth.json").write_text(json.dumps({"credHelpers": {tls.address: "test"}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        settings = fast(**{tls.address: RegistryHost(ca=str(tls.ca))})
        assert await LocalImages(tmp_path / "data", settings).pull(reference)

    async def test_insecure_skips_the_certificate(self, tls: Registry, reference: str, tmp_path: Path) -> None:
        host = RegistryHost(insecure=True, username=USERNAME, password=PASSWORD)
        assert await LocalImages(tmp_path / "data", fast(**{tls.address: host})).pull(reference)

    async def test_without_login_and_with_a_wrong_one(
        self, tls: Registry, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
        settings = fast(**{tls.address: RegistryHost(ca=str(tls.ca))})
        with pytest.raises(Denied) as caught:
            await LocalImages(tmp_path / "data", settings).pull(reference)
        assert "looked in: settings" in caught.value.hint
        host = RegistryHost(ca=str(tls.ca), username=USERNAME, password=WRONG)
        with pytest.raises(Denied) as caught:
            await LocalImages(tmp_path / "data", fast(**{tls.address: host})).pull(reference)
        assert "came from settings" in caught.value.hint
        assert not _told(caught.value, WRONG)

    async def test_an_unknown_certificate_is_explained(self, tls: Registry, reference: str, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="not trusted") as caught:
            await LocalImages(tmp_path / "data", fast()).pull(reference)
        assert f'[registries."{tls.address}"]' in caught.value.hint
        assert "ca = " in caught.value.hint


class TestTokens:
    @pytest.fixture
    def tokens(self, tmp_path: Path) -> Iterator[Registry]:
        with Registry(tmp_path, mode="token") as registry:
            yield registry

    async def test_anonymous_and_with_a_login(self, tokens: Registry, tmp_path: Path) -> None:
        layers = [layer(Tar().file(f"f{n}", os.urandom(1000))) for n in range(5)]
        reference = push(tokens.target, "team/app", "1", image(layers))
        assert await LocalImages(tmp_path / "anonymous", fast()).pull(reference)
        host = RegistryHost(username=USERNAME, password=PASSWORD)
        assert await LocalImages(tmp_path / "login", fast(**{tokens.address: host})).pull(reference)

    async def test_a_wrong_password_is_denied_and_not_told(self, tokens: Registry, tmp_path: Path) -> None:
        reference = push(tokens.target, "team/app", "1", image([layer(Tar().file("f"))]))
        host = RegistryHost(username=USERNAME, password=WRONG)
        with pytest.raises(Denied) as caught:
            await LocalImages(tmp_path / "data", fast(**{tokens.address: host})).pull(reference)
        assert not _told(caught.value, WRONG)


async def test_registries_share_a_storage(plain: Registry, tmp_path: Path) -> None:
    push(plain.target, "shared", "1", image([layer(Tar().file("f"))]))
    with Registry(tmp_path, mode="token", storage=plain.storage) as other:
        assert await LocalImages(tmp_path / "data", fast()).pull(f"{other.address}/shared:1")


def _told(error: ZlayerError, secret: str) -> bool:
    encoded = base64.b64encode(f"{USERNAME}:{secret}".encode()).decode()
    text = json.dumps(error.document()) + repr(error)
    return secret in text or encoded in text
