"""Ready images: a busybox that runs, one with every hard case, one with many layers."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zlayer.model.errors import Unsupported
from zlayer.testing.imagery import Compression, Json, Layer, OciImage, image, layer
from zlayer.testing.imagery_tar import Tar

PAGE = b"<!doctype html><title>ZLayer</title><h1>It runs</h1>\n"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONG_NAME = "/".join(("ä-ö-ü-ß-" * 13, "名前" * 30, "file.txt"))
"""More than 100 and 255 bytes, and not ASCII."""
BIG_ID = 3_000_000_001
CAP_NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""`security.capability`, revision 2: cap_net_bind_service, effective."""
_WEB = ("httpd", "-f", "-p", "80", "-h", "/var/www")


def busybox_image(
    config: Json | None = None,
    *,
    files: Mapping[str, bytes] | None = None,
    compression: Compression = "gzip",
    platform: str = "linux/amd64",
) -> OciImage:
    """Debian's static busybox with all its applets; `sh` by default. `files` add a layer (all mode 0755).

    `Unsupported` when the machine has no static busybox.
    """
    layers = [_busybox_layer(compression)]
    if files:
        extra = Tar()
        for name, data in files.items():
            extra.file(name.lstrip("/"), data, mode=0o755)
        layers.append(layer(extra, compression))
    return image(layers, {"Cmd": ["sh"], "Env": [PATH], **(config or {})}, platform=platform)


def web_image(page: bytes = PAGE, *, compression: Compression = "gzip") -> OciImage:
    """Busybox's web server on port 80, serving `page`."""
    config: dict[str, Any] = {"Cmd": list(_WEB), "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM"}
    return busybox_image(config, files={"var/www/index.html": page}, compression=compression)


@functools.cache
def _busybox_layer(compression: Compression) -> Layer:
    binary = shutil.which("busybox")
    if binary is None:
        raise Unsupported("no busybox on this machine", hint="apt-get install busybox-static")
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    tar = Tar()
    for directory in ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr", "usr/bin", "var", "var/www"):
        tar.directory(directory, mode=0o700 if directory == "root" else 0o755)
    tar.directory("tmp", mode=0o1777)
    tar.file("bin/busybox", Path(binary).read_bytes(), mode=0o755)
    for applet in sorted(set(applets) - {"busybox"}):
        tar.hardlink(f"bin/{applet}", "bin/busybox")
    tar.symlink("usr/bin/env", "../../bin/env")
    tar.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\n")
    tar.file("etc/group", b"root:x:0:\nnobody:x:65534:\n")
    tar.file("var/www/index.html", PAGE)
    return layer(tar, compression)


def nasty_layers() -> tuple[Layer, Layer]:
    """A gzip layer, and over it a zstd layer with every hard case of layer.md."""
    lower = Tar()
    for directory in ("gone", "opaque", "opaque/deep", "kept", "turned"):
        lower.directory(directory)
    for name in ("gone/file", "opaque/old", "opaque/deep/old", "kept/stays", "kept/deleted", "turned/below"):
        lower.file(name, b"lower\n")
    lower.file("plain", b"lower\n").file("becomes-directory", b"lower\n")
    lower.symlink("link", "plain")
    upper = Tar()
    upper.whiteout("gone").whiteout("kept/deleted").whiteout("never-was")
    upper.opaque("opaque").directory("opaque", mode=0o750, uid=7, gid=8).file("opaque/new", b"upper\n")
    upper.file("turned", b"a file now\n")
    upper.whiteout("becomes-directory").directory("becomes-directory").file("becomes-directory/x", b"upper\n")
    upper.file("first", b"shared\n", mode=0o640, uid=33, gid=33).hardlink("second", "first")
    upper.hardlink("kept/third", "first")
    upper.file("setuid", b"#!/bin/true\n", mode=0o4755, uid=1000, gid=1000)
    upper.directory("setgid", mode=0o2775, gid=50).file("setgid/inside", b"root's\n")
    upper.directory("sticky", mode=0o1777)
    upper.file("big-owner", b"x", uid=BIG_ID, gid=BIG_ID - 1)
    upper.file("attributes", b"x", xattrs={"user.colour": b"blau \xc3\xa4", "trusted.overlay.metacopy": b""})
    upper.file("capable", b"x", mode=0o755, uid=2, xattrs={"security.capability": CAP_NET_BIND})
    upper.device("null", "c", (1, 3), mode=0o666).device("disk", "b", (7, 200), mode=0o660, gid=6)
    upper.fifo("pipe", mode=0o622).symlink("dangling", "../../etc/passwd", uid=5)
    upper.file(LONG_NAME, b"long\n", mtime=1_600_000_000.25).file("empty", mtime=-86400)
    upper.file("\udcff-not-utf8", b"raw\n").file("odd \t name\\", b"odd\n")
    return layer(lower, "gzip"), layer(upper, "zstd")


def nasty_image() -> OciImage:
    """Busybox under `nasty_layers`."""
    return image([_busybox_layer("gzip"), *nasty_layers()], {"Cmd": ["sh"], "Env": [PATH]})


def many_layers(count: int) -> OciImage:
    """`count` layers over busybox: each adds `layers/<n>` and overwrites `top` with its number."""
    added = [
        layer(Tar().file(f"layers/{number}", str(number).encode()).file("top", str(number).encode()))
        for number in range(count)
    ]
    return image([_busybox_layer("gzip"), *added], {"Cmd": ["sh"], "Env": [PATH]})
