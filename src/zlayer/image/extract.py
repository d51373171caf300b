"""Unpack one layer archive into a directory, safely and once through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zlayer.model.base import Bytes


class Stream(Protocol):
    """An uncompressed tar stream. `read(n)` gives 1 to n bytes, or none at the end; `readinto` is used when there."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class LayerResult:
    """`entries`: archive members seen. `size`: bytes of file content written."""

    entries: int
    size: Bytes


def extract_layer(stream: Stream, target: Path) -> LayerResult:
    """Unpack the tar `stream`, read to its very end, into the empty directory `target`.

    `Corrupt` for a bad or hostile archive, `Exhausted` when the disk or a limit is full; the caller then deletes
    `target`. Nothing outside `target` is ever touched.
    """
    raise NotImplementedError
