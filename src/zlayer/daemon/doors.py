"""The sockets a daemon listens on, opened before anything else is: whoever cannot be reached need not start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import structlog

from zlayer.daemon.config import Config
from zlayer.daemon.listen import DEFAULT, Bind, bound, check_exposure, open_tcp, open_unix
from zlayer.model.errors import Conflict
from zlayer.model.paths import Paths

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Doors:
    """`bind` says where TCP listens, `off`, or `off` and why."""

    unix: socket.socket
    tcp: socket.socket | None
    bind: str


@contextmanager
def open_doors(paths: Paths, config: Config, *, default: Bind = DEFAULT) -> Iterator[Doors]:
    """Open both; leaving closes them and takes the socket file away. Call only while holding the lock.

    A taken port is an error when the address was asked for, and a warning when it is only the default: several
    daemons may share a machine, each with its own socket.
    """
    with ExitStack() as stack:
        tcp, bind = _tcp(config, default)
        if tcp is not None:
            stack.callback(tcp.close)
        unix = open_unix(paths.socket, group=config.group)
        stack.callback(unix.close)
        stack.callback(paths.socket.unlink, missing_ok=True)
        yield Doors(unix, tcp, bind)


def _tcp(config: Config, default: Bind) -> tuple[socket.socket | None, str]:
    wanted = config.bind or default
    check_exposure(wanted, tls=config.tls_cert is not None)
    if wanted.off:
        return None, "off"
    try:
        listener = open_tcp(wanted)
    except Conflict as error:
        if config.bind is not None:
            raise
        log.warning("tcp.off", reason=error.message, hint=error.hint)
        return None, f"off ({error.message})"
    return listener, str(bound(listener))
