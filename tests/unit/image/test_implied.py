"""Which directories are described by a layer below, and which are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zlayer.image.implied import borrowed, level
from zlayer.image.layers import LayerStore
from zlayer.model.errors import Corrupt

DIFF_ID = "sha256:" + "a" * 64


def made(root: Path, *names: str) -> Path:
    for name in (".", *names):
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def test_the_topmost_layer_that_says_something_is_heard(tmp_path: Path) -> None:
    base, middle, top = (made(tmp_path / name, "d/e") for name in ("base", "middle", "top"))
    every = frozenset({b"d", b"d/e"})
    assert list(borrowed([(base, frozenset()), (middle, every), (top, every)])) == [(b"d/e", base), (b"d", base)]
    assert list(borrowed([(base, frozenset()), (middle, frozenset({b"d"})), (top, every)])) == [
        (b"d/e", middle),
        (b"d", base),
    ]
    assert list(borrowed([(base, every), (middle, every), (top, frozenset())])) == []
    assert list(borrowed([(base, every), (middle, every)])) == [], "nobody says anything"
    assert list(borrowed([])) == []


@pytest.mark.parametrize("between", ["a file", "a link", "nothing"])
def test_what_lies_under_another_thing_is_not_heard(tmp_path: Path, between: str) -> None:
    base, top = made(tmp_path / "base", "d/e"), made(tmp_path / "top", "d/e")
    middle = made(tmp_path / "middle", "x")
    if between == "a file":
        (middle / "d").touch()
    elif between == "a link":
        (middle / "d").symlink_to("x")
    found = list(borrowed([(base, frozenset()), (middle, frozenset()), (top, frozenset({b"d/e"}))]))
    assert found == ([(b"d/e", base)] if between == "nothing" else [])


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: trusted xattrs")
@pytest.mark.parametrize("hiding", ["", "d", "d/e"])
def test_what_is_hidden_is_not_heard(tmp_path: Path, hiding: str) -> None:
    base, top = made(tmp_path / "base", "d/e"), made(tmp_path / "top", "d/e")
    os.setxattr(top / hiding, "trusted.overlay.opaque", b"y")
    assert list(borrowed([(base, frozenset()), (top, frozenset({b"d/e"}))])) == []


def test_a_root_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    base, top = made(tmp_path / "base", "d"), made(tmp_path / "top", "d")
    (base / "d").chmod(0o711)
    rootfs, outside = made(tmp_path / "rootfs"), made(tmp_path / "outside")
    (rootfs / "d").symlink_to(outside)
    with pytest.raises(Corrupt):
        level(borrowed([(base, frozenset()), (top, frozenset({b"d"}))]), rootfs)
    assert outside.stat().st_mode & 0o777 != 0o711


def test_the_store_keeps_what_it_was_told(tmp_path: Path) -> None:
    store = LayerStore(tmp_path, sync=False)
    assert store.implied(DIFF_ID) == frozenset()
    store.commit(store.begin(), DIFF_ID, [b"a", b"\xff/b"])
    assert store.implied(DIFF_ID) == {b"a", b"\xff/b"}
    assert store.fault(DIFF_ID) == ""
    (tmp_path / ("a" * 64) / "seal.json").write_text("damaged")
    assert store.implied(DIFF_ID) == frozenset()
