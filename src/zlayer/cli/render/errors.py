"""An error as lines: what happened, every problem with its place, and what to do."""

from __future__ import annotations

from zlayer.cli.render.colour import paint
from zlayer.model.errors import ZlayerError


def lines(error: ZlayerError, *, colour: bool, directory: str = "") -> list[str]:
    """Files below `directory` are named from there, as the user would."""
    out = [f"{paint('error:', 'red', colour=colour)} {shortened(error.message, directory)}"]
    out += [f"  {shortened(str(problem), directory)}" for problem in error.problems]
    if error.hint:
        out.append(f"{paint('hint:', 'cyan', colour=colour)} {error.hint}")
    if error.retry_after:
        out.append(f"  try again in {error.retry_after:g} seconds")
    return out


def shortened(text: str, directory: str) -> str:
    """`text` with paths below `directory` written from there; nothing is below the root."""
    here = directory.rstrip("/")
    return text.replace(f"{here}/", "") if here else text
