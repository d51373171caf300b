"""What every registry must do by the OCI distribution-spec 1.1, endpoint by endpoint: end-1 to end-13.

Subclass `RegistryContract` with a `bench` fixture; see tests/contract. Only what the specification says MUST or SHOULD
is asked, and where it leaves two ways open, both are taken. Source: distribution-spec 1.1, spec.md, "Endpoints".
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCTETS = {"Content-Type": "application/octet-stream"}
ABSENT = "sha256:" + "0" * 64
DEADLINE = 30.0

Json = dict[str, Any]  # Any: documents of the wire


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read whole; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in self.json()["errors"]]


@dataclass(slots=True)
class RegistryBench:
    """A repository of its own, empty, at the registry on `address` (`host:port`, plain HTTP)."""

    address: str
    name: str = field(default_factory=lambda: f"conformance/{uuid.uuid4().hex}")

    def at(
        self, method: str, place: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request to `place`: a path, or a URL as Location gives it."""
        parts = urlsplit(place)
        connection = http.client.HTTPConnection(parts.netloc or self.address, timeout=DEADLINE)
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, path, body=body, headers=dict(headers or {}))
            got = connection.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def ask(
        self, method: str, rest: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self.at(method, f"/v2/{self.name}/{rest}", body, headers)

    def begin(self) -> str:
        told = self.ask("POST", "blobs/uploads/", b"")
        assert told.status == 202, told
        return told.headers["location"]

    def finish(self, place: str, digest: str, body: bytes = b"", headers: Mapping[str, str] = OCTETS) -> Answer:
        """End an upload; the place may have a query already."""
        return self.at("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", body, headers)

    def blob(self, body: bytes) -> Json:
        told = self.finish(self.begin(), sha(body), body)
        assert told.status == 201, told
        return described(LAYER, body)

    def put(self, reference: str, document: Json, kind: str = MANIFEST) -> Answer:
        body = json.dumps(document).encode()
        return self.ask("PUT", f"manifests/{reference or sha(body)}", body, {"Content-Type": kind})

    def image(self, reference: str, **more: Any) -> tuple[Json, bytes]:  # Any: fields of a manifest
        """Push an image with one layer; its descriptor and bytes."""
        document = image_of(self.blob(b"{}"), [self.blob(os.urandom(64))], **more)
        body = json.dumps(document).encode()
        told = self.put(reference, document)
        assert told.status == 201, told
        return described(MANIFEST, body), body


def sha(body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def described(kind: str, body: bytes) -> Json:
    return {"mediaType": kind, "digest": sha(body), "size": len(body)}


def image_of(config: Json, layers: list[Json], **more: Any) -> Json:  # Any: fields of a manifest
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**config, "mediaType": CONFIG},
        "layers": layers,
        **more,
    }


