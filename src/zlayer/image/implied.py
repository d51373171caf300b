"""Directories that a layer has and its archive does not describe: they look as the layers below say.

An archive need not have an entry for the directory a file lies in, and bazel, ko and others leave them out. Unpacked
alone such a directory has no owner and mode of its own, and in a stack overlayfs shows what the topmost layer has: a
`/tmp` for everybody would be closed by any layer with a file in it. So the container's own copy of it is described as
the topmost layer that says something does.

And of a directory that one layer alone has overlayfs lists the whiteouts in it too, as names that nobody can open: they
were made for something that no lower layer has. It does not where the container has a copy of that directory.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from zlayer.image.copying import describe
from zlayer.image.extract_paths import Directories, is_opaque
from zlayer.image.marks import Marks

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Stacked = tuple[Path, Marks]
"""A layer's tree, and what its archive said."""


def level(found: Iterable[tuple[bytes, Path]], rootfs: Path) -> None:
    """Describe these directories of the mounted `rootfs` as they are in the layer named with each. Raises OSError.

    One that is not there any more was deleted in an earlier life of the container. Those above them stay as they
    look: fuse-overlayfs copies them up as well, and loses their times and setgid bits.
    """
    inner_first = sorted(found, reverse=True)
    target = Directories(rootfs)
    try:
        above = _looks(target, {path for path, _ in inner_first})
        for path, layer in inner_first:
            source = Directories(layer)
            try:
                below = source.open(path, make=False)
                with suppress(FileNotFoundError):
                    describe(below, target.open(path, make=False))
            finally:
                source.close()
            target.trim()
        for path, status in above.items():
            _restore(target.open(path, make=False), status)
            target.trim()
    finally:
        target.close()


def _looks(target: Directories, paths: set[bytes]) -> dict[bytes, os.stat_result]:
    """Of the directories above `paths` that are none of them."""
    found = {}
    parts = [path.split(b"/") for path in paths]
    for path in {b"/".join(names[:count]) for names in parts for count in range(1, len(names))} - paths:
        with suppress(FileNotFoundError):
            found[path] = os.fstat(target.open(path, make=False))
        target.trim()
    return found


def _restore(directory: int, before: os.stat_result) -> None:
    """Whatever it looks like now: the kernel may have kept what it knew of it."""
    os.fchmod(directory, stat.S_IMODE(before.st_mode))
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


def borrowed(stack: Sequence[Stacked]) -> Iterator[tuple[bytes, Path]]:
    """Directories that nothing describes where they are seen first, and the layer below that does. Inner ones first.

    `stack`: base first. Looks at the layers once for each directory, so keep the answer. Raises OSError.
    """
    for path in sorted({path for _, marks in stack[1:] for path in marks.implied}, reverse=True):
        undescribed = False
        for layer, marks in reversed(stack):
            found, ends = _look(layer, path)
            if found and path not in marks.implied:
                if undescribed:
                    yield path, layer
                break
            undescribed |= found
            if ends:
                break


def haunted(stack: Sequence[Stacked]) -> Iterator[tuple[bytes, Path]]:
    """Directories with whiteouts in them that only the layer named with each has, and that are seen. Inner ones first.

    `stack`: base first. Raises OSError.
    """
    for at, (layer, marks) in enumerate(stack):
        for path in sorted(marks.deleting - {b""}, reverse=True):  # the root is always the container's own
            others = ((other, where > at) for where, (other, _) in reversed(list(enumerate(stack))) if where != at)
            if not _is_shared(path, others, _look(layer, path)[1]):
                yield path, layer


def _is_shared(path: bytes, others: Iterable[tuple[Path, bool]], ends_here: bool) -> bool:
    """Whether another layer has the directory too, or one `above` hides it. `others`: from the topmost, with that."""
    for other, above in others:
        if not above and ends_here:
            return False
        found, ends = _look(other, path)
        if found or (ends and above):
            return True
        if ends:
            return False
    return False


def _look(layer: Path, path: bytes) -> tuple[bool, bool]:
    """Whether the layer has the directory, and whether it hides what lower ones have there."""
    here = os.open(layer, _DIRECTORY)
    try:
        ends = is_opaque(here)
        for part in path.split(b"/"):
            below = os.open(part, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
            ends = ends or is_opaque(here)
    except FileNotFoundError:
        return False, ends
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return False, True
        raise
    else:
        return True, ends
    finally:
        os.close(here)
