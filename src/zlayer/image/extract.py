"""Unpack one layer archive into a directory, safely and in one pass (OCI image-spec, layer.md)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zlayer.image import tar_header as tar
from zlayer.image.extract_meta import apply_to_descriptor, apply_to_name
from zlayer.image.extract_paths import WHITEOUT, Directories, clean_path, is_directory, is_opaque, is_whiteout
from zlayer.image.marks import NONE, Marks
from zlayer.image.tar_reader import Archive, Limits, Member, shown
from zlayer.image.tar_source import Stream
from zlayer.image.trees import remove_at
from zlayer.model.errors import Corrupt, Denied, Exhausted, Failed, ZlayerError

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HINT = "The layer was made wrongly or to do harm: build it anew, or do not use it."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EMLINK, errno.ENOMEM)
_REFUSED = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ)


@dataclass(frozen=True, slots=True)
class LayerResult:
    """`entries`: files, links, directories and whiteouts in the archive. `size`: bytes of file content."""

    entries: int
    size: int
    marks: Marks = NONE


def extract_layer(stream: Stream, target: Path, *, limits: Limits | None = None, devices: bool = True) -> LayerResult:
    """Unpack the uncompressed tar `stream`, read to its very end, into the empty directory `target`.

    Owners, modes, times and xattrs are kept; whiteouts become what overlayfs understands (character device 0/0,
    `trusted.overlay.opaque`). Of members with one name the last stays, and a real one wins over a whiteout.
    Nothing outside `target` is ever made, changed or read: every directory is opened without following links.

    `Corrupt` for a damaged or hostile archive, `Exhausted` when the disk or a limit is full, `Denied` without the
    rights to make devices (or with `devices=False`, which refuses them). After any error delete `target`.
    Blocks; safe in several threads on different targets.
    """
    unpacker = _Unpacker(Archive(stream, limits or Limits()), target, devices=devices)
    return unpacker.run()


class _Unpacker:
    def __init__(self, archive: Archive, target: Path, *, devices: bool) -> None:
        self._archive = archive
        self._directories = Directories(target)
        self._devices = devices
        self._whiteouts: list[bytes] = []
        self._implied: list[bytes] = []
        self._deleting: set[bytes] = set()

    def run(self) -> LayerResult:
        entries = 0
        try:
            for member in self._archive.members():
                entries += 1
                self._place(member)
            for path in self._whiteouts:
                self._look_again(path)
            for path, described in self._directories.made.items():
                self._finish_directory(path, described)
        finally:
            self._directories.close()
        return LayerResult(entries, self._archive.size, Marks(frozenset(self._implied), frozenset(self._deleting)))

    def _place(self, member: Member) -> None:
        try:
            self._directories.trim()
            path = clean_path(member.header.name)
            if WHITEOUT in path and self._whiteout(path):
                return
            if path:
                self._make(member, path)
            elif member.header.kind == tar.DIRECTORY:
                self._directories.made[b""] = member
            else:
                raise Corrupt(f"{shown(member.header.name)} would replace the layer's root", hint=_HINT)
        except OSError as error:
            raise _translated(error, member) from error

    def _make(self, member: Member, path: bytes) -> None:
        parent_path, _, name = path.rpartition(b"/")
        parent = self._directories.open(parent_path)
        kind = member.header.kind
        if kind == tar.REGULAR:
            self._file(member, parent, name, path)
        elif kind == tar.DIRECTORY:
            self._directory(member, parent, name, path)
        elif kind == tar.HARDLINK:
            self._hardlink(member, parent, name, path)
        else:
            self._special(member, parent, name, path)

    def _file(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        try:
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name, path)
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if member.size:
                self._archive.copy_body(member, descriptor)
            apply_to_descriptor(descriptor, member)
        finally:
            os.close(descriptor)

    def _directory(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        try:
            self._directories.make(parent, name, path)
        except FileExistsError:
            deleted_before = is_whiteout(parent, name)
            try:
                os.unlink(name, dir_fd=parent)
            except IsADirectoryError:
                pass
            else:
                self._directories.make(parent, name, path, opaque=deleted_before)
        self._directories.made[path] = member

    def _hardlink(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        source_path = clean_path(member.header.link)
        source_directory, _, source = source_path.rpartition(b"/")
        if source_path == path or source_path.startswith(path + b"/"):
            raise Corrupt(f"{shown(path)} is a hard link to itself or into itself", hint=_HINT)
        try:
            source_parent = self._directories.open(source_directory, make=False)
            self._create(
                lambda: os.link(
                    source, name, src_dir_fd=source_parent, dst_dir_fd=parent, follow_symlinks=False
                ),
                parent, name, path,
            )  # fmt: skip
            if is_whiteout(parent, name):
                self._whiteouts.append(path)
        except (FileNotFoundError, PermissionError):
            missing = f"{shown(path)} is a hard link to {shown(source_path)}, which is no file of this layer"
            raise Corrupt(missing, hint=_HINT) from None

    def _special(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        header = member.header
        make: Callable[[], None]
        device = 0
        if header.kind == tar.SYMLINK:
            if not header.link:
                raise Corrupt(f"{shown(path)} is a link to nothing", hint=_HINT)
            make = lambda: os.symlink(header.link, name, dir_fd=parent)  # noqa: E731 - tried twice
        elif header.kind == tar.FIFO:
            make = lambda: os.mkfifo(name, 0o600, dir_fd=parent)  # noqa: E731
        else:
            mode = 0o600 | (0o020000 if header.kind == tar.CHAR else 0o060000)
            device = self._device(header)
            make = lambda: os.mknod(name, mode, device, dir_fd=parent)  # noqa: E731
        self._create(make, parent, name, path)
        apply_to_name(parent, name, member)
        if header.kind == tar.CHAR and not device:  # some archives hold whiteouts as overlayfs has them
            self._whiteouts.append(path)

    def _device(self, header: tar.Header) -> int:
        if not self._devices:
            raise Denied(f"{shown(header.name)} is a device", hint="Devices are not allowed in layers here.")
        if header.major >= 1 << 12 or header.minor >= 1 << 20:
            raise Corrupt(f"{shown(header.name)} is no device Linux can have", hint=_HINT)
        return os.makedev(header.major, header.minor)

    def _create(self, make: Callable[[], None], parent: int, name: bytes, path: bytes) -> None:
        try:
            make()
        except FileExistsError:
            self._clear(parent, name, path)
            make()

    def _clear(self, parent: int, name: bytes, path: bytes) -> None:
        """A later member replaces an earlier one, whatever that was."""
        self._directories.forget(path)
        remove_at(parent, name)

    def _whiteout(self, path: bytes) -> bool:
        """Carry out a whiteout; False when `path` is none. Other `.wh..wh.` names are AUFS's own and skipped."""
        *parents, name = path.split(b"/")
        if name.startswith(b".wh..wh.") or any(part.startswith(b".wh..wh.") for part in parents):
            if name == b".wh..wh..opq":
                self._directories.hide(b"/".join(parents))
            return True
        if any(part.startswith(WHITEOUT) for part in parents):
            raise Corrupt(f"{shown(path)} lies below a whiteout", hint=_HINT)
        if not name.startswith(WHITEOUT):
            return False
        hidden = name.removeprefix(WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise Corrupt(f"{shown(path)} deletes no file", hint=_HINT)
        parent = self._directories.open(b"/".join(parents))
        try:
            os.mknod(hidden, 0o020000, 0, dir_fd=parent)
            self._whiteouts.append(b"/".join([*parents, hidden]))
        except FileExistsError:
            # The real one wins over its whiteout; a real directory still hides what lower layers have in it.
            if is_directory(parent, hidden):
                self._directories.hide(b"/".join([*parents, hidden]))
        return True

    def _look_again(self, path: bytes) -> None:
        """Note where a whiteout lies; delete one below an opaque directory, as it hides nothing more."""
        *parents, name = path.split(b"/")
        try:
            parent = self._directories.open(b"/".join(parents), make=False)
            if is_whiteout(parent, name):
                if self._directories.hiding and self._is_hidden(parents):
                    os.unlink(name, dir_fd=parent)
                else:
                    self._deleting.add(b"/".join(parents))
            self._directories.trim()
        except (FileNotFoundError, Corrupt):
            return  # replaced by a later member
        except OSError as error:
            raise _translated(error, None) from error

    def _is_hidden(self, parents: list[bytes]) -> bool:
        above = (self._directories.open(b"/".join(parents[:count]), make=False) for count in range(len(parents) + 1))
        return any(map(is_opaque, above))

    def _finish_directory(self, path: bytes, described: Member | None) -> None:
        """Metadata goes on when nothing more is made inside: a setgid directory would pass its group on."""
        try:
            self._directories.trim()
            descriptor = self._directories.open(path, make=False)
        except (FileNotFoundError, Corrupt):
            return  # replaced by a later member
        try:
            if described is None:
                os.fchmod(descriptor, 0o755)
                self._implied.append(path)
            else:
                apply_to_descriptor(descriptor, described)
        except OSError as error:
            raise _translated(error, described) from error


def _translated(error: OSError, member: Member | None) -> ZlayerError:
    what = f"cannot unpack {shown(member.header.name) if member else 'a directory'}: {error.strerror}"
    if error.errno in _FULL:
        return Exhausted(what, hint="Free disk space (zlayer image rm), then try again.")
    if error.errno in _REFUSED:
        return Corrupt(what, hint=_HINT)
    if error.errno in (errno.EPERM, errno.EACCES):
        return Denied(what, hint="Layers hold devices and owners: run the daemon as root.")
    return Failed(what, hint="Look at the data directory's disk and mount options.")
