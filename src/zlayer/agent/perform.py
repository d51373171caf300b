"""One outside call per step. Each takes the record as it stands and returns it one stage further.

Called again after a crash in the middle, every step does what is left and answers as if it had done all.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from zlayer.agent import files, journal, request, volumes
from zlayer.agent.journal import Record
from zlayer.image.contract import Image, Images, Progress, Snapshots
from zlayer.model.container import PullPolicy
from zlayer.model.errors import NotFound, Unavailable, ZlayerError
from zlayer.model.fabric import Subnet
from zlayer.model.instance import Instance
from zlayer.model.paths import Paths
from zlayer.model.units import Seconds, Timestamp
from zlayer.network.contract import Attachment, Network
from zlayer.plan.lifecycle import Stage, Verb
from zlayer.runtime.contract import Exit, FullRuntime, Handle


async def _nowhere(instance: Instance) -> Subnet | None:
    del instance
    return None


@dataclass(frozen=True, slots=True)
class Machine:
    """The contracts an agent drives, and the clock it tells time by."""

    runtime: FullRuntime
    images: Images
    snapshots: Snapshots
    network: Network
    paths: Paths
    clock: Callable[[], float]
    subnet: Callable[[Instance], Awaitable[Subnet | None]] = _nowhere
    """`Homes.subnet`: the network an instance is attached to."""
    withdraw: Callable[[Instance], Awaitable[None]] | None = None
    """`Traffic.withdraw`: asked before a running instance is stopped. None: nothing sends traffic here."""


JOIN_AGAIN = Seconds(0.2)
"""Until the instance whose network is shared has one."""
_HERE = ("extracting", "done", "exists")
"""Phases of a blob whose bytes have all come."""


@dataclass(slots=True)
class Scratch:
    """What earlier steps of this process found, to spare asking twice. All of it can be asked for again."""

    image: Image | None = None
    rootfs: Path | None = None
    attachment: Attachment | None = None
    handles: dict[str, Handle] = field(default_factory=dict)
    blobs: dict[str, Progress] = field(default_factory=dict)


class Steps:
    """The steps of one instance on one machine."""

    def __init__(self, machine: Machine, instance_id: str) -> None:
        self._machine = machine
        self.directory = machine.paths.containers / instance_id
        self._id = instance_id
        self._scratch = Scratch()

    async def perform(self, verb: Verb, instance: Instance | None, record: Record) -> Record:
        """Raises a ZlayerError; the record is then unchanged. `instance` is None only on the way down."""
        if verb in ("stop", "release", "forget"):
            return await self._down(verb, instance, record)
        assert instance is not None
        match verb:
            case "pull":
                image = await self._image(instance, pull=True)
                return record.at(Stage.PULLED, image_digest=image.digest)
            case "prepare":
                await all_of(self._rootfs(instance), self._attachment(instance))
                return record.at(Stage.PREPARED)
            case "create":
                return await self._create(instance, record)
            case "start":
                assert record.handle is not None
                await self._machine.runtime.start(record.handle)
                now = Timestamp(self._machine.clock())
                return record.at(Stage.STARTED, started_at=now, ready_at=now if instance.spec.health is None else None)
            case _:  # pragma: no cover - the ways down were taken above
                raise AssertionError(verb)

    async def _down(self, verb: Verb, instance: Instance | None, record: Record) -> Record:
        match verb:
            case "stop":
                return await self._stop(instance, record)
            case "release":
                return await self._release(record)
            case _:
                await run_sync(self._forget)
                return record.at(Stage.GONE)

    async def _release(self, record: Record) -> Record:
        """Its process has ended, so container, network and root file system can go at once, in any order."""
        calls: list[Awaitable[object]] = []
        if record.handle is not None or record.created:
            calls.append(self._machine.runtime.remove(record.handle or self._nameplate()))
        calls.append(self._machine.network.detach(self._id))
        calls.append(self._machine.snapshots.unmount(self._id, self.directory, discard=True))
        await all_of(*calls)
        if (self.directory / "volumes").exists():
            await run_sync(self._discard_volumes)
        return record.at(Stage.RELEASED)

    async def _image(self, instance: Instance, *, pull: bool) -> Image:
        if self._scratch.image is None:
            spec = instance.spec
            asked: PullPolicy = "if_not_present" if spec.pin is not None else spec.pull_policy
            policy: PullPolicy = asked if pull else "never"
            self._scratch.image = await self._machine.images.pull(
                _reference(instance),
                policy=policy,
                platform=spec.platform,
                source=spec.source_policy,
                on_progress=self._saw,
            )
        return self._scratch.image

    async def at_hand(self, instance: Instance) -> bool:
        """Whether the image is here and need not be asked for."""
        if instance.spec.pin is None and instance.spec.pull_policy not in ("if_not_present", "never"):
            return False
        return await self._machine.images.find(_reference(instance)) is not None

    def _saw(self, progress: Progress) -> None:
        self._scratch.blobs[progress.digest] = progress

    def pulling(self, image: str) -> str:
        return pulling(image, self._scratch.blobs.values())

    async def _rootfs(self, instance: Instance) -> Path:
        if self._scratch.rootfs is None:
            image = await self._image(instance, pull=False)
            mounted = await self._machine.snapshots.mount(image, self._id, self.directory)
            self._scratch.rootfs = mounted.rootfs
        return self._scratch.rootfs

    async def _attachment(self, instance: Instance) -> Attachment | None:
        if instance.spec.network_mode == "host":
            return None
        if self._scratch.attachment is None:
            self._scratch.attachment = await self._attach(instance)
        return self._scratch.attachment

    async def _attach(self, instance: Instance) -> Attachment:
        network = self._machine.network
        if instance.shares is None:
            return await network.attach(self._id, instance.address, await self._machine.subnet(instance))
        try:
            return await network.join(instance.shares)
        except NotFound as error:
            raise Unavailable(error.message, hint=error.hint, retry_after=JOIN_AGAIN) from error

    async def _create(self, instance: Instance, record: Record) -> Record:
        journal.append(self.directory, replace(record, created=True))
        image = await self._image(instance, pull=False)
        rootfs = await self._rootfs(instance)
        attachment = await self._attachment(instance)
        mounts = volumes.prepare(instance, self.directory, rootfs, self._machine.paths.volumes)
        etc = files.write(self.directory, instance.spec, request.hostname(instance), _seat(instance, attachment))
        handle = await self._machine.runtime.create(
            request.build(
                instance,
                image,
                directory=self.directory,
                rootfs=rootfs,
                netns=attachment.netns if attachment is not None else None,
                mounts=etc + mounts,
            )
        )
        return record.at(Stage.CREATED, created=True, handle=handle)

    async def _stop(self, instance: Instance | None, record: Record) -> Record:
        """A container that runs gets its grace; anything less far is only taken apart."""
        handle = record.handle
        now = Timestamp(self._machine.clock())
        if handle is None:
            return record.at(Stage.ENDED, exit=Exit(None, False, now), failed=True, reason="stopped before it ran")
        if record.stage < Stage.STARTED:
            ended = await self._machine.runtime.stop(handle, "SIGKILL", Seconds(0))
            return record.at(Stage.ENDED, exit=ended, failed=True, reason="stopped before it ran")
        signal, grace = "SIGTERM", Seconds(10)
        if instance is not None:
            grace = instance.stop_grace if instance.stop_grace is not None else instance.spec.stop_grace
            if self._machine.withdraw is not None:
                await self._machine.withdraw(instance)
            # Not `_image`: it may be refused by now, or ask a registry for its signature, and a stop must not wait.
            if (image := self._scratch.image or await self._machine.images.find(_reference(instance))) is not None:
                signal = request.stop_signal(instance, image.config)
        return record.at(Stage.ENDED, exit=await self._machine.runtime.stop(handle, signal, grace))

    def _nameplate(self) -> Handle:
        """For a create that was cut off: the runtime may know the container though the journal has no handle."""
        return Handle(self._machine.runtime.name, self._id, str(self.directory), pid=0)

    def _discard_volumes(self) -> None:
        shutil.rmtree(self.directory / "volumes", ignore_errors=True)

    def _forget(self) -> None:
        trash = self.directory.with_name(f".trash-{self._id}")
        with suppress(FileNotFoundError):
            self.directory.rename(trash)
        while trash.exists():
            with suppress(FileNotFoundError):  # an earlier daemon's is swept at the same time
                shutil.rmtree(trash)


def _seat(instance: Instance, attachment: Attachment | None) -> files.Seat:
    if attachment is None:
        return files.Seat()
    addresses = tuple(one for one in (instance.address, attachment.address6) if one)
    return files.Seat(addresses, attachment.gateway)


def _reference(instance: Instance) -> str:
    """What is pulled for it: the digest it is pinned to, if any."""
    image, pin = instance.spec.image, instance.spec.pin
    return image if pin is None else f"{image.split('@')[0]}@{pin}"


def pulling(image: str, blobs: Collection[Progress]) -> str:
    """What a pull that goes on is at, for people."""
    total = sum(blob.total for blob in blobs)
    here = sum(blob.total if blob.phase in _HERE else blob.done for blob in blobs)
    if total and here >= total:
        return f"unpacking {image}"
    return f"pulling ({here / 2**20:.1f} of {total / 2**20:.1f} MiB) {image}" if total else f"pulling {image}"


async def all_of(*calls: Awaitable[object]) -> None:
    """Wait for independent calls at once. All are finished when this returns, or raises the first error of one."""
    errors: list[Exception] = []

    async def run(call: Awaitable[object]) -> None:
        try:
            await call
        except (ZlayerError, OSError) as error:  # raised below: a task group would wrap it
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(run, call)
    if errors:
        raise errors[0]


async def pause(seconds: float, wake: anyio.Event) -> None:
    """Sleep until `wake` is set or the time is over."""
    with anyio.move_on_after(max(0.0, seconds)):
        await wake.wait()
