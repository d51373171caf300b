"""A daemon from start to stop: lock, log, sockets, store, network; then agent, controllers and API side by side."""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from importlib.util import find_spec
from typing import cast

import anyio
import structlog
from anyio.abc import TaskGroup

from zlayer import __version__
from zlayer.agent.agent import Agent
from zlayer.api.app import core_app, guarded
from zlayer.api.services import Facts, Services
from zlayer.api.streams import first_of
from zlayer.control.controllers import Controllers
from zlayer.control.pins import Pins
from zlayer.control.views import Views
from zlayer.control.wishes import Wishes
from zlayer.daemon import lock, tokens, traffic, wiring
from zlayer.daemon.config import Config, load
from zlayer.daemon.doors import Doors, open_doors
from zlayer.daemon.housekeeping import Housekeeper, space_of
from zlayer.daemon.http import Listener
from zlayer.daemon.logging import Format, Level, LogFile, configure, terminal
from zlayer.daemon.options import Options
from zlayer.daemon.standing import standing
from zlayer.daemon.wiring import Drivers
from zlayer.model.container import ContainerSpec
from zlayer.model.errors import ZlayerError
from zlayer.model.paths import Paths
from zlayer.model.units import Timestamp
from zlayer.store.pins import pinned_images
from zlayer.store.view import View

log = structlog.get_logger()

FLUSH = 2.0
"""Seconds a stopping daemon gives the store to take the last statuses and events; the next one would tell them too."""

OnReady = Callable[[Facts], None]
Assemble = Callable[[Paths, Config], AbstractAsyncContextManager[Drivers]]


def run(
    paths: Paths,
    options: Options,
    *,
    on_ready: OnReady = lambda _facts: None,
    foreground: bool = True,
    assemble: Assemble = wiring.drivers,
) -> None:
    """Serve `paths` until SIGTERM or SIGINT; containers go on. SIGHUP reopens the log.

    Raises `Conflict` when another daemon serves it, and whatever keeps this one from starting; nothing of it is left
    then. `on_ready` is called once what runs was adopted and requests are answered.
    """
    os.umask(0o022)  # what drivers make must not depend on who started us
    raise_open_files()
    prepare(paths)
    with lock.hold(paths.lock):
        config = options.over(load(paths.root / "config.toml"))
        failure: ZlayerError | None = None
        file = LogFile(paths.log, echo=terminal() if foreground else None)
        configure(file, level=cast(Level, config.log_level), form=cast(Format, config.log_format))
        try:
            with open_doors(paths, config) as doors:
                anyio.run(
                    partial(_serve, paths, config, doors, file, on_ready=on_ready, assemble=assemble),
                    backend_options={"use_uvloop": find_spec("uvloop") is not None},
                )
        except* ZlayerError as group:
            failure = first_of(group)
            log.error("daemon.failed", error=failure.message, hint=failure.hint)
        finally:
            file.close()
        if failure is not None:
            raise failure


