"""Sizes and mounts as people type them on a command line."""

from __future__ import annotations

import argparse
import os

SIZES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
DECIMAL = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def size(text: str) -> int:
    """Bytes of `512m`, `512Mi`, `1.5g`, `512MB` (decimal) or a plain number; docker's and Kubernetes' words."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text[len(digits) :].lower()
    factor = DECIMAL.get(unit) or SIZES.get(unit.removesuffix("ib").removesuffix("i"))
    try:
        count = float(digits)
    except ValueError:
        factor = None
    if not factor or count <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 512m, 512Mi or 2g")
    return int(count * factor)


def duration(text: str) -> float:
    """Seconds of `90s`, `15m`, `12h`, `7d` or a plain number."""
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:].lower())
    try:
        count = float(text[:-1] if factor else text)
    except ValueError:
        count = -1
    if not 0 <= count < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time; write 90s, 15m, 12h or 7d")
    return count * (factor or 1)


def cpus(text: str) -> float:
    """Cores, or thousandths of one as `500m`."""
    try:
        count = float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    except ValueError:
        count = 0
    if not count > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cores; write 0.5, 2 or 500m")
    return count


def mount(text: str) -> dict[str, object]:
    """`SRC:DST[:ro]`: a path is bound, a name is a volume; `DST` alone is an anonymous volume."""
    parts = text.split(":")
    readonly = parts[-1] == "ro" and len(parts) > 1
    if parts[-1] in {"ro", "rw"} and len(parts) > 1:
        parts.pop()
    if len(parts) > 2 or not parts[-1].startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is no mount; write SRC:/DST, SRC:/DST:ro or /DST")
    out: dict[str, object] = {"target": parts[-1], "readonly": readonly}
    if len(parts) == 2:
        source = parts[0]
        if source.startswith((".", "~")) or "/" in source:
            source = os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111
        out["source"] = source
    return out
