"""Making a container once: from nothing, over what a killed create left, or finding it made already."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import anyio

from zlayer.model.errors import Failed
from zlayer.model.units import Timestamp
from zlayer.runtime.contract import CreateRequest, Handle
from zlayer.runtime.oci import conmon, smallfiles
from zlayer.runtime.oci.cgroups.apart import set_apart
from zlayer.runtime.oci.config import Place, config_of
from zlayer.runtime.oci.layout import Layout, Record, boot_id, layout_of, read_number, read_record, write_record
from zlayer.runtime.oci.probe import Tools
from zlayer.runtime.oci.processes import Process, executable, identify
from zlayer.runtime.oci.rotation import begin_log
from zlayer.runtime.oci.site import Site
from zlayer.runtime.oci.unmaker import clear, locked

_CREATE_SECONDS = 60.0
DRIVER = "oci"


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes containers with one set of tools. Calls for one id must not overlap: the driver sees to it."""

    site: Site
    tools: Tools

    async def make(self, request: CreateRequest) -> Record:
        """The record of the container, made now if it was not. Killed anywhere, calling again is safe.

        No record means nothing of the image ever ran, so whatever is there is cleared away first.
        """
        layout = layout_of(str(request.directory))
        if (record := read_record(layout)) is not None:
            return record
        config = config_of(request, Place(self.site.cgroup_of(request.id), self.site.hierarchies))
        await clear(self.site, layout, request.id)
        layout.prepare()
        smallfiles.write(layout.config, json.dumps(config).encode())
        try:
            with locked(layout) as lock:
                return await self._create(request, layout, lock)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await clear(self.site, layout, request.id)
            raise

    async def _create(self, request: CreateRequest, layout: Layout, lock: int) -> Record:
        what = conmon.Monitored(
            request.id,
            layout,
            tty=request.tty,
            stdin=request.stdin_open or request.tty,
            program=request.argv[0],
            log_segment=max(1, request.log_max_size // 2),
            carry=carried(request),
        )
        tools = self.tools
        begin_log(layout)
        pid = await conmon.launch(tools.conmon, tools.engine, what, lock=lock, timeout=_CREATE_SECONDS)
        process = identify(pid)
        monitor = identify(read_number(layout.monitor_pid_file) or 0)
        if process is None or monitor is None:
            raise Failed(f"{request.id} ended while it was created", hint="it is tried again")
        set_apart(self.site.hierarchies, self.site.monitors, monitor.pid)
        if tools.engine.covered is not None:  # it did not see one of the hierarchies
            set_apart(self.site.hierarchies, self.site.cgroup_of(request.id), process.pid)
        record = Record(
            handle=handle_of(request, process, monitor),
            boot=boot_id(),
            init=executable(pid),
            cgroup=self.site.cgroup_of(request.id),
            engine=tools.engine.name,
            log_max_size=int(request.log_max_size),
            tty=request.tty,
            stdin=what.stdin,
        )
        write_record(layout, record)
        return record


def carried(request: CreateRequest) -> list[Path] | None:
    """Whose mounts the engine needs for it; None when a bind of the host's own mounts wants to see them all."""
    own = f"{request.directory}/"  # texts: paths are dear, and one with `..` in it counts as outside
    sources = [mount.source for mount in request.mounts if mount.type == "bind"]
    mine = [request.rootfs] + ([request.netns] if request.netns is not None else [])
    outside = [Path(source) for source in sources if not source.startswith(own) or ".." in source]
    if any(source.resolve() in path.resolve().parents for source in outside for path in mine):
        return None
    return mine + outside


def handle_of(request: CreateRequest, process: Process, monitor: Process) -> Handle:
    return Handle(
        driver=DRIVER,
        id=request.id,
        directory=str(request.directory),
        pid=process.pid,
        pid_start=process.start,
        monitor_pid=monitor.pid,
        monitor_start=monitor.start,
        created_at=Timestamp(time.time()),
    )
