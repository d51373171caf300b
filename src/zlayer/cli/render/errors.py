"""An error as lines: what happened, every problem with its place, and what to do."""

from __future__ import annotations

from zlayer.cli.render.colour import paint, visible
from zlayer.model.errors import ZlayerError


def lines(error: ZlayerError, *, colour: bool, directory: str = "") -> list[str]:
    """Files below `directory` are named from there, as the user would. A single problem is not said twice."""
    out = [f"{paint('error:', 'red', colour=colour)} {visible(shortened(error.message, directory))}"]
    told = [str(problem) for problem in error.problems]
    out += [f"  {visible(shortened(each, directory))}" for each in told if told != [error.message]]
    if error.hint:
        out.append(f"{paint('hint:', 'cyan', colour=colour)} {visible(error.hint)}")
    if error.retry_after:
        out.append(f"  try again in {error.retry_after:g} seconds")
    return out


def shortened(text: str, directory: str) -> str:
    """`text` with paths below `directory` written from there; nothing is below the root."""
    here = directory.rstrip("/")
    return text.replace(f"{here}/", "") if here else text
