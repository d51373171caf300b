"""The proxy's table drawn again where only servers have come or gone, which is what mostly happens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zlayer.model.routes import Backend, RouteTable
from zlayer.plan.routes import Certificates, Piece, table

Clashes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Drawn:
    pieces: tuple[Piece, ...]
    certificates: Certificates
    table: RouteTable
    clashes: Clashes


class Tables:
    """`of` gives what `plan.routes.table` does. Of what has not changed since the last one it is the same objects."""

    def __init__(self) -> None:
        self._last: _Drawn | None = None

    def of(
        self, parts: Iterable[Sequence[Piece]], certificates: Certificates, *, revision: int = 0
    ) -> tuple[RouteTable, Clashes]:
        pieces = tuple(piece for part in parts for piece in part)
        fresh = _backends(self._last, pieces, certificates)
        if self._last is None or fresh is None:
            made, clashes = table([pieces], certificates, revision=revision)
        else:
            clashes, last = self._last.clashes, self._last.table
            backends = tuple(fresh.get(one.name, one) for one in last.backends) if fresh else last.backends
            made = replace(last, backends=backends, revision=revision)
        self._last = _Drawn(pieces, certificates, made, clashes)
        return made, clashes


def _backends(last: _Drawn | None, pieces: tuple[Piece, ...], certificates: Certificates) -> dict[str, Backend] | None:
    """The backends that are others now, by name; None where more than that has changed."""
    if last is None or last.certificates is not certificates or len(last.pieces) != len(pieces):
        return None
    fresh: dict[str, Backend] = {}
    for old, new in zip(last.pieces, pieces, strict=True):
        if old is not new:
            if old != replace(new, backend=old.backend) or old.backend.name != new.backend.name:
                return None
            fresh[new.backend.name] = new.backend
    return fresh
