from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zlayer.image.layer_seal import fault, seal
from zlayer.image.layers import SEAL, LayerStore

DIFF_ID = "sha256:" + "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    store = LayerStore(tmp_path / "layers", sync=False)
    made = store.begin()
    (made / "etc").mkdir()
    (made / "etc" / "motd").write_text("hello")
    (made / "link").symlink_to("etc/motd")
    store.commit(made, DIFF_ID)
    return store


@pytest.mark.parametrize(
    "harm",
    [
        lambda diff: (diff / "etc" / "motd").write_text("HELLO"),
        lambda diff: (diff / "etc" / "motd").unlink(),
        lambda diff: (diff / "new").touch(),
        lambda diff: (diff / "etc").chmod(0o700),
        lambda diff: ((diff / "link").unlink(), (diff / "link").symlink_to("elsewhere")),
        lambda diff: os.utime(diff / "etc" / "motd", (1, 1)),
    ],
)
def test_a_tree_that_was_changed_is_told(store: LayerStore, harm: Callable[[Path], object]) -> None:
    assert store.fault(DIFF_ID) == ""
    harm(store.path(DIFF_ID))
    assert "tree" in store.fault(DIFF_ID)


def test_a_damaged_seal_is_told_and_an_absent_one_is_not(store: LayerStore) -> None:
    record = store.path(DIFF_ID).parent / SEAL
    for body in (record.read_bytes()[:20], b"", b"[]", b'{"version": 9, "digest": "x"}'):
        record.write_bytes(body)
        assert store.fault(DIFF_ID) == "its record is damaged"
    record.unlink()
    assert store.fault(DIFF_ID) == ""
    store.remove(DIFF_ID)
    assert store.fault(DIFF_ID) == "it is missing"


def test_a_seal_without_a_tree_is_swept(store: LayerStore, tmp_path: Path) -> None:
    store.path(DIFF_ID).rename(tmp_path / "gone")
    assert store.sweep() == 1
    assert not store.path(DIFF_ID).parent.exists()


def test_a_tree_deeper_than_a_path_may_be_has_the_same_seal_anywhere(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    here = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    first = seal(tmp_path / "tree")
    (tmp_path / "tree").rename(tmp_path / ("x" * 100))
    assert seal(tmp_path / ("x" * 100)) == first
    assert fault(tmp_path / "none", tmp_path) == ""
