"""Deleting trees a container may have filled."""

from __future__ import annotations

import os
from pathlib import Path

from zlayer.image.trees import remove_at, remove_tree


def test_all_goes_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_bytes(b"x")
    tree = tmp_path / "tree"
    (tree / "a/b/c").mkdir(parents=True)
    (tree / "a/to-directory").symlink_to(outside)
    (tree / "a/dangling").symlink_to("nowhere")
    os.mkfifo(tree / "a/pipe")
    (tree / "a/b" / os.fsdecode(b"\xff")).write_bytes(b"")
    (tree / "locked").mkdir(mode=0)
    remove_tree(tree)
    assert not tree.exists()
    assert sorted(path.name for path in outside.iterdir()) == ["deep", "file"]


def test_a_link_itself_is_removed_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_gone_already_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "never")
    remove_tree(tmp_path / "never" / "below")


def test_depth_costs_neither_stack_nor_files(tmp_path: Path) -> None:
    """Deeper than Python recurses, longer than a path may be, more than 1024 files to hold open."""
    here = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("top", dir_fd=here)
    name = "top"
    below = here
    for _ in range(3000):
        deeper = os.open(name, os.O_RDONLY, dir_fd=below)
        if below != here:
            os.close(below)
        below, name = deeper, "directory"
        os.mkdir(name, dir_fd=below)
        os.mkdir("sibling", dir_fd=below)
    os.close(below)
    remove_at(here, b"top")
    os.close(here)
    assert list(tmp_path.iterdir()) == []
