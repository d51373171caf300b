from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Invalid
from zlayer.spec.imagename import check_image

SHA = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "name",
    ["nginx", "nginx:1.27-alpine", "library/nginx", "localhost/app", "localhost:5000/app:v1", "127.0.0.1:5000/a/b/c:x",
     "[::1]:5000/app", "Registry.Example.org/acme/api", f"a/b@{SHA}", f"a:1@{SHA}", "a__b/c-d.e", "gcr.io/a--b/c:_x",
     f"a@sha512:{'f' * 128}"],
)  # fmt: skip
def test_references(name: str) -> None:
    assert check_image(f" {name} ") == name


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "is empty"), ("  ", "is empty"), ("Nginx", "lower case"), ("a/", "part of it is empty"), ("/a", "part of it"),
     ("a:", "not a tag"), ("a:b:c", "cannot stand"), ("a@b", "not a digest"), ("a@sha256:00", "not a digest"),
     (f"a@{SHA}00", "64 hex digits"), ("a b", "cannot stand"), ("a..b", "cannot stand"), ("-x.org/a", "registry host"),
     ("localhost:65536/a", "registry host"),
     ("http://a/b", "a URL"), ("a" * 300, "longer than 255"), ("a" * 600, "longer than 512"), ("a:" + "t" * 129, "tag"),
     ("a___b", "cannot stand"), ("é", "cannot stand")],
)  # fmt: skip
def test_what_is_no_reference(name: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        check_image(name)


@given(st.text(st.sampled_from("aA0.:/@-_[]~ "), max_size=40))
def test_any_text_passes_unchanged_or_is_refused(text: str) -> None:
    try:
        assert check_image(text) == text.strip()
    except Invalid as bad:
        assert len(bad.problems) == 1  # noqa: PT017 -- either is right
