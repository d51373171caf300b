"""Paths of requests: what each asks for, and that nothing else gets through."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.registry.faults import Refusal
from zlayer.registry.names import Target, target_of

DIGEST = "sha256:" + "a" * 64
UPLOAD = "00112233-4455-6677-8899-aabbccddeeff"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/v2/", Target("ping")),
        ("/v2", Target("ping")),
        ("/v2/_catalog", Target("catalog")),
        ("/v2/a/manifests/latest", Target("manifest", "a", "latest")),
        (f"/v2/a/b/c/manifests/{DIGEST}", Target("manifest", "a/b/c", DIGEST)),
        ("/v2/blobs/uploads/manifests/x", Target("manifest", "blobs/uploads", "x")),
        (f"/v2/a/blobs/{DIGEST}", Target("blob", "a", DIGEST)),
        (f"/v2/a/blobs/uploads/blobs/{DIGEST}", Target("blob", "a/blobs/uploads", DIGEST)),
        ("/v2/a/blobs/uploads/", Target("begin", "a")),
        ("/v2/a/blobs/uploads", Target("begin", "a")),
        (f"/v2/a/blobs/uploads/{UPLOAD}", Target("upload", "a", UPLOAD)),
        ("/v2/a/tags/list", Target("tags", "a")),
        (f"/v2/a/referrers/{DIGEST}", Target("referrers", "a", DIGEST)),
    ],
)
def test_what_a_path_asks_for(path: str, wanted: Target) -> None:
    assert target_of(path) == wanted


def asked(path: str) -> Target | Refusal:
    try:
        return target_of(path)
    except Refusal as refusal:
        return refusal


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "..",
                ".",
                "",
                "_tags",
                "A",
                "blobs",
                "uploads",
                "manifests",
                "x\0",
                "%2e",
                "a/b",
                "é",
                DIGEST,
                UPLOAD,
            ]
        ),
        max_size=6,
    )
)
def test_no_path_leads_out_of_a_repository(words: list[str]) -> None:
    target = asked("/v2/" + "/".join(words))
    if isinstance(target, Refusal):
        assert target.status in (400, 404)
        return
    home = Path("/root/repositories")
    place = home / target.name
    assert ".." not in place.parts
    assert not any(word.startswith((".", "_")) for word in target.name.split("/") if target.name)
    assert "/" not in target.item
    assert target.item not in (".", "..")


@given(st.text(max_size=40))
def test_any_text_is_answered(text: str) -> None:
    target = asked("/v2/" + text)
    assert not isinstance(target, Refusal) or target.status in (400, 404)
