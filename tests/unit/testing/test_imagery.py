"""The images tests stand on: digests that fit, bytes that repeat, overlays that become layers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from zlayer.model.errors import Denied, Failed
from zlayer.testing import hostile_tars
from zlayer.testing.imagery import OciImage, image, index, layer, layer_from_tree
from zlayer.testing.imagery_push import Target, push
from zlayer.testing.imagery_samples import busybox_image, many_layers, nasty_image, nasty_layers, web_image
from zlayer.testing.imagery_tar import Tar

SAMPLES: dict[str, Callable[[], OciImage]] = {
    "busybox": busybox_image,
    "web": web_image,
    "nasty": nasty_image,
    "many": lambda: many_layers(3),
}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def raw(packed: bytes) -> bytes:
    if packed.startswith(b"\x1f\x8b"):
        return zlib.decompress(packed, 31)
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=1 << 24)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_digest_and_size_fits(name: str) -> None:
    made = SAMPLES[name]()
    manifest, config = json.loads(made.manifest.read()), json.loads(made.config.read())
    assert made.digest == digest(made.manifest.read())
    assert manifest["config"] == {**made.config.descriptor, "digest": digest(made.config.read())}
    for each, descriptor in zip(made.layers, manifest["layers"], strict=True):
        packed = each.blob.read()
        assert (descriptor["digest"], descriptor["size"]) == (digest(packed), len(packed))
        assert each.diff_id == digest(raw(packed))
    assert config["rootfs"]["diff_ids"] == [each.diff_id for each in made.layers]
    assert SAMPLES[name]() == made, "made again it is the same, byte for byte"


def test_the_nasty_image_mixes_compressions() -> None:
    assert [each.blob.media_type.rsplit("+")[-1] for each in nasty_layers()] == ["gzip", "zstd"]


def test_an_index_names_each_platform() -> None:
    images = [image([], platform=platform) for platform in ("linux/amd64", "linux/arm64/v8", "unknown/unknown")]
    entries = json.loads(index(images).manifest.read())["manifests"]
    assert [entry["digest"] for entry in entries] == [each.digest for each in images]
    assert entries[1]["platform"] == {"os": "linux", "architecture": "arm64", "variant": "v8"}


def test_docker_media_types_are_docker_throughout() -> None:
    manifest = json.loads(image([layer(Tar().file("f"))], docker=True).manifest.read())
    types = [manifest["mediaType"], manifest["config"]["mediaType"], manifest["layers"][0]["mediaType"]]
    assert all("docker" in media_type for media_type in types)


@pytest.mark.root
def test_an_overlay_upper_becomes_a_layer_with_whiteouts(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"data")
    os.setxattr(tmp_path / "d", "trusted.overlay.opaque", b"y")
    os.setxattr(tmp_path / "d/file", "user.colour", b"\xff")
    os.link(tmp_path / "d/file", tmp_path / "e")
    os.mknod(tmp_path / "gone", stat.S_IFCHR)
    (tmp_path / "link").symlink_to("d")
    packed = layer_from_tree(tmp_path, "zstd").blob.read()
    with tarfile.open(fileobj=io.BytesIO(raw(packed))) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert sorted(members) == [".", ".wh.gone", "d", "d/.wh..wh..opq", "d/file", "e", "link"]
    links = [member for member in members.values() if member.islnk()]
    assert [{member.name, member.linkname} for member in links] == [{"e", "d/file"}]
    assert members["link"].linkname == "d"
    first = members[links[0].linkname]
    assert first.pax_headers["SCHILY.xattr.user.colour"].encode("utf-8", "surrogateescape") == b"\xff"
    assert not [key for key in members["d"].pax_headers if "overlay" in key]


def test_hand_packed_members_are_what_tarfile_reads() -> None:
    archive = hostile_tars.directory(b"d") + hostile_tars.pax([(b"path", b"d/" + b"n" * 200)])
    archive += hostile_tars.member(b"x", b"body") + hostile_tars.symlink(b"l", b"d") + hostile_tars.hardlink(b"h", b"l")
    with tarfile.open(fileobj=io.BytesIO(archive + hostile_tars.END)) as tar:
        assert tar.getnames() == ["d", "d/" + "n" * 200, "l", "h"]


def test_hostile_cases_have_names_of_their_own() -> None:
    names = [case.name for case in hostile_tars.hostile_tars(b"/nowhere")]
    assert len(names) == len(set(names)) >= 60


def test_pushing_to_nobody_and_being_refused(tmp_path: Path) -> None:
    import http.server
    import threading

    class Refuses(http.server.BaseHTTPRequestHandler):
        status = 403

        def do_HEAD(self) -> None:
            self.send_error(404)

        def do_POST(self) -> None:
            self.send_error(self.status)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        target = Target(f"127.0.0.1:{server.server_address[1]}")
        try:
            with pytest.raises(Denied, match="refuses POST"):
                push(target, "a", "1", image([]))
            Refuses.status = 500
            with pytest.raises(Failed, match="answers 500"):
                push(target, "a", "1", image([]))
        finally:
            server.shutdown()
            thread.join()
