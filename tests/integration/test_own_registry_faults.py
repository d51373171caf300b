"""Our own registry against what clients get wrong, or try on purpose; against kill -9 and a full disk."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from zlayer.testing.own_registry import OwnRegistry, Told, cli

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BLOCK = 5 << 18
GOOD = "sha256:" + "a" * 64
JSON = {"Content-Type": MANIFEST}
PART = {"mediaType": "application/octet-stream", "digest": GOOD, "size": 3}


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def code(told: Told) -> str:
    return str(json.loads(told.body)["errors"][0]["code"])


def manifest(**changes: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": PART, "layers": [], **changes}).encode()


def begin(registry: OwnRegistry, name: str = "a/b") -> str:
    return registry.ask("POST", f"/v2/{name}/blobs/uploads/", b"").headers["location"]


def files(registry: OwnRegistry, *below: str) -> list[str]:
    return [
        str(file.relative_to(registry.root))
        for one in below
        for file in (registry.root / one).rglob("*")
        if file.is_file()
    ]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with OwnRegistry(tmp_path_factory.mktemp("own"), "--anonymous", "--max-blob", "8m") as running:
        yield running


NAMES = [
    "../x",
    "A/b",
    "a/../b",
    "a//b",
    "a/./b",
    ".a",
    "a/_tags",
    "_manifests/x",
    "a b",
    "a/%2e%2e/b",
    "a" * 256,
    "a/b-",
    "é",
]


@pytest.mark.parametrize("name", NAMES)
def test_bad_names(registry: OwnRegistry, name: str) -> None:
    path = f"/v2/{name}/manifests/x".replace(" ", "%20").replace("é", "%C3%A9")
    told = registry.ask("GET", path)
    assert (told.status, code(told)) in ((400, "NAME_INVALID"), (404, "UNSUPPORTED"))
    told = registry.ask("POST", path.replace("manifests/x", "blobs/uploads/"), b"")
    assert told.status in (400, 404)


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:abc",
        "sha256:" + "A" * 64,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 65,
        "sha512:" + "a" * 64,
        "x",
        "sha256:" + "../" * 21 + "a",
    ],
)
def test_bad_digests(registry: OwnRegistry, digest: str) -> None:
    told = registry.ask("GET", f"/v2/a/b/blobs/{digest}")
    assert (told.status, code(told)) in ((400, "DIGEST_INVALID"), (400, "NAME_INVALID"), (404, "UNSUPPORTED"))
    told = registry.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest}", b"abc")
    assert (told.status, code(told)) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("identity", ["x", "..", "../../x", "%2e%2e", "00000000-0000-0000-0000-000000000000", "A" * 36])
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_bad_upload_ids(registry: OwnRegistry, identity: str, method: str) -> None:
    told = registry.ask(method, f"/v2/a/b/blobs/uploads/{identity}?digest={GOOD}", b"x" if method[0] == "P" else None)
    assert told.status in (400, 404)


@pytest.mark.parametrize("tag", [".x", "-x", "a" * 129, "a%20b", "a+b", "é".encode().hex() + "%00"])
def test_bad_tags(registry: OwnRegistry, tag: str) -> None:
    told = registry.ask("PUT", f"/v2/a/b/manifests/{tag}", manifest(), JSON)
    assert (told.status, code(told)) == (400, "TAG_INVALID")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/",
        "/v2/a",
        "/v2/a/b",
        "/v2/a/tags",
        "/v2/a/tags/x",
        "/v2x/",
        "/v2/_catalog/x",
        "//v2/",
        "/v2/../etc/passwd",
    ],
)
def test_no_endpoints(registry: OwnRegistry, path: str) -> None:
    told = registry.ask("GET", path)
    assert told.status in (400, 404)
    assert code(told) in ("UNSUPPORTED", "NAME_INVALID")


def test_methods_that_are_none(registry: OwnRegistry) -> None:
    for method, path in (
        ("POST", "/v2/"),
        ("PUT", f"/v2/a/b/blobs/{GOOD}"),
        ("DELETE", "/v2/a/b/tags/list"),
        ("PATCH", "/v2/a/b/manifests/x"),
    ):
        told = registry.ask(method, path)
        assert (told.status, code(told)) == (405, "UNSUPPORTED")
        assert told.headers["allow"]


@pytest.mark.parametrize(
    ("content_range", "status"),
    [
        ("1-3", 416), ("0-1", 400), ("0-9", 400), ("3-1", 400), ("x", 400), ("-1-3", 400), ("0-" + "9" * 30, 400),
        ("bytes 0-2/*", 202), ("0-2", 202),
    ],
)  # fmt: skip
def test_ranges_of_chunks(registry: OwnRegistry, content_range: str, status: int) -> None:
    place = begin(registry)
    told = registry.ask("PATCH", place, b"abc", {"Content-Range": content_range})
    assert told.status == status
    there = registry.ask("GET", place).headers["range"]
    assert there == ("0-2" if status == 202 else "0-0")
    told = registry.ask(
        "PATCH", begin(registry), iter([b"abcd"]), {"Content-Range": "0-2", "Transfer-Encoding": "chunked"}
    )
    assert (told.status, code(told)) == (400, "SIZE_INVALID")


def test_content_that_is_not_what_its_digest_says(registry: OwnRegistry) -> None:
    place = begin(registry)
    told = registry.ask("PUT", f"{place}?digest={GOOD}", b"abc")
    assert (told.status, code(told)) == (400, "DIGEST_INVALID")
    assert registry.ask("GET", place).status == 404, "it could only fail again"
    assert registry.ask("HEAD", f"/v2/a/b/blobs/{GOOD}").status == 404
    told = registry.ask("PUT", begin(registry), b"abc")
    assert (told.status, code(told)) == (400, "DIGEST_INVALID")


def test_an_upload_of_another_repository(registry: OwnRegistry) -> None:
    place = begin(registry).replace("/a/b/", "/a/c/")
    assert code(registry.ask("PATCH", place, b"abc")) == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_that_is_too_large(registry: OwnRegistry) -> None:
    told = registry.ask("PATCH", place := begin(registry), bytes(9 << 20))
    assert (told.status, code(told)) == (413, "SIZE_INVALID")
    assert registry.ask("GET", place).headers["range"] == "0-0"


BAD: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "no body": (b"", JSON, 400, "MANIFEST_INVALID"),
    "no JSON": (b"{", JSON, 400, "MANIFEST_INVALID"),
    "no object": (b"[]", JSON, 400, "MANIFEST_INVALID"),
    "deep": (b"[" * 100_000, JSON, 400, "MANIFEST_INVALID"),
    "schema 1": (manifest(schemaVersion=1), JSON, 400, "MANIFEST_INVALID"),
    "two types": (manifest(), {"Content-Type": "application/vnd.oci.image.index.v1+json"}, 400, "MANIFEST_INVALID"),
    "wrong type": (manifest(mediaType="text/html"), {"Content-Type": "text/html"}, 415, "MANIFEST_INVALID"),
    "type in number": (manifest(mediaType=3), JSON, 400, "MANIFEST_INVALID"),
    "no config": (manifest(config=None), JSON, 400, "MANIFEST_INVALID"),
    "layers no list": (manifest(layers={}), JSON, 400, "MANIFEST_INVALID"),
    "negative size": (manifest(layers=[{**PART, "size": -1}]), JSON, 400, "MANIFEST_INVALID"),
    "true size": (manifest(layers=[{**PART, "size": True}]), JSON, 400, "MANIFEST_INVALID"),
    "path digest": (manifest(layers=[{**PART, "digest": "sha256:../../x"}]), JSON, 400, "MANIFEST_INVALID"),
    "bad subject": (manifest(subject={"digest": "x"}), JSON, 400, "MANIFEST_INVALID"),
    "notes of numbers": (manifest(annotations={"a": 1}), JSON, 400, "MANIFEST_INVALID"),
    "parts missing": (manifest(), JSON, 400, "MANIFEST_BLOB_UNKNOWN"),
    "too large": (b" " * (4 << 20) + b"{}", JSON, 413, "MANIFEST_INVALID"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_manifests(registry: OwnRegistry, what: str) -> None:
    body, headers, status, wanted = BAD[what]
    told = registry.ask("PUT", "/v2/a/b/manifests/x", body, headers)
    assert (told.status, code(told)) == (status, wanted)
    assert registry.ask("HEAD", "/v2/a/b/manifests/x").status == 404


def test_a_manifest_under_a_wrong_digest_or_with_wrong_sizes(registry: OwnRegistry) -> None:
    registry.ask("POST", f"/v2/s/s/blobs/uploads/?digest={sha(b'abc')}", b"abc")
    right = {**PART, "digest": sha(b"abc")}
    told = registry.ask("PUT", f"/v2/s/s/manifests/{GOOD}", manifest(config=right), JSON)
    assert code(told) == "DIGEST_INVALID"
    told = registry.ask("PUT", "/v2/s/s/manifests/x", manifest(config={**right, "size": 4}), JSON)
    assert code(told) == "MANIFEST_INVALID"
    assert registry.ask("PUT", "/v2/s/s/manifests/x", manifest(config=right), JSON).status == 201


def test_a_web_page_may_not_use_it(registry: OwnRegistry) -> None:
    assert registry.ask("POST", "/v2/a/b/blobs/uploads/", b"", {"Origin": "http://evil.example"}).status == 403
    assert registry.ask("GET", "/v2/", headers={"Host": "evil.example"}).status == 403


def test_nothing_half_is_left_of_all_this(registry: OwnRegistry) -> None:
    assert files(registry, "tmp", "blobs/tmp", "blobs/partial") == []


def _half(registry: OwnRegistry, place: str, body: bytes, half: int) -> socket.socket:
    """A PATCH of which only `half` bytes are sent; all but the last block of them is on disk when this returns."""
    host, port = registry.address.split(":")
    wire = socket.create_connection((host, int(port)), timeout=30)
    wire.sendall(f"PATCH {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    wire.sendall(body[:half])
    data = registry.root / "uploads" / place.rpartition("/")[2] / "data"
    clock = threading.Event()
    for _ in range(600):
        if data.stat().st_size >= half - BLOCK:
            return wire
        clock.wait(0.05)
    raise AssertionError("the bytes did not arrive")


def test_a_broken_connection_costs_no_byte(registry: OwnRegistry) -> None:
    body = os.urandom(5 << 20)
    place = begin(registry)
    _half(registry, place, body, 3_500_000).close()
    clock = threading.Event()
    for _ in range(200):
        if registry.ask("GET", place).headers["range"] == "0-3499999":
            break
        clock.wait(0.05)
    rest = {"Content-Range": f"3500000-{len(body) - 1}"}
    assert registry.ask("PUT", f"{place}?digest={sha(body)}", body[3_500_000:], rest).status == 201


def test_kill_9_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    body = os.urandom(6 << 20)
    with OwnRegistry(tmp_path) as registry:
        place = begin(registry)
        wire = _half(registry, place, body, 4 << 20)
        registry.kill()
        wire.close()
        registry.start()
        assert registry.ask("HEAD", f"/v2/a/b/blobs/{sha(body)}").status == 404
        told = registry.ask("GET", place)
        have = int(told.headers["range"].partition("-")[2]) + 1
        assert told.status == 204
        assert (4 << 20) - BLOCK <= have <= 4 << 20
        rest = {"Content-Range": f"{have}-{len(body) - 1}"}
        assert registry.ask("PATCH", place, body[have:], rest).status == 202
        assert registry.ask("PUT", f"{place}?digest={sha(body)}").status == 201
        assert registry.ask("GET", f"/v2/a/b/blobs/{sha(body)}").body == body
        assert files(registry, "uploads", "tmp") == []


def test_kill_9_at_any_moment_leaves_whole_content(tmp_path: Path) -> None:
    """Pushes go on while the server is killed; whatever is named afterwards is there, and what it says it is."""
    total = 0
    with OwnRegistry(tmp_path) as registry:
        for turn in range(6):
            stop = threading.Event()
            with ThreadPoolExecutor(2) as pool:
                pushing = [pool.submit(_push_until, registry, stop, turn * 2 + n) for n in range(2)]
                stop.wait(0.15 + turn * 0.07)
                registry.kill()
                stop.set()
                acknowledged = {tag for one in pushing for tag in one.result()}
            registry.start()
            tags = json.loads(registry.ask("GET", "/v2/k/k/tags/list").body).get("tags", [])
            assert acknowledged <= set(tags)
            total += len(acknowledged)
            for tag in tags:
                document = json.loads(registry.ask("GET", f"/v2/k/k/manifests/{tag}").body)
                told = registry.ask("GET", f"/v2/k/k/blobs/{document['config']['digest']}")
                assert sha(told.body) == document["config"]["digest"]
        assert total > 0
        assert cli(tmp_path, "gc", "--grace", "0").returncode == 0
        assert files(registry, "tmp") == []


def _push_until(registry: OwnRegistry, stop: threading.Event, seed: int) -> list[str]:
    done: list[str] = []
    while not stop.is_set():
        body, tag = os.urandom(200_000), f"t{seed}-{len(done)}"
        document = manifest(config={**PART, "digest": sha(body), "size": len(body)})
        try:
            registry.ask("PUT", f"{begin(registry, 'k/k')}?digest={sha(body)}", body)
            if registry.ask("PUT", f"/v2/k/k/manifests/{tag}", document, JSON).status == 201:
                done.append(tag)
        except (OSError, HTTPException):
            return done  # it was killed
    return done


def test_two_uploads_of_one_blob_at_once(registry: OwnRegistry) -> None:
    body = os.urandom(4 << 20)

    def push(name: str) -> int:
        return registry.ask("PUT", f"{begin(registry, name)}?digest={sha(body)}", body).status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(push, ["x/x", "x/x", "x/y"] * 2)) == {201}
    for name in ("x/x", "x/y"):
        assert registry.ask("GET", f"/v2/{name}/blobs/{sha(body)}").body == body
    assert files(registry, "uploads").count("data") == 0


def test_two_requests_for_one_upload_at_once(registry: OwnRegistry) -> None:
    place = begin(registry)
    wire = _half(registry, place, bytes(4 << 20), 3 << 20)
    told = registry.ask("PATCH", place, b"x")
    assert (told.status, told.headers["retry-after"]) == (503, "2")
    wire.close()


def test_only_one_server_per_directory(registry: OwnRegistry) -> None:
    done = cli(registry.root.parent, "serve", "--anonymous", "--bind", "127.0.0.1:0")
    assert done.returncode == 6
    assert "another `zlayer registry serve`" in done.stderr


@pytest.fixture
def small(tmp_path: Path) -> Iterator[OwnRegistry]:
    """A registry on an ext4 of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a loop device")
    disk, root = tmp_path / "disk", tmp_path / "own-registry"
    with disk.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(disk)], check=True)
    root.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(disk), str(root)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop devices here: {done.stderr.decode().strip()}")
    try:
        with OwnRegistry(tmp_path) as running:
            yield running
    finally:
        subprocess.run(["umount", str(root)], check=True)


