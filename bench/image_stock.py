"""What a thousand images cost a daemon: to list them, and to decide which of them go. Needs no root.

    python bench/image_stock.py [--images 1000] [--rounds 9]

Nothing is pulled. The records are written as a daemon writes them: each image has a layer of its own over seven of 50
common stacks, and the sizes say 200 GB together. Blobs are sparse files of their true length, and their disk blocks
are not there: so what is told of sizes to the decision comes from a table, and the time to read them from the disk is
taken apart. Listing is the processor time of what the API's handler does, the JSON included. Deciding is
`image.reclaim.plan` for nine tenths of all bytes, as the housekeeper asks it when the disk runs short; `system df`
includes the look at the stores.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from zlayer.api.answer import answer
from zlayer.api.routes.images import image_item
from zlayer.image.contract import Image, ImageConfig, Want
from zlayer.image.local import LocalImages
from zlayer.image.reclaim import Held, Holdings, plan
from zlayer.image.records import Record, Records
from zlayer.model.units import Bytes, Timestamp

STACKS, COMMON = 50, 7
WHOLE = 200 * 10**9
PACKED = 0.4
"""A packed layer by the files it unpacks to."""


def main(images: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="zl") as directory:
        root = Path(directory)
        records = [_record(number, images) for number in range(images)]
        _write(root, records)
        local = LocalImages(root)
        listed = [_processor(lambda: answer([image_item(one) for one in anyio.run(local.list)])) for _ in range(rounds)]
        print(f"image ls of {images:,}: {statistics.median(listed) * 1e3:.1f} ms of processor (wanted <= 50)")
        looked = [_processor(lambda: anyio.run(local.stock.usage, ())) for _ in range(3)]
        print(f"system df of them: {statistics.median(looked):.2f} s of processor")
    holdings = Holdings(tuple(map(_held, records)), _sizes(records))
    want = Want(bytes=Bytes(WHOLE * 9 // 10))
    decided = [_processor(lambda: plan(holdings, want, Timestamp(1e6))) for _ in range(3)]
    pieces = plan(holdings, want, Timestamp(1e6))
    print(
        f"collection of {WHOLE / 1e9:.0f} GB: {statistics.median(decided):.2f} s to decide on {len(pieces):,} pieces",
        end="",
    )
    print(" (wanted < 2)")


def _processor(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _digest(*parts: object) -> str:
    return f"sha256:{hashlib.sha256(repr(parts).encode()).hexdigest()}"


def _record(number: int, images: int) -> Record:
    stack = number % STACKS
    layers = (*(_digest("layer", stack, n) for n in range(COMMON)), _digest("own", number))
    packed = tuple(_digest("packed", layer) for layer in layers)
    image = Image(
        reference=f"registry.example/team/app-{number:04}:1",
        digest=_digest("manifest", number),
        config=ImageConfig(cmd=("app",), env={"PATH": "/usr/bin"}, labels={"n": str(number)}),
        layers=layers,
        platform="linux/amd64",
        size=Bytes(WHOLE // images),
        pulled_at=Timestamp(float(number)),
    )
    return Record(image, (image.digest, _digest("config", number), *packed))


def _held(record: Record) -> Held:
    count = len(record.image.layers)
    return Held(
        reference=record.image.reference,
        layers=record.image.layers,
        packed=record.blobs[-count:],
        documents=record.blobs[:-count],
        used_at=record.image.pulled_at,
    )


def _sizes(records: list[Record]) -> dict[str, int]:
    """All layers alike, so that they and their packed forms are `WHOLE` together."""
    layers = {layer for record in records for layer in record.image.layers}
    each = int(WHOLE / len(layers) / (1 + PACKED))
    return dict.fromkeys(layers, each) | {_digest("packed", one): int(each * PACKED) for one in layers}


def _write(root: Path, records: list[Record]) -> None:
    kept = Records(root / "images")
    sizes = _sizes(records)
    for record in records:
        kept.put(record)
        for layer in record.image.layers:
            (root / "layers" / layer.removeprefix("sha256:") / "diff").mkdir(parents=True, exist_ok=True)
        for blob in record.blobs:
            place = root / "blobs" / blob.replace(":", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                file.truncate(sizes.get(blob, 1000))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    main(given.images, given.rounds)
