"""What an unpacked layer looked like when it was whole: a small file beside its tree, to compare with later.

The seal is over every entry's path, kind, mode, owner, and for files size and time of change, for links their target.
It does not read contents: that would cost as much as unpacking again.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

VERSION = 1
_LONGEST = 3000
"""Bytes of a path below the layer; what lies deeper is not looked at, for the kernel takes no path so long."""

Json = dict[str, Any]  # Any: a JSON document


def seal(root: Path) -> Json:
    """Of the tree below `root`. What cannot be read counts as not there."""
    whole, entries, base, left = hashlib.sha256(), 0, os.fsencode(root), [b""]
    while left:
        inner = left.pop()
        try:
            with os.scandir(base + inner) as found:
                ordered = sorted(found, key=lambda entry: entry.name)
            for entry in ordered:
                status = entry.stat(follow_symlinks=False)
                relative = inner + b"/" + entry.name
                whole.update(relative + b"\0" + _told(status, base, relative) + b"\n")
                entries += 1
                if stat.S_ISDIR(status.st_mode) and len(relative) < _LONGEST:
                    left.append(relative)
        except OSError:
            continue
    return {"version": VERSION, "entries": entries, "digest": f"sha256:{whole.hexdigest()}"}


def fault(record: Path, root: Path) -> str:
    """What is wrong with the tree; empty: nothing, or its layer is from before there were seals."""
    try:
        body = record.read_bytes()
    except FileNotFoundError:
        return ""
    try:
        kept = json.loads(body)
        known = kept["version"] == VERSION and isinstance(kept["digest"], str)
    except (ValueError, LookupError, TypeError):
        return "its record is damaged"
    if not known:
        return "its record is damaged"
    found = seal(root)
    if found["digest"] == kept["digest"]:
        return ""
    if found["entries"] != kept["entries"]:
        return f"its tree has {found['entries']} entries, {kept['entries']} were unpacked"
    return "its tree is not what was unpacked"


def _told(status: os.stat_result, base: bytes, relative: bytes) -> bytes:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return b"%d %d %d %d %d" % (mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
    if stat.S_ISLNK(mode):
        return b"%d " % mode + os.readlink(base + relative)  # noqa: PTH115  # bytes, which Path does not take
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return b"%d %d %d %d" % (mode, status.st_uid, status.st_gid, status.st_rdev)
    return b"%d %d %d" % (mode, status.st_uid, status.st_gid)
