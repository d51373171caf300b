"""Layer archives made to break out, to exhaust or to confuse; each with what a safe extractor must say.

Headers are packed by hand: tarfile would refuse to write most of these.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

_BLOCK = 512
END = bytes(2 * _BLOCK)


@dataclass(frozen=True, slots=True)
class Hostile:
    """`error` is the code of the error tree expected; `says` a part of its message."""

    name: str
    archive: bytes
    error: Literal["corrupt", "exhausted", "denied"]
    says: str


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    link: bytes = b"",
    **fields: bytes,
) -> bytes:
    """One ustar header with a right checksum. `fields` overwrites `mode`, `uid`, `mtime`, `major`, `minor`, ..."""
    packed = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
            name, fields.get("mode", b"0000644\0"), fields.get("uid", b"0000000\0"),
            fields.get("gid", b"0000000\0"), packed, fields.get("mtime", b"00000000000\0"), b" " * 8, kind,
            link, fields.get("magic", b"ustar\x0000"), b"", b"", fields.get("major", b"0000000\0"),
            fields.get("minor", b"0000000\0"), fields.get("prefix", b""),
        )
    )  # fmt: skip
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """Header and body, padded to whole blocks."""
    size = fields.pop("size", b"%011o\0" % len(data))
    link = fields.pop("link", b"")
    return header(name, kind, size=size, link=link, **fields) + padded(data)


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target)


def hardlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def directory(name: bytes) -> bytes:
    return header(name, b"5", mode=b"0000755\0")


def pax(records: list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    """An extended header for the member that follows."""
    return member(b"pax", b"".join(record(key, value) for key, value in records), kind)


def record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, the length counting its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def hostile_tars(outside: bytes) -> list[Hostile]:
    """Every case, aimed at the absolute path `outside` where it needs a place to escape to."""
    return [case for group in (_escapes, _links, _damage, _numbers, _extended, _sparse) for case in group(outside)]


_Group = Callable[[bytes], Iterator[Hostile]]


def _escapes(outside: bytes) -> Iterator[Hostile]:
    evil = b"evil"
    yield _corrupt("dot-dot first", member(b"../evil", evil), "'..'")
    yield _corrupt("dot-dot in the middle", member(b"a/../../evil", evil), "'..'")
    yield _corrupt("dot-dot at the end", directory(b"a/.."), "'..'")
    yield _corrupt("dot-dot by prefix", member(b"evil", evil, prefix=b".."), "'..'")
    yield _corrupt("dot-dot by pax", pax([(b"path", b"../evil")]) + member(b"x", evil), "'..'")
    yield _corrupt("dot-dot by GNU long name", member(b"@", b"../evil\0", b"L") + member(b"x", evil), "'..'")
    yield _corrupt("whiteout of dot-dot", member(b"a/.wh..."), "deletes no file")
    yield _corrupt("whiteout of dot", member(b"a/.wh.."), "deletes no file")
    yield _corrupt("whiteout of nothing", member(b".wh."), "deletes no file")
    yield _corrupt("below a whiteout", member(b".wh.a/b"), "below a whiteout")
    yield _corrupt("NUL in a name", pax([(b"path", b"a\0b")]) + member(b"x"), "NUL")
    yield _corrupt("NUL in a link", pax([(b"linkpath", b"a\0b")]) + symlink(b"x", b"y"), "NUL")
    yield _corrupt("name over 255 bytes", pax([(b"path", b"n" * 256)]) + member(b"x"), "255")
    yield _corrupt("path over 4095 bytes", pax([(b"path", b"abcdefg/" * 600)]) + member(b"x"), "too long")
    yield _corrupt("path too deep", pax([(b"path", b"a/" * 300 + b"x")]) + member(b"x"), "deeper")
    yield _corrupt("a file for the root", member(b"./", evil), "root")
    yield _corrupt("a link for the root", symlink(b".", outside), "root")


def _links(outside: bytes) -> Iterator[Hostile]:
    evil = member(b"a/evil", b"evil")
    yield _corrupt("through an absolute symlink", symlink(b"a", outside) + evil, "a link")
    yield _corrupt("through a relative symlink", symlink(b"a", b"../outside") + evil, "a link")
    yield _corrupt("through a symlink to the root", symlink(b"a", b"/") + evil, "a link")
    yield _corrupt("through two symlinks", symlink(b"b", outside) + symlink(b"a", b"b") + evil, "a link")
    yield _corrupt(
        "through a symlink with a pax name", pax([(b"path", b"a")]) + symlink(b"x", outside) + evil, "a link"
    )
    yield _corrupt("through a file", member(b"a", b"x") + evil, "no directory")
    yield _corrupt(
        "through a device", header(b"a", b"3", major=b"0000001\0", minor=b"0000003\0") + evil, "no directory"
    )
    yield _corrupt("through a hard-linked symlink", symlink(b"b", outside) + hardlink(b"a", b"b") + evil, "a link")
    yield _corrupt("whiteout through a symlink", symlink(b"a", outside) + member(b"a/.wh.sentinel"), "a link")
    yield _corrupt("opaque through a symlink", symlink(b"a", outside) + member(b"a/.wh..wh..opq"), "a link")
    yield _corrupt("directory through a symlink", symlink(b"a", outside) + directory(b"a/sub"), "a link")
    yield _corrupt("hard link by dot-dot", hardlink(b"a", b"../outside/sentinel"), "'..'")
    yield _corrupt("hard link to an absolute path", hardlink(b"a", outside + b"/sentinel"), "no file of this layer")
    yield _corrupt("hard link through a symlink", symlink(b"b", outside) + hardlink(b"a", b"b/sentinel"), "a link")
    yield _corrupt("hard link to a lower layer", hardlink(b"a", b"etc/passwd"), "no file of this layer")
    yield _corrupt("hard link to a directory", directory(b"d") + hardlink(b"a", b"d"), "no file of this layer")
    yield _corrupt("hard link to nothing", hardlink(b"a", b""), "no file of this layer")
    yield _corrupt("hard link to itself", member(b"a", b"x") + hardlink(b"a", b"./a"), "itself")
    yield _corrupt("hard link into itself", member(b"a/b", b"x") + hardlink(b"a", b"a/b"), "itself")
    yield _corrupt("symlink to nothing", symlink(b"a", b""), "to nothing")


def _damage(_outside: bytes) -> Iterator[Hostile]:
    whole = member(b"a", b"x" * 2000)
    yield _corrupt("no tar", b"PK\3\4" * 256, "checksum")
    yield _corrupt("a flipped bit", whole[:30] + b"\1" + whole[31:], "checksum")
    yield Hostile("cut in a header", whole[:300], "corrupt", "cut short")
    yield Hostile("cut in a body", whole[:1500], "corrupt", "cut short")
    yield Hostile("cut in the padding", whole[:2530], "corrupt", "cut short")
    yield Hostile("cut in an extended header", pax([(b"path", b"x" * 900)])[:700], "corrupt", "cut short")
    yield _corrupt("an extended header and no member", pax([(b"path", b"x")]), "after an extended header")
    yield _corrupt("a lone zero block", whole + bytes(_BLOCK) + whole, "zero block")
    yield _corrupt("an unknown type", member(b"a", b"x", b"%"), "unknown type")
    yield _corrupt("a multi-volume piece", member(b"a", b"x", b"M"), "unknown type")


def _numbers(_outside: bytes) -> Iterator[Hostile]:
    base256 = b"\x80" + bytes(3)
    yield _corrupt("size without digits", header(b"a", size=b"not a number"), "size")
    yield _corrupt("size with underscores", header(b"a", size=b"0000000_777\0"), "size")
    yield _corrupt("a negative size", header(b"a", size=b"\xff" * 12), "size")
    yield _corrupt("a size of 2^94", header(b"a", size=b"\xbf" + b"\xff" * 11), "size")
    yield Hostile("a bomb by size", header(b"a", size=base256 + b"\x10" + bytes(7)), "exhausted", "more than")
    yield _corrupt("a negative owner", header(b"a", uid=b"\xff" * 8), "uid")
    yield _corrupt("an owner over 32 bits", header(b"a", uid=b"\x80" + bytes(2) + b"\1" + bytes(4)), "owner")
    yield _corrupt("the owner nobody may be", pax([(b"uid", b"4294967295")]) + member(b"a"), "owner")
    yield _corrupt("a device out of range", header(b"a", b"3", major=b"7777777\0"), "no device")


def _extended(_outside: bytes) -> Iterator[Hostile]:
    yield _corrupt("a record without end", member(b"p", b"999 path=a\n", b"x") + member(b"a"), "pax record")
    yield _corrupt("a record of length 0", member(b"p", b"0 path=a\n", b"x") + member(b"a"), "pax record")
    yield _corrupt("a record without a key", member(b"p", b"5 =a\n", b"x") + member(b"a"), "pax record")
    yield _corrupt("a record without newline", member(b"p", b"9 path=ab", b"x") + member(b"a"), "pax record")
    yield _corrupt("a pax size that is no number", pax([(b"size", b"-1")]) + member(b"a"), "size")
    yield _corrupt("a pax time that is none", pax([(b"mtime", b"now")]) + member(b"a"), "mtime")
    yield _corrupt("a pax size longer than the data", pax([(b"size", b"4000")]) + member(b"a"), "cut short")
    yield _corrupt("a name for all members", pax([(b"path", b"x")], b"g") + member(b"a"), "global")
    yield _corrupt("a size for all members", pax([(b"size", b"0")], b"g") + member(b"a"), "global")
    yield _corrupt("a pax header of 1 GiB", header(b"p", b"x", size=1 << 30), "longer than allowed")
    yield _corrupt("a long name of 1 GiB", header(b"p", b"L", size=1 << 30), "longer than allowed")
    nul = (b"SCHILY.xattr.user.a\0b", b"x")
    yield _corrupt("NUL in the name of an xattr", pax([nul]) + member(b"a"), "NUL")
    bad_acl = (b"SCHILY.xattr.system.posix_acl_access", b"\2\0\0\0nonsense")
    yield _corrupt("an ACL that is none", pax([bad_acl]) + member(b"a"), "not valid")


def _sparse(_outside: bytes) -> Iterator[Hostile]:
    def form_01(layout: bytes, size: bytes = b"100") -> bytes:
        return pax([(b"GNU.sparse.map", layout), (b"GNU.sparse.size", size)]) + member(b"a", b"x" * 10)

    yield _corrupt("sparse pieces that overlap", form_01(b"0,6,5,4"), "overlap")
    yield _corrupt("a sparse piece behind the end", form_01(b"95,10"), "behind its end")
    yield _corrupt("sparse pieces of the wrong sum", form_01(b"0,5"), "add up")
    yield _corrupt("a sparse offset without length", form_01(b"0,5,6"), "no length")
    yield _corrupt("a sparse map of words", form_01(b"here,there"), "no number")
    yield Hostile("a sparse bomb", form_01(b"0,10", b"9" * 17) + END, "exhausted", "more than")
    inline = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")]
    yield _corrupt("a sparse map longer than its member", pax(inline) + member(b"a", b"9\n"), "within its map")
    named = [(b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"1"), (b"GNU.sparse.name", b"a\0b")]
    yield _corrupt("NUL in the name of a sparse file", pax(named) + member(b"a", b"x"), "NUL")
    yield _corrupt("an endless sparse number", pax(inline) + member(b"a", b"1" * 2000), "no list of numbers")
    yield _corrupt("a sparse map of a billion pieces", pax(inline) + member(b"a", padded(b"999999999\n")), "pieces")


def _corrupt(name: str, archive: bytes, says: str) -> Hostile:
    return Hostile(name, archive + END, "corrupt", says)
