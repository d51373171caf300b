"""An error as lines: what happened, every problem with its place, and what to do."""

from __future__ import annotations

from zlayer.cli.render.colour import paint
from zlayer.model.errors import ZlayerError


def lines(error: ZlayerError, *, colour: bool) -> list[str]:
    out = [f"{paint('error:', 'red', colour=colour)} {error.message}"]
    out += [f"  {problem}" for problem in error.problems]
    if error.hint:
        out.append(f"{paint('hint:', 'cyan', colour=colour)} {error.hint}")
    if error.retry_after:
        out.append(f"  try again in {error.retry_after:g} seconds")
    return out
