"""Orders of exports and imports, and an import by hand: which names an image gets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zlayer.image.archive_order import ExportOrder, ImportOrder
from zlayer.image.archive_write import export
from zlayer.image.importing import take_in
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Failed, Invalid
from zlayer.testing.imagery_tar import Tar


def test_orders_survive_the_pipe(tmp_path: Path) -> None:
    out = ExportOrder(tmp_path, (("a:1", "sha256:x"), ("b:1", "sha256:y")), "zstd", 7)
    assert ExportOrder.read(json.loads(json.dumps(out.document()))) == out
    back = ImportOrder(tmp_path, "a:1", rootfs=True, settings=RegistrySettings(), descriptor=8)
    assert ImportOrder.read(json.loads(json.dumps(back.document()))) == back


def test_an_image_whose_manifest_is_not_here_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file, pytest.raises(Failed, match="not on this node any more"):
        export(ExportOrder(tmp_path, (("a:1", f"sha256:{'0' * 64}"),), "", file.fileno()))
    assert path.read_bytes() == b""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners")
def test_a_tree_and_out_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree.tar"
    tree.write_bytes(Tar().file("f", b"x").finish())
    with tree.open("rb") as file:
        order = ImportOrder(tmp_path, "mine:1", True, RegistrySettings(), file.fileno())
        [made] = take_in(order, {}, lambda *_: None)["images"]
    assert made["reference"] == "docker.io/library/mine:1"
    archive = tmp_path / "x.tar"
    with archive.open("wb") as file:
        export(ExportOrder(tmp_path, ((made["reference"], made["pulled"]["digest"]),), "", file.fileno()))
    with archive.open("rb") as file:
        order = ImportOrder(tmp_path / "two", "", False, RegistrySettings(), file.fileno())
        [again] = take_in(order, {}, lambda *_: None)["images"]
    assert again == made


def test_an_image_without_a_name_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    config = b'{"rootfs":{"diff_ids":[]}}'
    item: dict[str, object] = {"Config": "c.json", "Layers": [], "RepoTags": None}
    path = tmp_path / "x.tar"
    path.write_bytes(Tar().file("c.json", config).file("manifest.json", json.dumps([item]).encode()).finish())
    with path.open("rb") as file, pytest.raises(Invalid, match="no name"):
        take_in(ImportOrder(tmp_path, "", False, RegistrySettings(), file.fileno()), {}, lambda *_: None)
