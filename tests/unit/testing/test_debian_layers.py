"""The cache of layers from packages, without packages: keys, and nothing half-made."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from zlayer.testing.debian_images import main
from zlayer.testing.debian_layers import LayerCache
from zlayer.testing.debian_recipes import RECIPES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as making images does")


class Maker:
    """Makes a small tree, or fails."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False

    def __call__(self, work: Path) -> Path:
        self.calls += 1
        if self.fails:
            raise OSError("no network")
        (work / "tree").mkdir()
        (work / "tree/file").write_text("x")
        return work / "tree"


@pytest.fixture(autouse=True)
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache only looks whether there is one."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mmdebstrap").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)


def test_a_layer_is_made_once_per_key(tmp_path: Path) -> None:
    make, cache = Maker(), LayerCache(tmp_path / "cache")
    first = cache._cached("a", ["1"], make)
    assert cache._cached("a", ["1"], make) == first
    assert make.calls == 1
    cache._cached("a", ["2"], make)
    assert make.calls == 2
    packed = first.blob.read()
    assert first.blob.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert first.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"
    assert first.blob.size == len(packed)


def test_a_failure_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    make, cache = Maker(), LayerCache(tmp_path / "cache")
    make.fails = True
    with pytest.raises(OSError, match="no network"):
        cache._cached("a", ["1"], make)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a.lock"]
    make.fails = False
    assert cache._cached("a", ["1"], make).blob.size


def test_recipes_are_named_by_their_keys_and_start_something() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.packages
        assert recipe.config["Cmd"]


def test_an_unknown_image_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--registry", "127.0.0.1:1", "windows"])
    assert "windows" in capsys.readouterr().err