def raise_open_files() -> None:
    """To our hard limit: every container that runs takes a descriptor, and the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a hard limit of "unlimited" may be above what the kernel takes
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare(paths: Paths) -> None:
    """The data directory, for its owner only; what may hold secrets also when somebody made the directory wider."""
    paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (paths.run, paths.containers, paths.volumes):
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)


async def _serve(
    paths: Paths, config: Config, doors: Doors, file: LogFile, *, on_ready: OnReady, assemble: Assemble
) -> None:
    async with assemble(paths, config) as drivers, View(drivers.store) as view:
        carriers = drivers.carriers
        moving = traffic.assemble(drivers.node, view, carriers) if carriers is not None else None
        agent = Agent(drivers.store, drivers.node, drivers.machine, traffic=moving)
        if drivers.gate is not None:
            drivers.gate.tell = agent.note
        controllers = Controllers(drivers.store, clock=time.time, view=view)
        services = _services(
            paths, doors, drivers, Views(drivers.store, view, traffic.troubles(moving)), agent, controllers
        )
        core = core_app(services)
        listeners = [Listener(guarded(core, services, trusted=True), doors.unix)]
        if doors.tcp is not None:
            app = guarded(core, services, trusted=False)
            listeners.append(Listener(app, doors.tcp, cert=config.tls_cert, key=config.tls_key))
        async with anyio.create_task_group() as tasks:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                tasks.start_soon(_on_signals, signals, services, file)
                tasks.start_soon(agent.run)
                await agent.looked.wait()
                tasks.start_soon(controllers.run)
                if carriers is not None and moving is not None:
                    certificates = traffic.keeper(drivers.store, view, moving, carriers, drivers.node)
                    tasks.start_soon(standing, "proxy", carriers.keep)
                    tasks.start_soon(standing, "certificates", certificates.run)
                keeper = Housekeeper(
                    agent.images.stock,
                    space_of(paths.root),
                    lambda: pinned_images(drivers.store, view.picture()),
                    agent.note,
                )
                tasks.start_soon(standing, "images", keeper.run)
                if drivers.keeper is not None:
                    tasks.start_soon(standing, "s3", drivers.keeper.run)
                tasks.start_soon(_until_stopping, listeners, services, agent, tasks)
                await agent.recovered.wait()
                services.ready.set()
                log.info("daemon.ready", socket=services.facts.socket, bind=doors.bind, node=drivers.node.id)
                on_ready(services.facts)
                _settle()
                await anyio.sleep_forever()
    log.info("daemon.stopped")


def _services(
    paths: Paths, doors: Doors, drivers: Drivers, views: Views, agent: Agent, controllers: Controllers
) -> Services:
    key = tokens.ensure_key(paths.jwt_key)

    async def resolve(container: ContainerSpec) -> str:
        return await agent.images.resolve(container.image, platform=container.platform)

    async def local(pinned: ContainerSpec) -> str | None:
        found = await agent.images.find(f"{pinned.image.split('@')[0]}@{pinned.pin}")
        return found.digest if found is not None else None

    facts = Facts(
        version=__version__,
        pid=os.getpid(),
        data_dir=str(paths.root),
        socket=str(paths.socket),
        bind=doors.bind,
        node=drivers.node.id,
        runtime=drivers.node.runtime,
        started_at=Timestamp(time.time()),
        rootfs=drivers.rootfs,
    )
    return Services(
        wishes=Wishes(
            drivers.store,
            environ=os.environ,
            clock=time.time,
            pins=Pins(resolve, local),
            suggest=controllers.suggest,
            proxy=drivers.carriers.proxy.probe if drivers.carriers is not None else None,
        ),
        views=views,
        agent=agent,
        store=drivers.store,
        facts=facts,
        verify=partial(tokens.decode_token, key),
        probe_runtimes=drivers.probe_runtimes,
        ready=anyio.Event(),
        stopping=anyio.Event(),
        waits=lambda deployment: controllers.waits.get(deployment, ()),
    )


async def _on_signals(signals: AsyncIterator[signal.Signals], services: Services, file: LogFile) -> None:
    async for number in signals:
        if number is signal.SIGHUP:
            file.reopen()
            log.info("log.reopened")
            continue
        log.info("daemon.stopping", signal=number.name)
        services.stopping.set()


async def _until_stopping(listeners: list[Listener], services: Services, agent: Agent, tasks: TaskGroup) -> None:
    """Answer until told to stop, let answers under way end, write what was seen, then stop everything else."""
    async with anyio.create_task_group() as serving:
        for listener in listeners:
            serving.start_soon(listener.answer)
        await services.stopping.wait()
        for listener in listeners:
            listener.stop()
    with anyio.move_on_after(FLUSH):
        await agent.flush()
    tasks.cancel_scope.cancel()


def _settle() -> None:
    """What start-up made is here to stay: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
