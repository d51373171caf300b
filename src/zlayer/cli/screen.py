"""Where output goes: data on stdout, everything for people on stderr, with colour where it is wanted."""

from __future__ import annotations

import os
import sys
from _thread import RLock  # threading itself costs every command 2 ms
from collections.abc import Mapping, Sequence
from typing import IO

from zlayer.cli.render.colour import clipped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


class Screen:
    """Two streams. `live`: stderr is a terminal that can be redrawn, so progress may be drawn in place."""

    def __init__(
        self,
        out: IO[str],
        err: IO[str],
        *,
        no_color: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.out = out
        self.err = err
        self.colour = wants_colour(out, no_color=no_color, environ=environ)
        self.err_colour = wants_colour(err, no_color=no_color, environ=environ)
        self.live = err.isatty() and environ.get("TERM") != "dumb" and not environ.get("CI")
        self._drawn: Sequence[str] = ()
        self._busy = RLock()
        """The logs of a foreground `up` come from a thread of their own."""

    @classmethod
    def of(cls, args: Namespace) -> Screen:
        return cls(sys.stdout, sys.stderr, no_color=args.no_color)

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal; 80 by 24 for what has none."""
        try:
            columns, rows = os.get_terminal_size(self.err.fileno())
        except (OSError, ValueError):
            return 80, 24
        return columns or 80, rows or 24

    def data(self, text: str) -> None:
        """A line of output proper, flushed so that a pipe sees it now. Progress drawn in place moves below it."""
        with self._busy:
            drawn = self._drawn
            self.clear()
            self.out.write(text + "\n")
            self.out.flush()
            if drawn:
                self.draw(drawn)

    def note(self, text: str) -> None:
        """A line for people. Progress drawn in place is taken away first."""
        with self._busy:
            self.clear()
            self.err.write(text + "\n")
            self.err.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Replace what was drawn last with these lines, as many and as much of them as the terminal can show.

        A line that wrapped or scrolled away could not be replaced. Does nothing where nothing can be redrawn.
        """
        if not self.live:
            return
        columns, rows = self.size
        lines = [clipped(line, columns - 1) for line in lines[: max(1, rows - 1)]]
        with self._busy:
            self.err.write(self._erase() + "".join(f"{line}\n" for line in lines))
            self.err.flush()
            self._drawn = lines

    def clear(self) -> None:
        with self._busy:
            if self._drawn:
                self.err.write(self._erase())
                self.err.flush()
                self._drawn = ()

    def keep(self) -> None:
        """Leave what was drawn last where it stands."""
        self._drawn = ()

    def _erase(self) -> str:
        return f"\x1b[{len(self._drawn)}F\x1b[J" if self._drawn else ""


def wants_colour(stream: IO[str], *, no_color: bool, environ: Mapping[str, str]) -> bool:
    """NO_COLOR (no-color.org) wins over CLICOLOR_FORCE (bixense.com/clicolors), that over what the stream is."""
    if no_color or environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in {"", "0"}:
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"
