"""What fuzzing has kept is quiet, and what was a finding once stays none. `make fuzz` looks for more."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.testing import fuzz_seeds
from zlayer.testing.fuzz_targets import Target, is_summed, summed, targets
from zlayer.testing.fuzz_tars import changed, split
from zlayer.testing.hostile_tars import END, member

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("tar", "archive", "manifest", "reference")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers hold owners and devices"),
]
FOUND = {
    "manifest": [b'{"mediaType": "\\ud800"}', b'{"config": {"User": "\\udfff"}, "rootfs": {"diff_ids": []}}'],
    "reference": [b"index.docker.io/xindex.docker.io/x", b"docker.io/localhost/x"],
}


@pytest.fixture
def every() -> Iterator[dict[str, Target]]:
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as scratch:
        yield dict(targets(Path(scratch)))


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_is_quiet(name: str, every: dict[str, Target]) -> None:
    kept = fuzz_seeds.load(CORPUS / f"{name}.zip")
    assert kept, "the corpus is part of the repository"
    for data in (*kept, *fuzz_seeds.seeds(name), *FOUND.get(name, [])):
        every[name](data)


def test_a_change_leaves_a_tar_that_is_read() -> None:
    data = member(b"a", b"x" * 700) + member(b"b") + END
    assert [len(one) for one in split(data)] == [1536, 512]
    readable = 0
    for seed in range(100):
        made = changed(data, 8192, seed, lambda old, longest: (old[::-1] + b"y")[:longest], [data])
        assert len(made) <= 8192
        readable += is_summed(made[:512])
    assert readable > 60


def test_a_corpus_is_made_small(tmp_path: Path, every: dict[str, Target]) -> None:
    inputs = [b"redis", b"redisx", b"redis:7", b"a" * 300]
    small = fuzz_seeds.minimised(inputs, every["reference"])
    assert b"redis" in small
    assert b"redisx" not in small
    fuzz_seeds.save(tmp_path / "c.zip", small)
    assert fuzz_seeds.load(tmp_path / "c.zip") == small
    assert fuzz_seeds.load(tmp_path / "none.zip") == []


def test_an_escape_is_noticed(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as scratch:
        target = targets(Path(scratch))["tar"]
        target(member(b"a", b"x") + END)
        (Path(scratch) / "t" / "outside" / "evil").touch()
        with pytest.raises(AssertionError, match="outside the target"):
            target(member(b"a", b"x") + END)


def test_a_sum_is_right() -> None:
    block = member(b"a")
    assert is_summed(block)
    assert summed(block[:148] + b"garbage!" + block[156:]) == block
