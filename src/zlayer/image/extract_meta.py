"""Owner, mode, extended attributes and times of what was extracted.

The order matters: chown clears setuid bits and `security.capability`, so it comes first; times come last.
"""

from __future__ import annotations

import errno
import os

from zlayer.image import tar_header as tar
from zlayer.image.tar_reader import Member, shown
from zlayer.model.errors import Corrupt, Exhausted

OPAQUE = ("trusted.overlay.opaque", b"y")
_DROPPED = (b"trusted.overlay.", b"security.selinux")
"""overlayfs's own attributes could show what other layers hide; labels belong to the host's policy."""
_LARGEST_ID = (1 << 32) - 2
_LATEST = ((1 << 33) - 1) * 1_000_000_000
_HINT = "The layer was made wrongly: build it anew."


def apply_to_descriptor(descriptor: int, member: Member) -> None:
    """For a file or directory that is open."""
    header = member.header
    if header.uid or header.gid:
        os.fchown(descriptor, *_owner(header))
    if member.xattrs:
        _set_xattrs(descriptor, member, follow=True)
    os.fchmod(descriptor, header.mode)
    time = _time(member)
    os.utime(descriptor, ns=(time, time))


def apply_to_name(parent: int, name: bytes, member: Member) -> None:
    """For a link, device or fifo just made, which cannot be opened without consequences."""
    header = member.header
    if header.uid or header.gid:
        os.chown(name, *_owner(header), dir_fd=parent, follow_symlinks=False)
    if member.xattrs:
        _set_xattrs(b"/proc/self/fd/%d/%s" % (parent, name), member, follow=False)
    if header.kind != tar.SYMLINK:
        os.chmod(name, header.mode, dir_fd=parent)
    time = _time(member)
    os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)


def _owner(header: tar.Header) -> tuple[int, int]:
    if max(header.uid, header.gid) > _LARGEST_ID:
        raise Corrupt(f"{shown(header.name)} has an owner no system has: {header.uid}:{header.gid}", hint=_HINT)
    return header.uid, header.gid


def _time(member: Member) -> int:
    """What file systems can hold; beyond it the nearest moment, as tar(1) does."""
    return max(-_LATEST, min(member.mtime, _LATEST))


def _set_xattrs(place: int | bytes, member: Member, *, follow: bool) -> None:
    for key, value in member.xattrs:
        if key.startswith(_DROPPED):
            continue
        try:
            if follow:
                os.setxattr(place, key, value)
            else:
                os.setxattr(place, key, value, follow_symlinks=False)
        except OSError as error:
            _judge(error, key, member)


def _judge(error: OSError, key: bytes, member: Member) -> None:
    """Pass over what this file system or kind of file cannot hold, as other engines do; raise the rest."""
    what = f"xattr {shown(key)} of {shown(member.header.name)}"
    on_special_file = error.errno == errno.EPERM and key.startswith(b"user.")
    if error.errno == errno.ENOTSUP or on_special_file:
        return
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.E2BIG):
        raise Exhausted(
            f"no room for {what}: {len(member.xattrs)} attributes",
            hint="The file system keeps few bytes of attributes per file: free disk space, or store fewer.",
        ) from error
    raise Corrupt(f"{what} is not valid: {error.strerror}", hint=_HINT) from error
