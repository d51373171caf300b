"""Our own registry in front of another: fetched once, verified, kept, asked anew in time, used when that is away."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zlayer.testing.imagery import OciImage, image, layer
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.own_registry import OwnRegistry, Told, cli
from zlayer.testing.registry_faulty import Fault, FaultyRegistry

OCI = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "sha256:" + hashlib.sha256(b"{}").hexdigest()
QUICK = "[pull]\nattempts = 2\nbackoff = 0.05\nconnect_timeout = 5.0\nstall_timeout = 5.0\n"


def sample(seed: int = 1, size: int = 3 << 20) -> OciImage:
    return image([layer(Tar().file(f"file{seed}", os.urandom(size)), "none")], {"Cmd": ["true"]})


@pytest.fixture
def upstream() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as running:
        yield running


@pytest.fixture
def registry(tmp_path: Path, upstream: FaultyRegistry) -> Iterator[OwnRegistry]:
    with proxy(tmp_path, upstream) as running:
        yield running


def proxy(directory: Path, upstream: FaultyRegistry, *more: str) -> OwnRegistry:
    (directory / "config.toml").write_text(QUICK)
    return OwnRegistry(directory, "--anonymous", "--proxy", f"hub=http://{upstream.address}", *more)


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def code(told: Told) -> str:
    return str(json.loads(told.body)["errors"][0]["code"])


def fetch(registry: OwnRegistry, made: OciImage, reference: str = "1") -> None:
    """Pull all of it, and compare."""
    told = registry.ask("GET", f"/v2/hub/team/app/manifests/{reference}")
    assert (told.status, told.body) == (200, made.manifest.read())
    for blob in made.blobs():
        told = registry.ask("GET", f"/v2/hub/team/app/blobs/{blob.digest}")
        assert (told.status, told.body) == (200, blob.read())


def test_what_was_fetched_is_kept(registry: OwnRegistry, upstream: FaultyRegistry) -> None:
    made = sample()
    upstream.hold("team/app", "1", made)
    fetch(registry, made)
    before = len(upstream.asked)
    fetch(registry, made)
    fetch(registry, made, made.digest)
    assert len(upstream.asked) == before
    assert json.loads(registry.ask("GET", "/v2/_catalog").body)["repositories"] == ["hub/team/app"]
    assert registry.ask("HEAD", f"/v2/hub/team/app/blobs/{made.layers[0].blob.digest}").status == 200


def test_many_askers_share_one_download(registry: OwnRegistry, upstream: FaultyRegistry) -> None:
    made = sample(size=8 << 20)
    upstream.hold("team/app", "1", made)
    blob = made.layers[0].blob

    def get(number: int) -> bool:
        part = {} if number % 2 else {"Range": "bytes=100-"}
        registry.ask("GET", "/v2/hub/team/app/manifests/1")
        told = registry.ask("GET", f"/v2/hub/team/app/blobs/{blob.digest}", headers=part)
        return told.body == (blob.read() if number % 2 else blob.read()[100:])

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(get, range(12)))
    assert upstream.count(f"/blobs/{blob.digest}") == 1
    assert upstream.count("/manifests/1") == 1


def test_a_blob_is_sent_on_while_it_arrives(registry: OwnRegistry, upstream: FaultyRegistry) -> None:
    made = sample(size=4 << 20)
    upstream.hold("team/app", "1", made)
    blob = made.layers[0].blob
    upstream.faults.append(Fault(f"/blobs/{blob.digest}", stall=3 << 20, times=1, method="GET"))
    connection = registry.connect()
    connection.request("GET", f"/v2/hub/team/app/blobs/{blob.digest}")
    response = connection.getresponse()
    assert response.read(2 << 20) == blob.read()[: 2 << 20]
    assert upstream.stalling.acquire(timeout=20), "the rest has not been sent yet"
    upstream.release()
    assert response.read() == blob.read()[2 << 20 :]
    connection.close()


def test_a_tag_that_moves(tmp_path: Path, upstream: FaultyRegistry) -> None:
    first, second = sample(1, 1000), sample(2, 1000)
    with proxy(tmp_path, upstream, "--fresh", "0") as registry:
        upstream.hold("team/app", "1", first)
        fetch(registry, first)
        upstream.hold("team/app", "1", second)
        fetch(registry, second)
        assert registry.ask("GET", f"/v2/hub/team/app/manifests/{first.digest}").status == 200
        fetch(registry, second)
        assert upstream.count("/manifests/1") == 2, "what has not moved is asked for by HEAD alone"


def test_without_the_other_registry_what_is_kept_serves(tmp_path: Path) -> None:
    made = sample()
    with FaultyRegistry() as upstream:
        upstream.hold("team/app", "1", made)
        running = proxy(tmp_path, upstream, "--fresh", "0")
        with running as registry:
            fetch(registry, made)
    with running as registry:
        fetch(registry, made)
        told = registry.ask("GET", "/v2/hub/team/app/manifests/2")
        assert (told.status, code(told)) == (503, "UNAVAILABLE")
        assert "retry-after" in told.headers
        assert registry.ask("GET", f"/v2/hub/team/app/blobs/sha256:{'0' * 64}").status == 503


def test_wrong_content_is_neither_kept_nor_passed_on_whole(registry: OwnRegistry, upstream: FaultyRegistry) -> None:
    made = sample()
    upstream.hold("team/app", "1", made)
    blob = made.layers[0].blob
    upstream.faults.append(Fault(f"/blobs/{blob.digest}", corrupt=1000, method="GET", times=1))
    path = f"/v2/hub/team/app/blobs/{blob.digest}"
    connection = registry.connect()
    connection.request("GET", path)
    response = connection.getresponse()
    with pytest.raises(Exception, match=r"IncompleteRead|reset"):
        response.read()
    connection.close()
    assert list((registry.root / "blobs" / "partial").iterdir()) == []
    assert registry.ask("GET", path).body == blob.read()
    upstream.faults.append(Fault("/manifests/1", corrupt=3, method="GET", times=1))
    told = registry.ask("GET", "/v2/hub/team/app/manifests/1")
    assert (told.status, code(told)) == (502, "UNKNOWN")


def test_a_download_that_breaks_goes_on(registry: OwnRegistry, upstream: FaultyRegistry) -> None:
    made = sample()
    upstream.hold("team/app", "1", made)
    blob = made.layers[0].blob
    upstream.faults.append(Fault(f"/blobs/{blob.digest}", truncate=1 << 20, method="GET", times=2))
    assert registry.ask("GET", f"/v2/hub/team/app/blobs/{blob.digest}").body == blob.read()


def test_kill_9_in_the_middle_of_a_download(tmp_path: Path, upstream: FaultyRegistry) -> None:
    made = sample(size=4 << 20)
    upstream.hold("team/app", "1", made)
    blob = made.layers[0].blob
    upstream.faults.append(Fault(f"/blobs/{blob.digest}", stall=3 << 20, times=1, method="GET"))
    with proxy(tmp_path, upstream) as registry:
        asking = threading.Thread(target=lambda: _quietly(registry, f"/v2/hub/team/app/blobs/{blob.digest}"))
        asking.start()
        assert upstream.stalling.acquire(timeout=20)
        _until_some_is_kept(tmp_path)
        registry.kill()
        asking.join()
        registry.start()
        fetch(registry, made)
    assert any(asked.range for asked in upstream.asked), "what had come was not fetched again"


def _until_some_is_kept(root: Path) -> None:
    """What was sent may still be on its way to the disk."""
    deadline = time.monotonic() + 20
    while not any(file.stat().st_size > 1 << 20 for file in root.rglob("*") if file.is_file()):
        assert time.monotonic() < deadline, "nothing of the blob was kept"
        time.sleep(0.01)


def _quietly(registry: OwnRegistry, path: str) -> None:
    try:
        registry.ask("GET", path)
    except Exception:  # noqa: BLE001  # it is killed while it answers
        return


def test_refusals_of_the_other_registry(registry: OwnRegistry, upstream: FaultyRegistry) -> None:
    told = registry.ask("GET", "/v2/hub/team/none/manifests/1")
    assert (told.status, code(told)) == (404, "MANIFEST_UNKNOWN")
    assert registry.ask("HEAD", "/v2/hub/team/none/manifests/1").status == 404
    told = registry.ask("GET", f"/v2/hub/team/none/blobs/sha256:{'0' * 64}")
    assert (told.status, code(told)) == (404, "BLOB_UNKNOWN")
    upstream.faults.append(Fault("/secret/", status=403))
    told = registry.ask("GET", "/v2/hub/team/secret/manifests/1")
    assert (told.status, code(told)) == (403, "DENIED")


def test_pushes_go_to_the_other_registry_itself(registry: OwnRegistry) -> None:
    told = registry.ask("POST", "/v2/hub/team/app/blobs/uploads/", b"")
    assert (told.status, code(told)) == (403, "DENIED")
    assert registry.ask("POST", "/v2/own/app/blobs/uploads/", b"").status == 202


def test_referrers_are_the_other_registrys(tmp_path: Path) -> None:
    """Of one that has the list, ours, and of what is kept once that is gone."""
    near, far = tmp_path / "near", tmp_path / "far"
    for directory in (near, far):
        directory.mkdir()
    part = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2}
    base = {"schemaVersion": 2, "mediaType": OCI, "config": part, "layers": [part]}
    subject = json.dumps(base).encode()
    described = {"mediaType": OCI, "digest": sha(subject), "size": len(subject)}
    signature = json.dumps({**base, "artifactType": "a/sig", "subject": described}).encode()
    with OwnRegistry(far) as other:
        other.ask("POST", f"/v2/team/app/blobs/uploads/?digest={EMPTY}", b"{}")
        for body in (subject, signature):
            told = other.ask("PUT", f"/v2/team/app/manifests/{sha(body)}", body, {"Content-Type": OCI})
            assert told.status == 201
        with OwnRegistry(near, "--anonymous", "--proxy", f"hub=http://{other.address}") as registry:
            path = f"/v2/hub/team/app/referrers/{sha(subject)}"
            wanted = other.ask("GET", path.replace("/hub/", "/")).body
            assert json.loads(registry.ask("GET", path).body) == json.loads(wanted)
            assert json.loads(registry.ask("GET", f"{path}?artifactType=a/other").body)["manifests"] == []
            assert registry.ask("GET", f"/v2/hub/team/app/manifests/{sha(signature)}").body == signature
            other.stop()
            [kept] = json.loads(registry.ask("GET", path).body)["manifests"]
            assert kept["digest"] == sha(signature)


def test_one_rule_for_all_names(tmp_path: Path, upstream: FaultyRegistry) -> None:
    made = sample(size=1000)
    upstream.hold("team/app", "1", made)
    with OwnRegistry(tmp_path, "--anonymous", "--proxy", f"*=http://{upstream.address}") as registry:
        assert registry.ask("GET", "/v2/team/app/manifests/1").body == made.manifest.read()
        assert registry.ask("POST", "/v2/team/app/blobs/uploads/", b"").status == 403


def test_gc_gives_back_what_a_tag_left_behind(tmp_path: Path, upstream: FaultyRegistry) -> None:
    first, second = sample(1, 1000), sample(2, 1000)
    with proxy(tmp_path, upstream, "--fresh", "0") as registry:
        for made in (first, second):
            upstream.hold("team/app", "1", made)
            fetch(registry, made)
        gone = cli(tmp_path, "gc", "--grace", "0", "--untagged").stdout
        assert first.digest in gone
        assert first.layers[0].blob.digest in gone
        fetch(registry, second)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_pulls_through_it(registry: OwnRegistry, upstream: FaultyRegistry, tmp_path: Path) -> None:
    upstream.hold("team/box", "1", busybox_image())
    argv = [
        "skopeo",
        "copy",
        "--src-tls-verify=false",
        f"docker://{registry.address}/hub/team/box:1",
        f"oci:{tmp_path}/out:1",
    ]
    subprocess.run(argv, check=True, capture_output=True)