@pytest.mark.root
def test_a_full_disk_is_told_and_leaves_no_half_blob(small: OwnRegistry) -> None:
    kept, big = os.urandom(2 << 20), os.urandom(30 << 20)
    small.ask("POST", f"/v2/f/f/blobs/uploads/?digest={sha(kept)}", kept)
    document = manifest(config={**PART, "digest": sha(kept), "size": len(kept)})
    assert small.ask("PUT", "/v2/f/f/manifests/1", document, JSON).status == 201
    place = begin(small, "f/f")
    attempts: list[Callable[[], Told]] = [
        lambda: small.ask("POST", f"/v2/f/f/blobs/uploads/?digest={sha(big)}", big),
        lambda: small.ask("PATCH", place, big),
    ]
    for attempt in attempts:
        told = attempt()
        assert (told.status, code(told)) == (507, "STORAGE_FULL")
        assert "disk is full" in json.loads(told.body)["errors"][0]["message"]
    assert small.ask("GET", place).headers["range"] == "0-0", "what came of it went again"
    ballast = small.root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    told = small.ask("PUT", "/v2/f/f/manifests/2", document.replace(b"}", b" }", 1), JSON)
    assert told.status in (201, 507)  # a small file may still fit
    assert small.ask("GET", f"/v2/f/f/blobs/{sha(kept)}").body == kept
    assert sha(small.ask("GET", "/v2/f/f/manifests/1").body) == sha(document)
    ballast.unlink()
    assert small.ask("PUT", f"{begin(small, 'f/f')}?digest={sha(big[: 4 << 20])}", big[: 4 << 20]).status == 201
    assert files(small, "tmp", "blobs/tmp") == []
