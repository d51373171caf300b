"""The words for an end: why a step could not be done, and what is said of an end that nobody saw."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from zlayer.agent import journal
from zlayer.model.errors import Exhausted
from zlayer.plan.lifecycle import Verb

NO_SPACE = 1 << 20
"""Free bytes below which a disk counts as full when something is missing on it."""


def exhausted(verb: Verb, error: OSError) -> Exhausted:
    """What our own files could not be given: a full or read-only disk, or no descriptor left."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Exhausted(f"{verb}: {error}", hint="raise the daemon's limit of open files (ulimit -Hn, LimitNOFILE)")
    return Exhausted(f"{verb}: {error}", hint="check the disk of the data directory")


def exit_code(verb: Verb, reason: str) -> int | None:
    """As docker: 127 when the command is not in the image, 126 when it cannot be run, 125 when we could not."""
    if verb not in ("create", "start"):
        return 125
    said = reason.lower()
    if "not found" in said or "no such file" in said:
        return 127
    return 126 if "permission denied" in said or "not executable" in said else 125


def why_unknown(directory: Path) -> str:
    """Why nobody knows the exit code of an instance that lived in `directory`."""
    if not (directory / journal.NAME).exists():
        return "its directory was deleted from the data directory"
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < NO_SPACE:
        return "it ended while the disk was full: its exit code could not be kept"
    return "it ended while nobody watched; its exit code is not known"
