"""Layers made at random, but so that every tool agrees what they mean; and a census of a tree, to compare by.

Parents come before what is in them; only directories that a layer below has may have no entry.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from zlayer.testing.imagery_samples import BIG_ID, CAP_NET_BIND

Format = Literal["pax", "gnu", "ustar"]
FORMATS: dict[Format, int] = {
    "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT,
}  # fmt: skip
_NAMES = ("a", "b", "c", "d", ".hidden", "-dash", " space ", "tab\tback\\slash", "new\nline", "ä-名前", "\udcff\udcfe",
          "x" * 60, "wh.not", "*?[]")  # fmt: skip
_LONG = "long-" + "y" * 200
_MODES = (0o644, 0o755, 0o600, 0o4755, 0o2755, 0o6711, 0o1777, 0, 0o7777, 0o020)
_TIMES = (0, 1, 1_600_000_000, 1_700_000_000, 2**31 + 5)
_TARGETS = ("a", "../b", "/etc/passwd", "../../../../escape", ".", "missing/x", "ä", "t" * 90)
_DEVICES = ((1, 3), (5, 0), (7, 200), (4095, 1048575))
_MOST = 24
_LEFT_OUT = 0.3
_USTAR = 80
"""Bytes of a path that fit a ustar header whatever they are, with a whiteout's prefix too."""


@dataclass(slots=True)
class Grown:
    """A stack of layers that grows. `kinds` is what the whole tree holds: path to type of member."""

    seed: int
    chance: random.Random = field(init=False)
    kinds: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def layer(self, form: Format, *, whiteouts: bool = True) -> bytes:
        """The next layer, as a tar of that format."""
        return _Layer(self, form, whiteouts=whiteouts).write()


