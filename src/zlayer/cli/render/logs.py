"""Log lines with the replica they came from before them."""

from __future__ import annotations

from zlayer.cli.render.colour import paint, stable
from zlayer.cli.render.times import rfc3339
from zlayer.client.results import LogLine


class Prefixer:
    """Draws lines as `web-1  | text`. The column grows with the longest name seen and never shrinks.

    A service has one colour for ever; what came from stderr has a red bar, and `!` where there is no colour.
    """

    def __init__(
        self, *, colour: bool, prefix: bool = True, timestamps: bool = False, names: tuple[str, ...] = ()
    ) -> None:
        self._colour = colour
        self._prefix = prefix
        self._timestamps = timestamps
        self._width = max(map(len, names), default=0)

    def line(self, log: LogLine) -> str:
        text = log.data
        if self._timestamps:
            text = f"{rfc3339(log.at)} {text}"
        if not self._prefix:
            return text
        name = f"{log.service}-{log.slot}" if log.service else log.instance
        self._width = max(self._width, len(name))
        padded = name.ljust(self._width)
        wrong = log.stream == "stderr"
        if not self._colour:
            return f"{padded} {'!' if wrong else '|'} {text}"
        bar = paint("|", "red", colour=True) if wrong else "|"
        return f"\x1b[{stable(log.service or name)}m{padded}\x1b[0m {bar} {text}"
