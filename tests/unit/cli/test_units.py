from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from zlayer.cli import units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024), ("1k", 1024), ("512m", 512 * 2**20), ("512Mi", 512 * 2**20), ("512MiB", 512 * 2**20),
        ("1.5g", 3 * 2**29), ("2G", 2**31), ("5MB", 5_000_000), ("7b", 7),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert units.size(text) == size


@pytest.mark.parametrize("text", ["", "m", "0", "-1m", "1x", "1mm"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        units.size(text)


def test_cpus() -> None:
    assert (units.cpus("0.5"), units.cpus("500m"), units.cpus("2")) == (0.5, 0.5, 2.0)
    for text in ("", "0", "-1", "x", "nan"):
        with pytest.raises(argparse.ArgumentTypeError):
            units.cpus(text)


def test_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert units.mount("/a:/b:ro") == {"target": "/b", "readonly": True, "source": "/a"}
    assert units.mount("./src:/b")["source"] == str(tmp_path / "src")
    assert units.mount("data:/b") == {"target": "/b", "readonly": False, "source": "data"}
    assert units.mount("/b") == {"target": "/b", "readonly": False}
    for text in ("a", "/a:b", "/a:/b:/c", "/a:/b:rx"):
        with pytest.raises(argparse.ArgumentTypeError):
            units.mount(text)
