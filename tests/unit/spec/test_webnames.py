from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Invalid
from zlayer.spec.webnames import check_host, check_path


@pytest.mark.parametrize(
    ("text", "normal"),
    [("Shop.Example.ORG", "shop.example.org"), ("*.example.org", "*.example.org"), ("a.example.org.", "a.example.org"),
     ("localhost", "localhost"), ("xn--bcher-kva.example", "xn--bcher-kva.example")],
)  # fmt: skip
def test_hosts_have_one_form(text: str, normal: str) -> None:
    assert check_host(text) == normal
    assert check_host(normal) == normal


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("bücher.example", "xn--bcher-kva.example"), ("*.bücher.example", "*.xn--bcher-kva.example"), ("*", ""),
     ("https://a.example/x", "a.example"), ("a.example:8080", "a.example"), ("a.example/api", "a.example"),
     ("192.0.2.1", ""), ("[::1]", ""), ("a_b.example", "a-b.example"), ("a.*.example", "*.example"), ("", ""),
     ("-a.example", ""), ("x" * 64 + ".example", ""), (".example", ""), ("a..b", ""), ("a b", ""), ("a.example\n", "")],
)  # fmt: skip
def test_what_is_no_host(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_host(text)
    [problem] = caught.value.problems
    assert (problem.kind, problem.suggestion) == ("InvalidHostname", suggestion)
    if suggestion:
        check_host(suggestion)


@pytest.mark.parametrize(
    ("text", "normal"),
    [("/", "/"), ("/api/", "/api"), ("//api//v1", "/api/v1"), ("/a%20b", "/a%20b"), ("/@me/~x;v=1", "/@me/~x;v=1")],
)
def test_paths_have_one_form(text: str, normal: str) -> None:
    assert check_path(text) == normal
    assert check_path(normal) == normal


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("api", "/api"), ("/api?x=1", "/api"), ("/api#x", "/api"), ("/api/*", "/api"), ("/*", "/"), ("/a b", "/a%20b"),
     ("/é", "/%C3%A9"), ("/a/../b", ""), ("http://a/b", ""), ("", "/"), ("/a\nb", "/a%0Ab"), ('/a"b', "/a%22b")],
)  # fmt: skip
def test_what_is_no_path(text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_path(text)
    [problem] = caught.value.problems
    assert (problem.kind, problem.suggestion) == ("InvalidPath", suggestion)
    if suggestion:
        check_path(suggestion)


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_explained(text: str) -> None:
    for check in (check_host, check_path):
        try:
            made = check(text)
        except Invalid as bad:
            assert bad.problems[0].message  # noqa: PT017 - either is right
        else:
            assert made.isascii()
            assert made.isprintable()
            assert not set(made) & set(' "\\`{}<>|^')
