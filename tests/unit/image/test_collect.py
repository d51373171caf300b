from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.blobs import BlobStore
from zlayer.image.collect import Garbage, Stores, delete, garbage
from zlayer.image.contract import Image, ImageConfig
from zlayer.image.layers import LayerStore
from zlayer.image.records import Record, Records
from zlayer.model.units import Bytes, Timestamp

BASE, ONE, TWO, STRAY = (f"sha256:{letter * 64}" for letter in "0123")
BODIES = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in ("base", "one", "two", "stray")}


def record(name: str, *layers: str) -> Record:
    image = Image(f"r/{name}:1", layers[-1], ImageConfig(), layers, "linux/amd64", Bytes(0), Timestamp(0))
    return Record(image, (BODIES["base"], BODIES[name]))


FIRST, SECOND = record("one", BASE, ONE), record("two", BASE, TWO)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    stores = Stores(BlobStore(tmp_path / "blobs"), LayerStore(tmp_path / "layers", sync=False))
    for diff_id in (BASE, ONE, TWO, STRAY):
        stores.layers.commit(stores.layers.begin(), diff_id)
    for name, digest in BODIES.items():
        stores.blobs.write(digest, name.encode())
    return stores


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "images")


def test_what_another_image_needs_stays(stores: Stores, records: Records) -> None:
    records.put(SECOND)
    assert garbage(stores, records, [FIRST]) == Garbage((ONE,), (BODIES["one"],))


def test_everything_that_no_record_needs(stores: Stores, records: Records) -> None:
    records.put(SECOND)
    with stores.blobs.partial(STRAY) as partial:
        partial.append(memoryview(b"x"))
    waste = garbage(stores, records, None)
    assert waste == Garbage((ONE, STRAY), tuple(sorted((BODIES["one"], BODIES["stray"], STRAY))))
    told = delete(stores, waste)
    assert len(told) == 5
    assert sorted(stores.layers.list()) == [BASE, TWO]
    assert sorted(stores.blobs.list()) == sorted([BODIES["base"], BODIES["two"]])
    assert list(stores.blobs.partials()) == []


def test_what_is_gone_is_not_told(stores: Stores, records: Records) -> None:
    waste = garbage(stores, records, [FIRST])
    assert len(delete(stores, waste)) == 4
    assert delete(stores, waste) == []


def test_two_names_of_one_image(stores: Stores, records: Records) -> None:
    records.put(replace(FIRST, image=replace(FIRST.image, reference="r/alias:1")))
    assert garbage(stores, records, [FIRST]) == Garbage((), ())