class RegistryContract:
    def test_end_1_the_api_is_there(self, bench: RegistryBench) -> None:
        assert bench.at("GET", "/v2/").status == 200

    def test_end_2_a_blob_and_its_head(self, bench: RegistryBench) -> None:
        body = os.urandom(1000)
        digest = bench.blob(body)["digest"]
        told, head = bench.ask("GET", f"blobs/{digest}"), bench.ask("HEAD", f"blobs/{digest}")
        assert (told.status, told.body, head.status, head.body) == (200, body, 200, b"")
        assert head.headers["content-length"] == "1000"
        for one in (told, head):
            assert one.headers.get("docker-content-digest", digest) == digest

    def test_end_2_a_part_of_a_blob(self, bench: RegistryBench) -> None:
        digest = bench.blob(b"0123456789")["digest"]
        told = bench.ask("GET", f"blobs/{digest}", headers={"Range": "bytes=2-5"})
        assert (told.status, told.body, told.headers["content-range"]) == (206, b"2345", "bytes 2-5/10")
        assert bench.ask("GET", f"blobs/{digest}", headers={"Range": "bytes=10-"}).status == 416

    def test_end_2_no_such_blob(self, bench: RegistryBench) -> None:
        bench.blob(b"x")
        told = bench.ask("GET", f"blobs/{ABSENT}")
        assert (told.status, told.codes) == (404, ["BLOB_UNKNOWN"])
        assert bench.ask("HEAD", f"blobs/{ABSENT}").status == 404

    def test_end_3_a_manifest_by_tag_and_digest_as_it_was_sent(self, bench: RegistryBench) -> None:
        meant, body = bench.image("v1", **{"org.example.unknown": {"kept": True}})
        for reference in ("v1", meant["digest"]):
            told = bench.ask("GET", f"manifests/{reference}", headers={"Accept": MANIFEST})
            head = bench.ask("HEAD", f"manifests/{reference}", headers={"Accept": MANIFEST})
            assert (told.status, told.body, told.headers["content-type"]) == (200, body, MANIFEST)
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(body)))
            assert told.headers["docker-content-digest"] == meant["digest"]

    def test_end_3_no_such_manifest(self, bench: RegistryBench) -> None:
        bench.image("v1")
        for reference in ("absent", ABSENT):
            told = bench.ask("GET", f"manifests/{reference}")
            assert (told.status, told.codes) == (404, ["MANIFEST_UNKNOWN"])
            assert bench.ask("HEAD", f"manifests/{reference}").status == 404

    def test_end_4a_and_6_post_then_put(self, bench: RegistryBench) -> None:
        body = os.urandom(100_000)
        told = bench.finish(bench.begin(), sha(body), body)
        assert told.status == 201
        assert bench.at("GET", told.headers["location"]).body == body

    def test_end_4b_one_post_or_an_upload_instead(self, bench: RegistryBench) -> None:
        body = os.urandom(1000)
        told = bench.ask("POST", f"blobs/uploads/?digest={sha(body)}", body, OCTETS)
        assert told.status in {201, 202}
        if told.status == 202:
            assert bench.finish(told.headers["location"], sha(body), body).status == 201
        assert bench.ask("GET", f"blobs/{sha(body)}").body == body

    def test_end_5_and_13_chunks_in_order_only(self, bench: RegistryBench) -> None:
        body, place = os.urandom(3000), bench.begin()
        told = bench.at("PATCH", place, body[:2000], {**OCTETS, "Content-Range": "0-1999"})
        assert (told.status, told.headers["range"]) == (202, "0-1999")
        place = told.headers["location"]
        wrong = bench.at("PATCH", place, body[:2000], {**OCTETS, "Content-Range": "0-1999"})
        assert wrong.status == 416
        look = bench.at("GET", place)
        assert (look.status, look.headers["range"]) == (204, "0-1999")
        last = {**OCTETS, "Content-Range": "2000-2999"}
        assert bench.finish(look.headers["location"], sha(body), body[2000:], last).status == 201
        assert bench.ask("GET", f"blobs/{sha(body)}").body == body

    def test_end_6_content_that_is_not_its_digest(self, bench: RegistryBench) -> None:
        told = bench.finish(bench.begin(), ABSENT, b"something else")
        assert (told.status, told.codes) == (400, ["DIGEST_INVALID"])
        assert bench.ask("HEAD", f"blobs/{ABSENT}").status == 404

    def test_end_6_sha512(self, bench: RegistryBench) -> None:
        body = os.urandom(1000)
        assert bench.finish(bench.begin(), sha(body, "sha512"), body).status == 201
        assert bench.ask("GET", f"blobs/{sha(body, 'sha512')}").body == body

    def test_end_7_where_a_manifest_is(self, bench: RegistryBench) -> None:
        document = image_of(bench.blob(b"{}"), [])
        told = bench.put("", document)
        assert told.status == 201
        assert bench.at("GET", told.headers["location"], headers={"Accept": MANIFEST}).json() == document

    def test_end_7_a_layer_kept_elsewhere_need_not_be_here(self, bench: RegistryBench) -> None:
        layer = {"mediaType": FOREIGN, "digest": ABSENT, "size": 9, "urls": ["https://store.example/blob"]}
        assert bench.put("v1", image_of(bench.blob(b"{}"), [layer])).status == 201

    def test_end_7_an_index_of_an_index(self, bench: RegistryBench) -> None:
        inner: Json = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [bench.image("v1")[0]]}
        assert bench.put("inner", inner, INDEX).status == 201
        outer = {**inner, "manifests": [described(INDEX, json.dumps(inner).encode())]}
        assert bench.put("outer", outer, INDEX).status == 201
        assert bench.ask("GET", "manifests/outer", headers={"Accept": INDEX}).json() == outer

    def test_end_7_an_empty_index(self, bench: RegistryBench) -> None:
        assert bench.put("none", {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, INDEX).status == 201

    def test_end_7_four_megabytes(self, bench: RegistryBench) -> None:
        notes = {f"org.example.{n}": "A" * 10_000 for n in range(390)}
        meant, body = bench.image("large", annotations=notes)
        assert bench.ask("GET", f"manifests/{meant['digest']}", headers={"Accept": MANIFEST}).body == body

    def test_end_7_what_is_no_manifest(self, bench: RegistryBench) -> None:
        told = bench.ask("PUT", "manifests/v1", b"blablabla", {"Content-Type": MANIFEST})
        assert (told.status, told.codes) == (400, ["MANIFEST_INVALID"])

    def test_end_8_tags_in_order_and_in_pages(self, bench: RegistryBench) -> None:
        for tag in ("b", "a", "d", "c"):
            bench.image(tag)
        assert bench.ask("GET", "tags/list").json() == {"name": bench.name, "tags": ["a", "b", "c", "d"]}
        told = bench.ask("GET", "tags/list?n=3")
        assert told.json()["tags"] == ["a", "b", "c"]
        assert 'rel="next"' in told.headers["link"]
        assert bench.ask("GET", "tags/list?n=2&last=a").json()["tags"] == ["b", "c"]

    def test_end_8_no_tag_for_a_page_of_none(self, bench: RegistryBench) -> None:
        bench.image("a")
        told = bench.ask("GET", "tags/list?n=0")
        assert (told.status, told.json()["tags"], "link" in told.headers) == (200, [], False)

    def test_end_8_no_such_repository(self, bench: RegistryBench) -> None:
        told = bench.ask("GET", "tags/list")
        assert (told.status, told.codes) == (404, ["NAME_UNKNOWN"])

    def test_end_9_a_manifest_deleted(self, bench: RegistryBench) -> None:
        digest = bench.image("v1")[0]["digest"]
        assert bench.ask("DELETE", f"manifests/{digest}").status == 202
        for reference in (digest, "v1"):
            assert bench.ask("GET", f"manifests/{reference}").status == 404
        assert bench.ask("DELETE", f"manifests/{digest}").status == 404

    def test_end_9_a_tag_deleted(self, bench: RegistryBench) -> None:
        digest = bench.image("v1")[0]["digest"]
        assert bench.ask("DELETE", "manifests/v1").status == 202
        assert bench.ask("GET", "manifests/v1").status == 404
        assert bench.ask("GET", f"manifests/{digest}", headers={"Accept": MANIFEST}).status == 200

    def test_end_10_a_blob_deleted(self, bench: RegistryBench) -> None:
        digest = bench.blob(os.urandom(10))["digest"]
        assert bench.ask("DELETE", f"blobs/{digest}").status == 202
        assert bench.ask("GET", f"blobs/{digest}").status == 404
        assert bench.ask("DELETE", f"blobs/{digest}").status == 404

    def test_end_11_a_blob_mounted(self, bench: RegistryBench) -> None:
        digest = bench.blob(os.urandom(10))["digest"]
        other = RegistryBench(bench.address)
        told = other.ask("POST", f"blobs/uploads/?mount={digest}&from={bench.name}", b"")
        assert told.status == 201
        assert bench.at("HEAD", told.headers["location"]).status == 200
        assert other.ask("HEAD", f"blobs/{digest}").status == 200

    @pytest.mark.parametrize("source", ["", "&from=conformance/absent"])
    def test_end_11_an_upload_where_nothing_can_be_mounted(self, bench: RegistryBench, source: str) -> None:
        told = bench.ask("POST", f"blobs/uploads/?mount={ABSENT}{source}", b"")
        assert (told.status, "location" in told.headers) == (202, True)

    def test_end_12_referrers_also_of_what_is_not_here(self, bench: RegistryBench) -> None:
        bench.blob(b"{}")
        assert bench.ask("GET", f"referrers/{ABSENT}").json()["manifests"] == []
        subject = {"mediaType": MANIFEST, "digest": ABSENT, "size": 9}
        document = image_of(
            bench.blob(b"{}"), [], subject=subject, artifactType="application/x", annotations={"a": "b"}
        )
        told = bench.put("", document)
        assert (told.status, told.headers["oci-subject"]) == (201, ABSENT)
        listed = bench.ask("GET", f"referrers/{ABSENT}")
        meant = described(MANIFEST, json.dumps(document).encode())
        assert (listed.status, listed.headers["content-type"]) == (200, INDEX)
        assert listed.json()["manifests"] == [{**meant, "artifactType": "application/x", "annotations": {"a": "b"}}]

    def test_end_12_referrers_of_an_index_by_type(self, bench: RegistryBench) -> None:
        subject, _ = bench.image("v1")
        for kind in ("application/x", "application/y"):
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": kind, "subject": subject}
            assert bench.put("", index, INDEX).status == 201
        told = bench.ask("GET", f"referrers/{subject['digest']}?artifactType=application/x")
        wanted = ["application/x"]
        if told.headers.get("oci-filters-applied") != "artifactType":
            wanted.append("application/y")
        assert sorted(one["artifactType"] for one in told.json()["manifests"]) == wanted

    def test_end_12_referrers_of_what_is_no_digest(self, bench: RegistryBench) -> None:
        assert bench.ask("GET", "referrers/sha256:short").status == 400

    def test_end_13_no_such_upload(self, bench: RegistryBench) -> None:
        place = bench.begin()
        assert bench.finish(place, sha(b"x"), b"x").status == 201
        told = bench.at("GET", place)
        assert (told.status, told.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
