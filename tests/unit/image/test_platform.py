from __future__ import annotations

import pytest

from zlayer.image.platform import normal, own, parse
from zlayer.model.errors import Invalid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"), ("linux/arm/v7", "linux/arm"), ("linux/armhf", "linux/arm"),
        ("linux/arm/v6", "linux/arm/v6"), ("linux/armel", "linux/arm/v6"), ("linux/arm/6", "linux/arm/v6"),
        ("linux/amd64/v3", "linux/amd64/v3"), ("Linux/AMD64", "linux/amd64"), ("wasip1/wasm", "wasip1/wasm"),
    ],
)  # fmt: skip
def test_normal_forms(text: str, expected: str) -> None:
    assert str(parse(text)) == expected


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "a//b"])
def test_bad(text: str) -> None:
    with pytest.raises(Invalid, match="not a platform"):
        parse(text)


def test_what_runs_where() -> None:
    assert [str(p) for p in parse("linux/arm/v7").acceptable()] == ["linux/arm", "linux/arm/v6", "linux/arm/v5"]
    assert [str(p) for p in parse("linux/amd64/v2").acceptable()] == ["linux/amd64/v2", "linux/amd64"]
    assert [str(p) for p in parse("linux/amd64").acceptable()] == ["linux/amd64"]
    assert [str(p) for p in parse("linux/s390x").acceptable()] == ["linux/s390x"]


def test_own_is_normal() -> None:
    assert own() == normal(own().os, own().architecture, own().variant)
    assert own().os == "linux"
