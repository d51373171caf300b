"""Manifests as they are pushed: what is taken from a good one, and that any other bytes are a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.registry.faults import Refusal
from zlayer.registry.manifests import MAX_BYTES, Part, parse

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
A, B = "sha256:" + "a" * 64, "sha512:" + "b" * 128
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": A, "size": 2}


def body(**changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [{**CONFIG, "digest": B}], **changes}).encode()


def test_an_image() -> None:
    parsed = parse(body(), OCI)
    assert (parsed.media_type, parsed.blobs, parsed.children) == (OCI, (Part(A, 2), Part(B, 2)), ())
    assert parsed.references == {A, B}
    assert parsed.listing == {"mediaType": OCI, "artifactType": CONFIG["mediaType"]}
    assert parse(body(mediaType=DOCKER), f"{DOCKER}; charset=utf-8").media_type == DOCKER
    assert parse(body(), "").media_type == OCI


def test_an_index_and_what_refers() -> None:
    entry = {"mediaType": OCI, "digest": A, "size": 9}
    index = json.dumps(
        {"schemaVersion": 2, "manifests": [entry], "subject": {**entry, "digest": B}, "artifactType": "t"}
    )
    parsed = parse(index.encode(), INDEX)
    assert (parsed.children, parsed.subject, parsed.blobs) == ((Part(A, 9),), B, ())
    assert parsed.listing == {"mediaType": INDEX, "artifactType": "t"}
    assert parse(index.encode(), "").media_type == INDEX


def test_a_layer_from_elsewhere() -> None:
    far = {**CONFIG, "digest": B, "urls": ["https://elsewhere.example"]}
    assert parse(body(layers=[far]), OCI).blobs[1].foreign


def test_refusals() -> None:
    for changes, kind, status in (
        ({"mediaType": OCI}, DOCKER, 400),
        ({"mediaType": "a/b"}, "a/b", 415),
        ({"schemaVersion": 1}, OCI, 400),
        ({"layers": [CONFIG] * 10_001}, OCI, 400),
        ({"artifactType": 3}, OCI, 400),
        ({"config": {**CONFIG, "size": 1 << 51}}, OCI, 400),
    ):
        with pytest.raises(Refusal) as told:
            parse(body(**changes), kind)
        assert told.value.status == status
    with pytest.raises(Refusal) as told:
        parse(b" " * (MAX_BYTES + 1), OCI)
    assert told.value.status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([A, B, OCI, INDEX, "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["digest", "size", "mediaType", "layers", "config", "manifests", "subject", "annotations", "urls"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(JSON, st.sampled_from(["", OCI, INDEX, DOCKER]))
def test_whatever_comes_is_parsed_or_refused(document: Any, kind: str) -> None:
    if isinstance(document, dict):
        document["schemaVersion"] = 2
    try:
        parse(json.dumps(document).encode(), kind)
        status = 400
    except Refusal as refusal:
        status = refusal.status
    assert status in (400, 415)
