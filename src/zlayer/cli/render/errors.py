"""An error as lines: what happened, every problem with its place, and what to do."""

from __future__ import annotations

from zlayer.cli.render.colour import paint
from zlayer.model.errors import ZlayerError


def lines(error: ZlayerError, *, colour: bool, directory: str = "") -> list[str]:
    """Files below `directory` are named from there, as the user would."""
    here = f"{directory.rstrip('/')}/"
    out = [f"{paint('error:', 'red', colour=colour)} {error.message.replace(here, '')}"]
    out += [f"  {str(problem).replace(here, '')}" for problem in error.problems]
    if error.hint:
        out.append(f"{paint('hint:', 'cyan', colour=colour)} {error.hint}")
    if error.retry_after:
        out.append(f"  try again in {error.retry_after:g} seconds")
    return out
