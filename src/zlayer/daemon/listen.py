"""The daemon's two doors: a Unix socket that trusts its file mode, and TCP that trusts only tokens."""

from __future__ import annotations

import grp
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from zlayer.model.errors import Conflict, Denied, Invalid, NotFound, Unavailable

DEFAULT_PORT = 3669
BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Bind:
    """Where TCP listens. `host` empty means it does not; `port` 0 lets the kernel pick one."""

    host: str
    port: int

    @property
    def off(self) -> bool:
        return not self.host

    @property
    def loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.off:
            return "off"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


OFF = Bind("", 0)
DEFAULT = Bind("127.0.0.1", DEFAULT_PORT)


def parse_bind(text: str) -> Bind:
    """`off`, `PORT`, `:PORT`, `HOST:PORT`, `[IPv6]:PORT`. No host means loopback. Raises `Invalid`."""
    if text == "off":
        return OFF
    form = re.fullmatch(r"(?:(?P<host>\[[0-9a-fA-F:.%]+\]|[^:\[\]]*):)?(?P<port>\d{1,5})", text)
    if form is None or int(form["port"]) > 65535:
        raise Invalid(
            f"{text!r} is no address to listen on", hint="write HOST:PORT, [IPv6]:PORT, :0 for any port, or off"
        )
    host = (form["host"] or "127.0.0.1").strip("[]")
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise Invalid(f"{host!r} is no IP address to listen on", hint="write the address, not a name") from None
    return Bind(host, int(form["port"]))


def check_exposure(bind: Bind, *, tls: bool) -> None:
    """Raises `Denied` when tokens would cross a network in the clear."""
    if bind.off or bind.loopback or tls:
        return
    raise Denied(
        f"refusing to listen on {bind} without TLS: tokens would be readable on the way",
        hint="set tls_cert and tls_key under [daemon] in config.toml, or listen on 127.0.0.1 behind a proxy",
    )


def open_tcp(bind: Bind) -> socket.socket:
    """A listening socket. Raises `Conflict` when the port is taken, `Unavailable` when the address is not ours."""
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bind.host, bind.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except PermissionError as error:
        listener.close()
        raise Denied(f"may not listen on {bind}: {error.strerror}", hint="use a port above 1023") from None
    except OSError as error:
        listener.close()
        if error.errno == 98:  # EADDRINUSE
            raise Conflict(
                f"{bind} is taken by another program",
                hint=f"find it with `ss -ltnp 'sport = :{bind.port}'`, or choose another: --bind :0, --bind off",
            ) from None
        raise Unavailable(f"cannot listen on {bind}: {error.strerror}", hint="see `ip address`") from None
    return listener


def bound(listener: socket.socket) -> Bind:
    """Where a listener really is: the port the kernel picked."""
    host, port = listener.getsockname()[:2]
    return Bind(host, port)


def open_unix(path: Path, *, group: str | None = None) -> socket.socket:
    """A listening socket at `path`, mode 0600, or 0660 owned by `group`. Call only while holding the lock.

    A directory that is its owner's only is opened to the `group` as far as passing through (0710).

    Made under another name and renamed, so a client sees the old socket or a ready one, and never a wrong mode.
    A path longer than the 107 bytes of `sockaddr_un` is reached through `/proc/self/fd` (unix(7)).
    """
    gid = _gid(group) if group else -1
    new = f".{path.name}.new"
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (path.parent / new).unlink(missing_ok=True)
        listener.bind(f"/proc/self/fd/{directory}/{new}")
        if gid != -1:
            os.chown(path.parent / new, -1, gid)
            _let_through(path.parent, gid)
        (path.parent / new).chmod(0o660 if group else 0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        (path.parent / new).replace(path)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot make the socket {path}: {error.strerror}",
            hint="the data directory must be on a local file system that takes sockets; choose another --data-dir",
        ) from None
    finally:
        os.close(directory)
    return listener


def _let_through(directory: Path, gid: int) -> None:
    info = directory.stat()
    if info.st_mode & 0o070 == 0 and not info.st_mode & 0o001:
        os.chown(directory, -1, gid)
        directory.chmod(stat.S_IMODE(info.st_mode) | 0o010)


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise NotFound(
            f"no group {group!r} on this machine (config.toml, daemon.group)", hint=f"groupadd --system {group}"
        ) from None
