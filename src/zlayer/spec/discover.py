"""Which file a command means when none is named."""

from __future__ import annotations

from pathlib import Path

from zlayer.model.errors import Invalid, NotFound

NAMES = (".zlayer.yml", ".zlayer.yaml", "zlayer.yml", "zlayer.yaml")
PATTERNS = ("*.zlayer.yml", "*.zlayer.yaml")


def discover(directory: Path) -> Path:
    """The deployment file of `directory`: the first of `NAMES`, else the only one of `PATTERNS`.

    Raises `Invalid` that lists them when there are several, and `NotFound` that says what to write when there is none.
    """
    for name in NAMES:
        if (path := directory / name).is_file():
            return path
    found = sorted({p for pattern in PATTERNS for p in directory.glob(pattern) if p.is_file()})
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(p.name for p in found)
        raise Invalid(
            f"{directory} has several deployment files: {listed}", hint=f"name one: zlayer up {found[0].name}"
        )
    raise NotFound(
        f"{directory} has no deployment file",
        hint=f"name one (zlayer up FILE) or write {NAMES[2]} or NAME.zlayer.yml here",
    )
