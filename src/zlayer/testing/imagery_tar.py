"""Layer archives written member by member: ordinary ones, and every odd thing an OCI layer may hold."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing import Unpack

_WHEN = 1_700_000_000


class Attributes(TypedDict, total=False):
    """What any member may say: mode, owner, mtime in seconds, extended attributes."""

    mode: int
    uid: int
    gid: int
    mtime: float
    xattrs: Mapping[str, bytes]


class Tar:
    """A pax archive in memory. Each call adds one member and returns the archive, so calls chain."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `finish`
            fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        )

    def file(self, name: str, data: bytes = b"", **attributes: Unpack[Attributes]) -> Tar:
        return self._add(name, tarfile.REGTYPE, attributes, data=data)

    def directory(self, name: str, **attributes: Unpack[Attributes]) -> Tar:
        return self._add(name, tarfile.DIRTYPE, {"mode": 0o755, **attributes})

    def symlink(self, name: str, target: str, **attributes: Unpack[Attributes]) -> Tar:
        return self._add(name, tarfile.SYMTYPE, {"mode": 0o777, **attributes}, link=target)

    def hardlink(self, name: str, target: str, mode: int = 0o755) -> Tar:
        """Some extractors give the shared inode the `mode` of the link's own header: name the target's."""
        return self._add(name, tarfile.LNKTYPE, {"mode": mode}, link=target)

    def device(self, name: str, kind: str, numbers: tuple[int, int], **attributes: Unpack[Attributes]) -> Tar:
        """`kind` is `c` or `b`."""
        flag = tarfile.CHRTYPE if kind == "c" else tarfile.BLKTYPE
        return self._add(name, flag, attributes, device=numbers)

    def fifo(self, name: str, **attributes: Unpack[Attributes]) -> Tar:
        return self._add(name, tarfile.FIFOTYPE, attributes)

    def whiteout(self, path: str) -> Tar:
        """Delete `path` of the layers below (image-spec, layer.md, "Whiteouts")."""
        directory, _, name = path.rpartition("/")
        return self.file(f"{directory}/.wh.{name}" if directory else f".wh.{name}")

    def opaque(self, directory: str) -> Tar:
        """Hide all that the layers below have in `directory`."""
        return self.file(f"{directory}/.wh..wh..opq" if directory else ".wh..wh..opq")

    def finish(self) -> bytes:
        """The whole archive; nothing can be added after."""
        self._tar.close()
        return self._buffer.getvalue()

    def _add(
        self, name: str, kind: bytes, attributes: Attributes, *, data: bytes = b"", link: str = "",
        device: tuple[int, int] = (0, 0),
    ) -> Tar:  # fmt: skip
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(data)
        info.devmajor, info.devminor = device
        info.mode = attributes.get("mode", 0o644)
        info.uid, info.gid = attributes.get("uid", 0), attributes.get("gid", 0)
        info.mtime = attributes.get("mtime", _WHEN)
        info.pax_headers = _xattr_records(attributes.get("xattrs", {}))
        self._tar.addfile(info, io.BytesIO(data))
        return self


def tar_of_tree(root: Path) -> bytes:
    """The tree below `root` as one layer archive, sorted, hard links and xattrs kept.

    An overlayfs upper directory works: 0/0 devices become whiteouts, `trusted.overlay.opaque` opaque markers.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        write_tree(archive, root)
    return buffer.getvalue()


def write_tree(archive: tarfile.TarFile, root: Path) -> None:
    """Like `tar_of_tree`, into an archive that is open already (a big one goes to a file)."""
    for directory, names, files in os.walk(root):
        names.sort()
        for path in (Path(directory), *(Path(directory, name) for name in sorted([*files, *_links(directory, names)]))):
            _write_path(archive, path, "" if path == root else str(path.relative_to(root)))


def _links(directory: str, names: list[str]) -> list[str]:
    """Symbolic links to directories, which os.walk counts as directories but does not enter."""
    return [name for name in names if Path(directory, name).is_symlink()]


def _write_path(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = archive.gettarinfo(path, arcname=name or ".")
    if info is None:
        return  # a socket
    if info.ischr() and (info.devmajor, info.devminor) == (0, 0):
        archive.addfile(tarfile.TarInfo(str(Path(name).with_name(f".wh.{Path(name).name}"))))
        return
    info.uname = info.gname = ""
    info.mtime = int(info.mtime)
    xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
    opaque = xattrs.get("trusted.overlay.opaque") == b"y"
    info.pax_headers = _xattr_records({k: v for k, v in xattrs.items() if not k.startswith("trusted.overlay.")})
    if info.isreg():
        with path.open("rb") as content:
            archive.addfile(info, content)
    else:
        archive.addfile(info)
    if opaque:
        archive.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq"))


def _xattr_records(xattrs: Mapping[str, bytes]) -> dict[str, Any]:  # Any: tarfile encodes str only
    return {f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in xattrs.items()}
