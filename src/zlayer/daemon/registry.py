"""`zlayer registry serve` from start to stop: lock, log, socket, then the registry's application over it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from zlayer.api.streams import first_of
from zlayer.daemon import lock
from zlayer.daemon.config import load
from zlayer.daemon.http import Listener
from zlayer.daemon.listen import Bind, bound, open_tcp, parse_bind
from zlayer.daemon.logging import LogFile, configure, terminal
from zlayer.daemon.serve import raise_open_files
from zlayer.model.errors import Conflict, Denied, Invalid, ZlayerError
from zlayer.model.paths import Paths
from zlayer.registry.access import Access
from zlayer.registry.app import RegistryApp
from zlayer.registry.repositories import Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.uploads import Uploads
from zlayer.registry.upstream import FRESH, Upstream, parse_rule
from zlayer.registry.users import Users

LOOK = 600.0
"""Seconds between two looks for uploads that expired."""
DEFAULT = "127.0.0.1:5000"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Serving:
    """How one registry is served. `fresh` is in seconds, `most` (the largest blob) in bytes."""

    root: Path
    bind: str = DEFAULT
    anonymous: bool = False
    anonymous_pull: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: Sequence[str] = ()
    fresh: float = FRESH
    most: int = 1 << 40
    log_format: str = "json"


def serve(paths: Paths, wanted: Serving, *, on_ready: Callable[[str], None] = lambda _address: None) -> None:
    """Serve until SIGTERM or SIGINT. `on_ready` gets `HOST:PORT` once requests are answered.

    Errors: `Denied` for what would be open to strangers, `Conflict` when it is served already or the port is taken,
    `Invalid` for proxy rules and configuration, `Exhausted` and `Failed` of the disk.
    """
    before = os.umask(0o077)
    try:
        _prepared(paths, wanted, on_ready)
    finally:
        os.umask(before)


def _prepared(paths: Paths, wanted: Serving, on_ready: Callable[[str], None]) -> None:
    raise_open_files()
    bind = parse_bind(wanted.bind)
    users = Users(wanted.root / "users.json")
    _check(bind, wanted, users)
    rules = [parse_rule(text) for text in wanted.proxies]
    if len({rule.first for rule in rules}) != len(rules):
        raise Invalid("two proxy rules have one name", hint="give each --proxy a name of its own")
    settings = replace(load(paths.root / "config.toml").registries, auth_file=str(paths.root / "registries.json"))
    wanted.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(wanted.root), closing(open_tcp(bind)) as listener:
        file = LogFile(wanted.root / "registry.log", echo=terminal())
        configure(file, form="text" if wanted.log_format == "text" else "json")
        shelf = Shelf(Repositories(wanted.root))
        upstreams = [Upstream(rule, shelf, settings, fresh=wanted.fresh) for rule in rules]
        access = Access(users, anonymous=wanted.anonymous, anonymous_pull=wanted.anonymous_pull)
        _run(partial(_serve, wanted, shelf, access, upstreams, listener, on_ready), file)


def _run(work: Callable[[], Awaitable[None]], file: LogFile) -> None:
    failure: ZlayerError | None = None
    try:
        anyio.run(work, backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except* ZlayerError as group:
        failure = first_of(group)
    finally:
        file.close()
    if failure is not None:
        raise failure


async def _serve(
    wanted: Serving,
    shelf: Shelf,
    access: Access,
    upstreams: list[Upstream],
    listener: socket.socket,
    on_ready: Callable[[str], None],
) -> None:
    uploads = Uploads(shelf.repositories, most=wanted.most)
    await to_thread.run_sync(shelf.repositories.sweep)
    async with anyio.create_task_group() as tasks:
        app = RegistryApp(shelf, uploads, access, upstreams, tasks)
        server = Listener(app, listener, cert=wanted.tls_cert, key=wanted.tls_key)
        tasks.start_soon(_expire, uploads)
        tasks.start_soon(_until_signal, server)
        address = str(bound(listener))
        log.info(
            "registry.ready", bind=address, root=str(wanted.root), proxies=[up.rule.first or "*" for up in upstreams]
        )
        on_ready(address)
        await server.answer()
        for upstream in upstreams:
            upstream.stopping = True
        tasks.cancel_scope.cancel()
    log.info("registry.stopped")


async def _until_signal(server: Listener) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("registry.stopping", signal=number.name)
            server.stop()
            return


async def _expire(uploads: Uploads) -> None:
    while True:
        if gone := await to_thread.run_sync(uploads.expire):
            log.info("uploads.expired", count=gone)
        await anyio.sleep(LOOK)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One server per directory: uploads under way are known to their own server only."""
    try:
        with ExitStack() as stack:
            stack.enter_context(lock.hold(root / "serve.lock"))
            held = stack.pop_all()
    except Conflict:
        pid = lock.holder(root / "serve.lock")
        raise Conflict(
            f"another `zlayer registry serve` (pid {pid}) serves {root}", hint="stop it, or use --root"
        ) from None
    with held:
        yield


def _check(bind: Bind, wanted: Serving, users: Users) -> None:
    """Raises `Denied` for a registry that strangers could use or whose passwords they could read."""
    if bind.off:
        raise Invalid("a registry needs an address", hint="--bind HOST:PORT")
    if (wanted.tls_cert is None) != (wanted.tls_key is None):
        raise Invalid("TLS needs both a certificate and its key", hint="--tls-cert FILE --tls-key FILE")
    if wanted.tls_cert is not None:
        _check_pair(wanted.tls_cert, wanted.tls_key)
    if wanted.anonymous:
        if not bind.loopback:
            raise Denied(f"refusing to let everybody on {bind} push and delete", hint="--anonymous is for 127.0.0.1")
        return
    if not bind.loopback and wanted.tls_cert is None:
        raise Denied(
            f"refusing to listen on {bind} without TLS: passwords would be readable on the way",
            hint="--tls-cert FILE --tls-key FILE, or listen on 127.0.0.1 behind a proxy",
        )
    if not users.all() and not wanted.anonymous_pull:
        raise Denied(
            "this registry has no users, so nobody could use it",
            hint="zlayer registry user add NAME --right pull --right push, or --anonymous on 127.0.0.1",
        )


def _check_pair(cert: Path, key: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            f"{cert} and {key} cannot be used for TLS: {error.strerror or error}",
            hint="give a PEM certificate chain and its own key, readable by this user",
        ) from None
