from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.model.errors import Invalid, NotFound
from zlayer.spec.discover import NAMES, discover


@pytest.mark.parametrize("place", range(len(NAMES)))
def test_fixed_names_come_in_order(tmp_path: Path, place: int) -> None:
    for name in (*NAMES[place:], "a.zlayer.yml"):
        (tmp_path / name).touch()
    assert discover(tmp_path) == tmp_path / NAMES[place]


@pytest.mark.parametrize("name", ["shop.zlayer.yml", "shop.zlayer.yaml"])
def test_the_only_one_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "compose.yml").touch()
    assert discover(tmp_path) == tmp_path / name


def test_several_are_listed(tmp_path: Path) -> None:
    (tmp_path / "b.zlayer.yaml").touch()
    (tmp_path / "a.zlayer.yml").touch()
    with pytest.raises(Invalid, match=r"several deployment files: a\.zlayer\.yml, b\.zlayer\.yaml") as caught:
        discover(tmp_path)
    assert caught.value.hint == "name one: zlayer up a.zlayer.yml"


def test_none_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "dir.zlayer.yml").mkdir()
    with pytest.raises(NotFound) as caught:
        discover(tmp_path)
    assert "zlayer.yml" in caught.value.hint