class _Layer:
    def __init__(self, grown: Grown, form: Format, *, whiteouts: bool) -> None:
        self._grown, self._chance, self._form = grown, grown.chance, form
        self._below = dict(grown.kinds) if whiteouts else {}
        self._mine: dict[str, bytes] = {}
        self._late: list[str] = []
        self._left_out: set[str] = set()
        """Directories of this layer without an entry."""
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `write`
            fileobj=self._buffer, mode="w", format=FORMATS[form], encoding="utf-8", errors="surrogateescape"
        )

    def write(self) -> bytes:
        for _ in range(self._chance.randint(1, _MOST)):
            self._one()
        for name in self._late:
            self._put(name, tarfile.REGTYPE)
        self._tar.close()
        self._grown.kinds = {**self._kept(), **self._mine}
        return self._buffer.getvalue()

    def _kept(self) -> dict[str, bytes]:
        return {path: kind for path, kind in self._below.items() if self._stands(path)}

    def _stands(self, path: str) -> bool:
        """Whether what lay below is still seen: no part of its path is another thing now."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        return all(self._mine.get(one, tarfile.DIRTYPE) == tarfile.DIRTYPE for one in above)

    def _one(self) -> None:
        dice = self._chance.random()
        if dice < 0.15 and self._below:
            self._whiteout(self._chance.choice(sorted(self._below)))
            return
        parent = self._parent()
        name = self._name()
        path = f"{parent}/{name}" if parent else name
        if not self._fits(path):
            return
        again = self._mine.get(path)
        if again is not None and again != tarfile.REGTYPE:
            return  # a directory that becomes a file within one layer is what tools disagree on
        if dice < 0.22 and parent and self._below.get(parent) == tarfile.DIRTYPE and not self._begun(parent):
            self._forget(parent)
            self._put(f"{parent}/.wh..wh..opq", tarfile.REGTYPE)
        elif dice < 0.3 and (files := [p for p, kind in self._mine.items() if kind in _LINKABLE]) and again is None:
            target = self._chance.choice(sorted(files))
            self._put(path, tarfile.LNKTYPE, link=target)
            self._mine[path] = self._mine[target]
        else:
            kind = self._chance.choice(_KINDS) if again is None else tarfile.REGTYPE
            self._mine[path] = kind
            self._put(path, kind)

    def _whiteout(self, path: str) -> None:
        """Of something below; at times before or after a new thing of the same name in this layer."""
        parent, _, name = path.rpartition("/")
        if (
            not self._fits(path)
            or path in self._mine
            or not self._stands(path)
            or any(p.startswith(f"{path}/") for p in self._mine)
        ):
            return
        if parent and not self._ensure(parent):
            return
        marker = f"{parent}/.wh.{name}" if parent else f".wh.{name}"
        del self._below[path]
        self._forget(path)
        dice = self._chance.random()
        if dice < 0.3:
            kind = self._chance.choice(_KINDS)
            if dice < 0.15:
                self._late.append(marker)
            else:
                self._put(marker, tarfile.REGTYPE)
            self._mine[path] = kind
            self._put(path, kind)
        else:
            self._put(marker, tarfile.REGTYPE)

    def _begun(self, path: str) -> bool:
        """Whether a marker in that directory would come too late: umoci 0.4 changes times below it, for what it
        deletes there it deletes after it has set them. Nor does anything say what an opaque one without an entry is."""
        return path in self._left_out or any(one.startswith(f"{path}/") for one in self._mine)

    def _forget(self, path: str) -> None:
        for one in [one for one in self._below if one.startswith(f"{path}/")]:
            del self._below[one]

    def _parent(self) -> str:
        if self._chance.random() < 0.25:
            return ""
        known = {**self._kept(), **self._mine}
        directories = sorted(path for path, kind in known.items() if kind == tarfile.DIRTYPE and path.count("/") < 4)
        chosen = self._chance.choice(directories) if directories else ""
        return chosen if not chosen or self._ensure(chosen) else ""

    def _ensure(self, path: str) -> bool:
        """An entry for a directory and all above it, in this layer."""
        parts = path.split("/")
        if not self._fits(path):
            return False
        for count in range(1, len(parts) + 1):
            one = "/".join(parts[:count])
            if self._mine.get(one, tarfile.DIRTYPE) != tarfile.DIRTYPE:
                return False
            if one not in self._mine:
                self._mine[one] = tarfile.DIRTYPE
                if self._below.get(one) == tarfile.DIRTYPE and self._stands(one) and self._chance.random() < _LEFT_OUT:
                    self._left_out.add(one)
                else:
                    self._put(one, tarfile.DIRTYPE)
        return True

    def _fits(self, path: str) -> bool:
        return self._form != "ustar" or len(path.encode("utf-8", "surrogateescape")) <= _USTAR

    def _name(self) -> str:
        return _LONG if self._form != "ustar" and self._chance.random() < 0.04 else self._chance.choice(_NAMES)

    def _put(self, path: str, kind: bytes, *, link: str = "") -> None:
        chance, marker = self._chance, "/.wh." in f"/{path}"
        info = tarfile.TarInfo(f"./{path}" if self._form == "gnu" and not marker else path)
        info.type = kind
        info.linkname = link or (chance.choice(_TARGETS) if kind == tarfile.SYMTYPE else "")
        data = chance.randbytes(chance.choice((0, 1, 511, 512, 513, 5000))) if kind == tarfile.REGTYPE else b""
        info.size = 0 if marker else len(data)
        info.mode = chance.choice(_MODES) if not marker else 0o644
        ids = (0, 1, 1000, 65534) if self._form == "ustar" else (0, 1000, 2_097_152, BIG_ID)
        info.uid, info.gid = chance.choice(ids), chance.choice(ids)
        info.mtime = self._time()
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = chance.choice(_DEVICES[:3] if self._form != "gnu" else _DEVICES)
        if self._form == "pax" and not marker and kind != tarfile.LNKTYPE:
            info.pax_headers = self._attributes(kind)
        self._tar.addfile(info, io.BytesIO(data[: info.size]))

    def _time(self) -> float:
        time = self._chance.choice(_TIMES)
        if self._form == "ustar":
            return time
        before = self._chance.choice((time, time, -86400))
        return before + self._chance.choice((0, 0.25, 0.5)) if self._form == "pax" else before

    def _attributes(self, kind: bytes) -> dict[str, str]:
        found: dict[str, bytes] = {}
        if kind in (tarfile.REGTYPE, tarfile.DIRTYPE) and self._chance.random() < 0.3:
            found["user.colour"] = self._chance.choice((b"", b"blau \xc3\xa4", b"\0\xff\n=", b"x" * 300))
        if self._chance.random() < 0.2:
            found["trusted.mark"] = self._chance.randbytes(8)
        if kind == tarfile.REGTYPE and self._chance.random() < 0.1:
            found["security.capability"] = CAP_NET_BIND
        return {f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in found.items()}


_KINDS = (tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE,
          tarfile.BLKTYPE, tarfile.FIFOTYPE)  # fmt: skip
_LINKABLE = (tarfile.REGTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE)


class Facts(NamedTuple):
    """Of one name in a tree. `content`: size and digest of a file, target of a link, numbers of a device."""

    mode: str
    uid: int
    gid: int
    mtime: int
    xattrs: tuple[tuple[str, bytes], ...]
    content: object
    twins: tuple[str, ...]
    """All names of the file, its own too; none for a directory."""


Census = dict[str, Facts]


def census(root: Path) -> Census:
    """All below `root`, which itself is left out."""
    found: Census = {}
    names: dict[tuple[int, int], list[str]] = {}
    for directory, inner, files in os.walk(root):
        for name in (*inner, *files):
            path = Path(directory, name)
            relative = str(path.relative_to(root))
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                names.setdefault((status.st_dev, status.st_ino), []).append(relative)
            facts = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
            found[relative] = Facts(*facts, _attributes(path), _content(path, status), ())
    twins_of = {one: tuple(sorted(same)) for same in names.values() for one in same}
    return {path: facts._replace(twins=twins_of.get(path, ())) for path, facts in found.items()}


def _attributes(path: Path) -> tuple[tuple[str, bytes], ...]:
    keys = [key for key in os.listxattr(path, follow_symlinks=False) if not key.startswith("trusted.overlay.")]
    return tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in sorted(keys))


def _content(path: Path, status: os.stat_result) -> object:
    if stat.S_ISREG(status.st_mode):
        return status.st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    if stat.S_ISLNK(status.st_mode):
        return str(path.readlink())
    return status.st_rdev if not stat.S_ISDIR(status.st_mode) else 0


def differences(ours: Census, theirs: Census) -> list[str]:
    """For people: what the two do not agree on."""
    paths = sorted(ours.keys() | theirs.keys())
    return [f"{path!r}: ours {ours.get(path)}, theirs {theirs.get(path)}" for path in paths
            if ours.get(path) != theirs.get(path)]  # fmt: skip
