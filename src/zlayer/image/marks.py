"""What a layer's archive says and its unpacked tree alone does not show: it is kept beside the tree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]  # Any: a JSON document


@dataclass(frozen=True, slots=True)
class Marks:
    """Paths below the layer's root. `implied`: directories that are there because of what lies in them, and that no
    entry describes. `deleting`: directories in which whiteouts lie."""

    implied: frozenset[bytes] = frozenset()
    deleting: frozenset[bytes] = frozenset()

    def document(self) -> Json:
        return {"implied": _texts(self.implied), "deleting": _texts(self.deleting)}

    @classmethod
    def read(cls, document: Json) -> Marks:
        """What is not in it is empty: a layer from before that was asked."""
        return cls(_paths(document, "implied"), _paths(document, "deleting"))


NONE = Marks()


def _texts(paths: frozenset[bytes]) -> list[str]:
    return sorted(map(os.fsdecode, paths))


def _paths(document: Json, key: str) -> frozenset[bytes]:
    return frozenset(map(os.fsencode, document.get(key, ())))
