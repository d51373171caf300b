"""Our own registry by the conformance cases of the distribution-spec 1.1: pull, push, content discovery, management."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.own_registry import OwnRegistry, Told, cli

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
ABSENT = "sha256:" + "0" * 64


def sha(body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def code(told: Told) -> str:
    """The code of the error document, which has the form the specification gives."""
    [error] = json.loads(told.body)["errors"]
    assert set(error) == {"code", "message", "detail"}
    assert told.headers["content-type"] == "application/json"
    return str(error["code"])


class Client:
    """Just enough of a client, against the repository `name`."""

    def __init__(self, registry: OwnRegistry, name: str) -> None:
        self.registry, self.name = registry, name

    def ask(self, method: str, rest: str, body: bytes | None = None, **headers: str) -> Told:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.registry.ask(method, f"/v2/{self.name}/{rest}", body, sent)

    def begin(self) -> str:
        told = self.ask("POST", "blobs/uploads/", b"")
        assert told.status == 202
        return told.headers["location"]

    def blob(self, body: bytes, digest: str = "") -> str:
        digest = digest or sha(body)
        told = self.ask("POST", f"blobs/uploads/?digest={digest}", body)
        assert told.status == 201, told
        return digest

    def manifest(self, tag: str, layers: list[bytes] | None = None, **more: Any) -> str:
        """Push an image and give its digest."""
        parts = [b"{}", *(layers or [])]
        for part in parts:
            self.blob(part)
        described = [{"mediaType": CONFIG, "digest": sha(part), "size": len(part)} for part in parts]
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:], **more}
        return self.put(tag, document)

    def put(self, reference: str, document: Any, kind: str = MANIFEST) -> str:
        body = json.dumps(document).encode()
        told = self.ask("PUT", f"manifests/{reference or sha(body)}", body, Content_Type=kind)
        assert told.status == 201, told
        assert told.headers["docker-content-digest"] == sha(body)
        return sha(body)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with OwnRegistry(tmp_path_factory.mktemp("own")) as running:
        yield running


@pytest.fixture
def client(registry: OwnRegistry, request: pytest.FixtureRequest) -> Client:
    return Client(registry, f"team/{request.node.name.partition('[')[0].replace('_', '-')}")


def test_it_says_which_api_it_speaks(registry: OwnRegistry) -> None:
    told = registry.ask("GET", "/v2/")
    assert (told.status, told.body) == (200, b"{}")
    assert told.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_blob_in_one_post(client: Client) -> None:
    digest = client.blob(b"hello")
    told = client.ask("GET", f"blobs/{digest}")
    assert (told.status, told.body) == (200, b"hello")
    assert told.headers["docker-content-digest"] == digest
    head = client.ask("HEAD", f"blobs/{digest}")
    assert (head.status, head.headers["content-length"], head.body) == (200, "5", b"")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_by_post_and_put(client: Client, algorithm: str) -> None:
    body = os.urandom(3 << 20)
    told = client.registry.ask("PUT", f"{client.begin()}?digest={sha(body, algorithm)}", body)
    assert told.status == 201
    assert told.headers["location"] == f"/v2/{client.name}/blobs/{sha(body, algorithm)}"
    assert client.ask("GET", f"blobs/{sha(body, algorithm)}").body == body


def test_a_blob_in_chunks_with_a_look_at_the_offset(client: Client) -> None:
    place, body = client.begin(), os.urandom(2_500_000)
    assert client.registry.ask("GET", place).headers["range"] == "0-0"
    first = client.registry.ask("PATCH", place, body[:1_500_000], {"Content-Range": "0-1499999"})
    assert (first.status, first.headers["range"]) == (202, "0-1499999")
    told = client.registry.ask("GET", place)
    assert (told.status, told.headers["range"], told.headers["location"]) == (204, "0-1499999", place)
    again = client.registry.ask("PATCH", place, body[:1_500_000], {"Content-Range": "0-1499999"})
    assert (again.status, code(again), again.headers["range"]) == (416, "RANGE_INVALID", "0-1499999")
    last = {"Content-Range": f"1500000-{len(body) - 1}"}
    assert client.registry.ask("PUT", f"{place}?digest={sha(body)}", body[1_500_000:], last).status == 201
    assert client.ask("GET", f"blobs/{sha(body)}").body == body
    assert code(client.registry.ask("GET", place)) == "BLOB_UPLOAD_UNKNOWN"


def test_a_stream_without_a_length(client: Client) -> None:
    place, parts = client.begin(), [os.urandom(700_000) for _ in range(4)]
    assert client.registry.ask("PATCH", place, iter(parts), {"Transfer-Encoding": "chunked"}).status == 202
    body = b"".join(parts)
    assert client.registry.ask("PUT", f"{place}?digest={sha(body)}").status == 201


def test_an_upload_that_is_given_up(client: Client) -> None:
    place = client.begin()
    assert client.registry.ask("DELETE", place).status == 204
    assert code(client.registry.ask("PATCH", place, b"x")) == "BLOB_UPLOAD_UNKNOWN"


def test_the_empty_blob(client: Client) -> None:
    digest = client.blob(b"")
    assert client.ask("GET", f"blobs/{digest}").headers["content-length"] == "0"


def test_a_mount_and_what_cannot_be_mounted(client: Client) -> None:
    digest = client.blob(b"shared")
    other = Client(client.registry, f"{client.name}/other")
    assert other.ask("HEAD", f"blobs/{digest}").status == 404
    told = other.ask("POST", f"blobs/uploads/?mount={digest}&from={client.name}", b"")
    assert (told.status, told.headers["docker-content-digest"]) == (201, digest)
    assert other.ask("GET", f"blobs/{digest}").body == b"shared"
    assert other.ask("POST", f"blobs/uploads/?mount={ABSENT}&from={client.name}", b"").status == 202
    assert other.ask("POST", f"blobs/uploads/?mount={digest}", b"").status == 202


@pytest.mark.parametrize(
    ("asked", "status", "wanted"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=5-99", 206, b"56789"),
        ("bytes=9-9", 206, b"9"),
        ("bytes=10-", 416, None),
        ("bytes=5-2", 200, b"0123456789"),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=a-b", 200, b"0123456789"),
    ],
)
def test_ranges_of_a_blob(client: Client, asked: str, status: int, wanted: bytes | None) -> None:
    digest = client.blob(b"0123456789")
    told = client.ask("GET", f"blobs/{digest}", Range=asked)
    assert told.status == status
    if wanted is None:
        assert told.headers["content-range"] == "bytes */10"
    else:
        assert told.body == wanted


def test_what_a_client_has_is_not_sent_again(client: Client) -> None:
    digest = client.blob(b"x")
    assert client.ask("GET", f"blobs/{digest}", If_None_Match=f'"{digest}"').status == 304


def test_a_manifest_by_tag_and_digest(client: Client) -> None:
    digest = client.manifest("1.0", [b"layer"])
    for reference in ("1.0", digest):
        told = client.ask("GET", f"manifests/{reference}", Accept=MANIFEST)
        assert (told.status, told.headers["content-type"], sha(told.body)) == (200, MANIFEST, digest)
        head = client.ask("HEAD", f"manifests/{reference}")
        assert (head.status, head.headers["docker-content-digest"], head.body) == (200, digest, b"")
    assert code(client.ask("GET", "manifests/nothere")) == "MANIFEST_UNKNOWN"
    assert client.ask("HEAD", f"manifests/{ABSENT}").status == 404


def test_a_manifest_by_its_sha512(client: Client) -> None:
    client.manifest("1")
    body = client.ask("GET", "manifests/1").body + b"\n"
    digest = sha(body, "sha512")
    assert client.ask("PUT", f"manifests/{digest}", body, Content_Type=MANIFEST).status == 201
    assert client.ask("GET", f"manifests/{digest}").body == body


def test_an_index_needs_its_manifests(client: Client) -> None:
    child = client.manifest("child")
    size = len(client.ask("GET", "manifests/child").body)
    entry = {"mediaType": MANIFEST, "digest": child, "size": size}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    client.put("multi", index, INDEX)
    body = json.dumps({**index, "manifests": [{**entry, "digest": ABSENT}]}).encode()
    told = client.ask("PUT", "manifests/multi", body, Content_Type=INDEX)
    assert (told.status, code(told)) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_tags_in_pages(client: Client) -> None:
    for tag in ("c", "a", "b", "D", "e1"):
        client.manifest(tag)
    assert json.loads(client.ask("GET", "tags/list").body) == {"name": client.name, "tags": ["D", "a", "b", "c", "e1"]}
    seen, path = [], f"/v2/{client.name}/tags/list?n=2"
    while path:
        told = client.registry.ask("GET", path)
        seen.append(json.loads(told.body)["tags"])
        path = told.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert seen == [["D", "a"], ["b", "c"], ["e1"]]
    assert json.loads(client.ask("GET", "tags/list?n=0").body)["tags"] == []
    assert json.loads(client.ask("GET", "tags/list?last=b").body)["tags"] == ["c", "e1"]
    assert code(client.ask("GET", "tags/list?n=-1")) == "PAGINATION_NUMBER_INVALID"
    assert code(Client(client.registry, "team/none").ask("GET", "tags/list")) == "NAME_UNKNOWN"


def test_the_catalog(client: Client) -> None:
    client.manifest("1")
    names = json.loads(client.registry.ask("GET", "/v2/_catalog").body)["repositories"]
    assert client.name in names
    told = client.registry.ask("GET", "/v2/_catalog?n=1")
    assert json.loads(told.body)["repositories"] == names[:1]


def test_referrers(client: Client) -> None:
    subject = client.manifest("1")
    described = {"mediaType": MANIFEST, "digest": subject, "size": 7}
    assert json.loads(client.ask("GET", f"referrers/{subject}").body)["manifests"] == []
    notes = {"org.example": "yes"}
    body = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx", "subject": described,
        "config": {"mediaType": EMPTY, "digest": sha(b"{}"), "size": 2}, "layers": [], "annotations": notes,
    }).encode()  # fmt: skip
    told = client.ask("PUT", f"manifests/{sha(body)}", body, Content_Type=MANIFEST)
    assert (told.status, told.headers["oci-subject"]) == (201, subject)
    client.manifest("", [], subject=described)
    told = client.ask("GET", f"referrers/{subject}")
    assert told.headers["content-type"] == INDEX
    assert "oci-filters-applied" not in told.headers
    assert {one["artifactType"] for one in json.loads(told.body)["manifests"]} == {CONFIG, "application/spdx"}
    told = client.ask("GET", f"referrers/{subject}?artifactType=application/spdx")
    assert told.headers["oci-filters-applied"] == "artifactType"
    [one] = json.loads(told.body)["manifests"]
    assert one == {
        "mediaType": MANIFEST, "artifactType": "application/spdx", "annotations": notes,
        "digest": sha(body), "size": len(body),
    }  # fmt: skip
    pages, path = 0, f"/v2/{client.name}/referrers/{subject}?n=1"
    while path:
        told = client.registry.ask("GET", path)
        pages += len(json.loads(told.body)["manifests"])
        path = told.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert pages == 2
    assert client.ask("DELETE", f"manifests/{sha(body)}").status == 202
    assert len(json.loads(client.ask("GET", f"referrers/{subject}").body)["manifests"]) == 1


def test_deleting(client: Client) -> None:
    digest = client.manifest("1", [b"doomed"])
    client.manifest("2", [b"doomed"])
    assert client.ask("DELETE", "manifests/1").status == 202
    assert client.ask("GET", "manifests/1").status == 404
    assert client.ask("GET", "manifests/2").status == 200
    assert client.ask("DELETE", f"manifests/{digest}").status == 202
    assert client.ask("GET", "manifests/2").status == 404
    assert client.ask("DELETE", f"manifests/{digest}").status == 404
    assert client.ask("DELETE", f"blobs/{sha(b'doomed')}").status == 202
    assert code(client.ask("GET", f"blobs/{sha(b'doomed')}")) == "BLOB_UNKNOWN"
    assert client.ask("DELETE", f"blobs/{ABSENT}").status == 404


def test_one_line_per_request_and_a_clean_end(tmp_path: Path) -> None:
    with OwnRegistry(tmp_path) as registry:
        registry.ask("GET", "/v2/team/app/tags/list?n=3")
        assert registry.stop() == 0
        lines = [json.loads(line) for line in registry.log.splitlines()]
    [line] = [one for one in lines if one["event"] == "registry.request"]
    assert (line["path"], line["status"], line["method"]) == ("/v2/team/app/tags/list", 404, "GET")
    assert lines[-1]["event"] == "registry.stopped"


def test_ls_and_gc(tmp_path: Path) -> None:
    with OwnRegistry(tmp_path) as registry:
        client = Client(registry, "team/app")
        digest = client.manifest("1", [b"kept" * 1000])
        loose = client.blob(b"loose" * 1000)
        listed = json.loads(cli(tmp_path, "ls", "--format", "json").stdout)
        assert [(one["repository"], one["tag"], one["digest"]) for one in listed] == [("team/app", "1", digest)]
        assert cli(tmp_path, "gc").stdout == "", "what has just come stays"
        assert cli(tmp_path, "gc", "--dry-run", "--grace", "0").stdout.split() == [loose]
        assert client.ask("GET", f"blobs/{loose}").status == 200
        assert cli(tmp_path, "gc", "--grace", "0").stdout.split() == [loose]
        assert client.ask("GET", f"blobs/{loose}").status == 404
        assert client.ask("GET", f"blobs/{sha(b'kept' * 1000)}").status == 200
        assert client.ask("DELETE", "manifests/1").status == 202
        assert cli(tmp_path, "gc", "--grace", "0").stdout == ""
        assert f"team/app@{digest}" in cli(tmp_path, "gc", "--grace", "0", "--untagged").stdout
        assert client.ask("GET", f"manifests/{digest}").status == 404
        assert list((registry.root / "blobs" / "sha256").iterdir()) == []
