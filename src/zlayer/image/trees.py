"""Delete directory trees that strangers filled: any depth, any name, never through a link."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

_NO_FOLLOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEPTH = 48
"""Deeper directories are moved up first: neither stack nor open files grow with what a container made."""


def remove_tree(path: Path) -> None:
    """Delete `path` and all below it; gone already: nothing happens. Raises OSError."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(parent, os.fsencode(path.name))
    finally:
        os.close(parent)


def remove_at(parent: int, name: bytes) -> None:
    """Delete the entry `name` of the directory `parent`, whatever it is."""
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            _remove_stubborn(parent, name)


def _remove_stubborn(parent: int, name: bytes) -> None:
    """Go over a directory again when something was put in behind us."""
    for tries_left in (3, 2, 1, 0):
        try:
            _remove_directory(parent, name)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not tries_left:
                raise
        else:
            return


def _remove_directory(parent: int, name: bytes) -> None:
    top = os.open(name, _NO_FOLLOW, dir_fd=parent)
    try:
        moved: list[bytes] = []
        _empty(top, top, _DEPTH, moved)
        while moved:
            child = moved.pop()
            directory = os.open(child, _NO_FOLLOW, dir_fd=top)
            try:
                _empty(directory, top, _DEPTH, moved)
            finally:
                os.close(directory)
            os.rmdir(child, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(directory: int, top: int, depth: int, moved: list[bytes]) -> None:
    """Empty `directory`; what is nested deeper goes to `top` under a fresh name, noted in `moved`."""
    with os.scandir(directory) as found:
        entries = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
        elif depth:
            child = os.open(name, _NO_FOLLOW, dir_fd=directory)
            try:
                _empty(child, top, depth - 1, moved)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=directory)
        else:
            moved.append(f".moved-{secrets.token_hex(8)}".encode())
            os.rename(name, moved[-1], src_dir_fd=directory, dst_dir_fd=top)
