"""Which directories are described by a layer below, and which are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zlayer.image.implied import borrowed, haunted, level
from zlayer.image.layers import LayerStore
from zlayer.image.marks import Marks
from zlayer.model.errors import Corrupt

DIFF_ID = "sha256:" + "a" * 64


def made(root: Path, *names: str) -> Path:
    for name in (".", *names):
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def test_the_topmost_layer_that_says_something_is_heard(tmp_path: Path) -> None:
    base, middle, top = (made(tmp_path / name, "d/e") for name in ("base", "middle", "top"))
    every, none, outer = (Marks(frozenset(paths)) for paths in ([b"d", b"d/e"], [], [b"d"]))
    assert list(borrowed([(base, none), (middle, every), (top, every)])) == [(b"d/e", base), (b"d", base)]
    assert list(borrowed([(base, none), (middle, outer), (top, every)])) == [
        (b"d/e", middle),
        (b"d", base),
    ]
    assert list(borrowed([(base, every), (middle, every), (top, none)])) == []
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
    found = list(borrowed([(base, Marks()), (middle, Marks()), (top, Marks(frozenset([b"d/e"])))]))
    assert found == ([(b"d/e", base)] if between == "nothing" else [])


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: trusted xattrs")
@pytest.mark.parametrize("hiding", ["", "d", "d/e"])
def test_what_is_hidden_is_not_heard(tmp_path: Path, hiding: str) -> None:
    base, top = made(tmp_path / "base", "d/e"), made(tmp_path / "top", "d/e")
    os.setxattr(top / hiding, "trusted.overlay.opaque", b"y")
    assert list(borrowed([(base, Marks()), (top, Marks(frozenset([b"d/e"])))])) == []


def test_a_root_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    base, top = made(tmp_path / "base", "d"), made(tmp_path / "top", "d")
    (base / "d").chmod(0o711)
    rootfs, outside = made(tmp_path / "rootfs"), made(tmp_path / "outside")
    (rootfs / "d").symlink_to(outside)
    with pytest.raises(Corrupt):
        level(borrowed([(base, Marks()), (top, Marks(frozenset([b"d"])))]), rootfs)
    assert outside.stat().st_mode & 0o777 != 0o711


def test_the_store_keeps_what_it_was_told(tmp_path: Path) -> None:
    store = LayerStore(tmp_path, sync=False)
    assert store.marks(DIFF_ID) == Marks()
    told = Marks(frozenset([b"a", b"\xff/b"]), frozenset([b"", b"c"]))
    store.commit(store.begin(), DIFF_ID, told)
    assert store.marks(DIFF_ID) == told
    assert store.fault(DIFF_ID) == ""
    for damage in ("damaged", '{"implied": 3}', "[]"):
        (tmp_path / ("a" * 64) / "seal.json").write_text(damage)
        assert store.marks(DIFF_ID) == Marks()


def deleting(*paths: bytes) -> Marks:
    return Marks(deleting=frozenset(paths))


def test_a_directory_of_one_layer_shows_its_whiteouts(tmp_path: Path) -> None:
    base, one, top = made(tmp_path / "base", "a"), made(tmp_path / "one", "d/e"), made(tmp_path / "top", "t")
    said = deleting(b"d/e", b"d", b"")
    assert list(haunted([(base, Marks()), (one, said), (top, Marks())])) == [(b"d/e", one), (b"d", one)]
    assert list(haunted([(one, said)])) == [(b"d/e", one), (b"d", one)]


@pytest.mark.parametrize("which", ["below", "above"])
def test_a_directory_of_two_layers_shows_none(tmp_path: Path, which: str) -> None:
    one, other = made(tmp_path / "one", "d/e"), made(tmp_path / "other", "d")
    stack = [(other, Marks()), (one, deleting(b"d", b"d/e"))]
    assert list(haunted(stack if which == "below" else stack[::-1])) == [(b"d/e", one)]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: trusted xattrs and devices")
def test_a_directory_that_is_not_seen_is_not_named(tmp_path: Path) -> None:
    one, top = made(tmp_path / "one", "a/d", "b/d", "c/d"), made(tmp_path / "top", "b")
    (top / "a").touch()
    os.setxattr(top / "b", "trusted.overlay.opaque", b"y")
    os.mknod(top / "c", 0o020000, 0)
    assert list(haunted([(one, deleting(b"a/d", b"b/d", b"c/d")), (top, Marks())])) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: trusted xattrs")
def test_what_a_layer_hides_below_does_not_count_as_shared(tmp_path: Path) -> None:
    base, one = made(tmp_path / "base", "o/d", "f"), made(tmp_path / "one", "o/d", "f/d")
    (base / "f/d").touch()
    os.setxattr(one / "o", "trusted.overlay.opaque", b"y")
    found = haunted([(base, Marks()), (one, deleting(b"o/d", b"f/d"))])
    assert sorted(found) == [(b"f/d", one), (b"o/d", one)]


def test_one_that_was_deleted_since_is_left_alone(tmp_path: Path) -> None:
    layer, rootfs = made(tmp_path / "layer", "d"), made(tmp_path / "rootfs")
    level([(b"d", layer)], rootfs)
    assert list(rootfs.iterdir()) == []
