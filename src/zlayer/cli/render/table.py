"""Plain tables: columns two spaces apart, nothing drawn around them, so that `awk` can read them."""

from __future__ import annotations

from collections.abc import Sequence

from zlayer.cli.render.colour import paint, plain_length


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool = False) -> str:
    """Lines of equal columns, without trailing blanks. Empty cells show as `-` so that columns stay countable."""
    body = [[cell or "-" for cell in row] for row in rows]
    widths = [max(map(plain_length, column)) for column in zip(headers, *body, strict=True)]
    lines = [_line(headers, widths)]
    if colour:
        lines[0] = paint(lines[0], "bold", colour=True)
    return "\n".join(lines + [_line(row, widths) for row in body])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - plain_length(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
