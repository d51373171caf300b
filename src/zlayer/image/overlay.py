"""One overlayfs mount from open directories, by whichever of the kernel's ways works here."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zlayer.image.mountapi import FsContext, MountError, mount_with_options

_PLAIN = ("metacopy", "redirect_dir", "index")
"""Off, or an upper could not be read as a layer: it would hold references instead of files."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Descriptors (O_PATH) of the directories to merge; `lowers` top first. Paths of any length and any name."""

    lowers: Sequence[int]
    upper: int
    work: int


def by_descriptor(stack: Stack, source: str, target: int) -> None:
    with FsContext("overlay") as context:
        _name(context, source)
        for lower in stack.lowers:
            context.set_descriptor("lowerdir+", lower)
        context.set_descriptor("upperdir", stack.upper)
        context.set_descriptor("workdir", stack.work)
        context.mount(target)


def by_path(stack: Stack, source: str, target: int) -> None:
    with FsContext("overlay") as context:
        _name(context, source)
        for lower in stack.lowers:
            context.set_string("lowerdir+", _path(lower))
        context.set_string("upperdir", _path(stack.upper))
        context.set_string("workdir", _path(stack.work))
        context.mount(target)


def by_options(stack: Stack, source: str, target: int) -> None:
    lowers = ":".join(map(_path, stack.lowers))
    options = [f"lowerdir={lowers}", f"upperdir={_path(stack.upper)}", f"workdir={_path(stack.work)}"]
    try:
        mount_with_options("overlay", source, target, [*options, *(f"{name}=off" for name in _PLAIN)])
    except MountError as error:
        if error.errno != errno.EINVAL:
            raise
        mount_with_options("overlay", source, target, options)  # before Linux 4.19 they were unknown, and off


def _name(context: FsContext, source: str) -> None:
    context.set_string("source", source)
    for name in _PLAIN:
        context.set_string(name, "off")


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


Way = Callable[[Stack, str, int], None]
WAYS: tuple[Way, ...] = (by_descriptor, by_path, by_options)
_chosen: list[Way] = []


def mount_overlay(stack: Stack, source: str, target: int) -> None:
    """Mount `stack` on the directory `target`; mount tables show `source`. `MountError` says why not.

    Linux 6.13 takes descriptors, 6.5 one path per layer (500 layers either way), older kernels all paths in one
    page (about 230). What worked once is used from then on.
    """
    refused: MountError | None = None
    for way in _chosen or WAYS:
        try:
            way(stack, source, target)
        except MountError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            refused = refused or error
        else:
            _chosen[:] = [way]
            return
    assert refused is not None
    raise refused
