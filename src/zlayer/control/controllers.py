"""The controllers' one loop: picture + now -> decisions -> guarded writes, until nothing is left to decide.

Level-triggered: a change only says "look again". Writes expect the revisions they were decided on, so no turn may
await anything between its picture and its guards without looking at the view's revision again; on a conflict the plan
is dropped and the next turn looks again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio
import structlog

from zlayer.control.rollouts import reviewed
from zlayer.model import keys
from zlayer.model.errors import Conflict, ZlayerError
from zlayer.model.instance import Event, Instance
from zlayer.model.network import Ports
from zlayer.model.units import Timestamp
from zlayer.plan.actions import Admit, Change, Create, Wait, Want
from zlayer.plan.backoff import delay
from zlayer.plan.collect import KEEP_EVENTS, Collection, collect
from zlayer.plan.ipam import one_off_networks
from zlayer.plan.pace import Pace
from zlayer.plan.placement import Ground, Place, place
from zlayer.plan.ports import assign
from zlayer.plan.rollout import decide
from zlayer.plan.seen import Seen, grouped
from zlayer.plan.update.look import Looks
from zlayer.store.contract import Store
from zlayer.store.documents import encode
from zlayer.store.view import Picture, View, sharing

log = structlog.get_logger(__name__)

LOOK_AGAIN = 30.0
TRIM_EVERY = 60.0
GAP = 0.02
"""Seconds between two turns of a storm, on average: a turn looks at everything, and one look does for many changes."""
REST = 10
"""How many times longer than a turn took the next one waits on average, if that is more."""
FIRST_WAVE, FACTOR = 8, 4
"""How many instances a turn makes at most where there are more to make, and how many times more the next one."""
BETWEEN_WAVES = 0.05
"""Seconds in which the first ones get going; they keep a node busy for longer."""
AFTER_OTHERS = 0.04
"""Seconds at most that a change waits for whoever else looks at it, where a turn takes long itself."""


@dataclass(slots=True)
class _Batch:
    puts: dict[str, bytes] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    expect: dict[str, int] = field(default_factory=dict)
    created: list[Instance] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Deployments whose history goes with them."""
    unfinished: set[str] = field(default_factory=set)
    """Deployments of which not everything was put in, as it is much at once."""

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)


class Controllers:
    """`run` until cancelled, on the leader only. `waits` says, by deployment, what is held back and why.

    `view` is an open one that others look at too; without it they keep one of their own.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float], view: View | None = None) -> None:
        self.waits: dict[str, tuple[Wait, ...]] = {}
        self._store = store
        self._clock = clock
        self._looks: dict[str, Looks] = {}
        self._wake_at: dict[str, float] = {}
        """Of the event loop's clock, which never goes back."""
        self._cursor: dict[tuple[str, str], str] = {}
        self._events = 0
        self._wave = FIRST_WAVE
        self._unfinished: set[str] = set()
        self._view: View | None = None
        self._shared = view
        self._pace = Pace(GAP)

    async def run(self) -> None:
        async with sharing(self._shared, self._store) as view, anyio.create_task_group() as tasks:
            self._view = view
            tasks.start_soon(self._trim)
            failures, took = 0, 0.0
            dirty: set[str] = set(view.picture().deployments)
            while True:
                seen, began = view.revision, anyio.current_time()
                dirty |= view.take_dirty() | self._due()
                try:
                    moved = await self._turn(view, dirty)
                    failures = 0
                except Conflict:
                    await view.moved(seen)
                    continue
                except Exception as error:
                    failures += 1
                    log.exception("controllers.turn_failed", error=str(error))
                    await anyio.sleep(delay(failures, "controllers", first=0.1, limit=5.0))
                    continue
                dirty, self._unfinished = self._unfinished, set()
                took = anyio.current_time() - began if moved is None else 0.0  # a commit is waiting, not looking
                self._pace.turn(began, REST * took)
                if moved is not None:
                    await view.reached(moved)
                    if dirty:
                        await anyio.sleep(BETWEEN_WAVES)
                elif view.revision == seen:
                    with anyio.move_on_after(self._pause()):
                        await view.moved(seen)
                    await anyio.sleep(min(AFTER_OTHERS, 8 * took))  # traffic first: it is quicker, and waited for
                await anyio.sleep_until(self._pace.next(anyio.current_time()))

    async def _trim(self) -> None:
        """Keep the events written last: by revision, for the clock they are named after may have gone back."""
        while True:
            try:
                await self._trim_once()
            except ZlayerError as error:  # a full disk, say: a few events too many do no harm
                log.warning("events.trim_failed", error=error.message)
            await anyio.sleep(TRIM_EVERY)

    async def _trim_once(self) -> None:
        """Apart, so that nothing of the list is held until the next time."""
        events = sorted((await self._store.list(keys.EVENTS)).items, key=lambda item: item.created)
        if old := events[:-KEEP_EVENTS]:
            await self._store.commit(deletes=[item.key for item in old])

    def _due(self) -> set[str]:
        now = anyio.current_time()
        return {name for name, at in self._wake_at.items() if at <= now}

    def _pause(self) -> float:
        soonest = min(self._wake_at.values(), default=float("inf"))
        return max(0.0, min(soonest - anyio.current_time(), LOOK_AGAIN))

    async def _turn(self, view: View, dirty: set[str]) -> int | None:
        """One commit with everything decided; its revision, or None when there was nothing to decide."""
        picture, now, batch = view.picture(), self._clock(), _Batch()
        await self._roll(view, picture, now, dirty, batch)
        if not self._settle(view, picture, batch):
            self._place(view, picture, batch)
        self._publish(view, picture, batch)
        self._collect(view, picture, batch)
        for name in batch.gone:
            batch.deletes += [item.key for item in (await self._store.list(f"{keys.REVISIONS}{name}/")).items]
        if not batch:
            return None
        if view.revision != picture.revision:  # it moved while something was read: the guards are newer than the look
            raise Conflict("the picture is no longer the newest")
        revision = await self._store.commit(batch.puts, batch.deletes, batch.expect)
        self._wave = self._wave * FACTOR if batch.unfinished else FIRST_WAVE
        self._unfinished = batch.unfinished
        return revision

    async def _roll(self, view: View, picture: Picture, now: float, dirty: set[str], batch: _Batch) -> None:
        for name in sorted(dirty):
            deployment = picture.deployments.get(name)
            self._wake_at.pop(name, None)
            self.waits.pop(name, None)
            if deployment is None:
                self._looks.pop(name, None)
                continue
            groups = grouped(picture.of(name))
            looks = self._looks.setdefault(name, Looks())
            verdict = await reviewed(self._store, deployment, groups, now, looks)
            decision = decide(verdict.deployment, groups, verdict.looks)
            soonest = min((at for at in (decision.wake_at, verdict.wake_at) if at is not None), default=None)
            if soonest is not None:
                self._wake_at[name] = anyio.current_time() + soonest - now
            if decision.waits:
                self.waits[name] = decision.waits
            batch.puts.update(verdict.puts)
            batch.expect.update(verdict.expect)
            if decision.changes or verdict.puts:
                batch.expect[keys.deployment(name)] = view.modified(keys.deployment(name))
            for change in decision.changes:
                if isinstance(change, Create) and len(batch.created) >= self._wave:
                    # The first begin while the rest is decided anew: nobody waits for two hundred to be written.
                    batch.unfinished.add(name)
                    break
                self._apply(view, batch, change, picture.instances.get(name, {}), now)

    def _apply(self, view: View, batch: _Batch, change: Change, known: Mapping[str, Seen], now: float) -> None:
        match change:
            case Create(instance=instance, reason=reason):
                batch.created.append(instance)
                self._put(view, batch, instance)
                self._event(batch, "instance.created", instance, reason, now)
            case Admit(instance_id=instance_id, reason=reason):
                let_go = {"held": False, "admitted_at": Timestamp(now)}
                instance = known[instance_id].instance.model_copy(update=let_go)
                self._put(view, batch, instance)
                self._event(batch, "instance.admitted", instance, reason, now)
            case Want(instance_id=instance_id, desired=desired, reason=reason, grace=grace):
                seen = known[instance_id]
                instance = seen.instance.model_copy(update={"desired": desired, "stop_grace": grace})
                self._put(view, batch, instance)
                if not seen.ended:  # of one that ended, its end has been told
                    self._event(batch, f"instance.{desired}", instance, reason, now)

    def _put(self, view: View, batch: _Batch, instance: Instance) -> None:
        self._write(view, batch, keys.instance(instance.id), encode(instance))

    def _write(self, view: View, batch: _Batch, key: str, value: bytes) -> None:
        batch.puts[key] = value
        batch.expect[key] = view.modified(key)

    def _event(self, batch: _Batch, kind: str, instance: Instance, message: str, now: float) -> None:
        self._events += 1
        event = Event(
            at=Timestamp(now),
            kind=kind,
            deployment=instance.deployment,
            service=instance.service,
            instance=instance.id,
            message=message,
        )
        key = f"{keys.EVENTS}{int(now * 1e6):020d}-control-{self._events}"
        batch.puts[key] = encode(event)

    def _settle(self, view: View, picture: Picture, batch: _Batch) -> bool:
        """A new node gets a network for one-offs, in a turn of its own: no other may be given the same block."""
        made = one_off_networks(picture.nodes.values(), picture.networks.values())
        for network in made:
            self._write(view, batch, keys.network(network.node, network.deployment), encode(network))
        return bool(made)

    def _place(self, view: View, picture: Picture, batch: _Batch) -> None:
        seen = picture.all()
        waiting = [one for one in seen.values() if one.instance.node is None and one.live]
        if not batch.created and not waiting:
            return
        placement = place([*seen.values(), *(Seen(instance) for instance in batch.created)], self._ground(picture))
        for spot in placement.places:
            placed = spot.settled()
            self._put(view, batch, placed)
            if spot.address is not None and spot.shares is None:
                key = keys.address(spot.node, spot.address)
                batch.puts[key] = json.dumps(placed.id).encode()
                batch.expect[key] = 0
                self._cursor[spot.node, placed.deployment] = spot.address
        for network in placement.networks:
            self._write(view, batch, keys.network(network.node, network.deployment), encode(network))
        for refused in placement.unplaced:
            self._refuse(view, batch, refused.instance, refused.reason)

    def _ground(self, picture: Picture) -> Ground:
        return Ground(picture.nodes, picture.networks.values(), _by_node(picture.addresses), self._cursor)

    def _publish(self, view: View, picture: Picture, batch: _Batch) -> None:
        """Host ports for mappings that name none, on every node that has such a service."""
        deployments = [one for one in picture.deployments.values() if one.desired != "removed"]
        if not any(one.given for one in picture.ports.values()) and not any(
            s.ports for one in deployments for s in one.services.values()
        ):
            return
        for node in picture.nodes:
            held = picture.ports.get(node, Ports(node=node))
            present = {
                (name, s.instance.service)
                for name, group in picture.instances.items()
                for s in group.values()
                if s.instance.node == node
            }
            wanted = assign(held, deployments, present)
            if wanted != held:
                self._write(view, batch, keys.ports(node), encode(wanted))

    def suggest(self, instance: Instance) -> Place | None:
        """A place for an instance that is about to be written, which then needs no second write.

        None leaves it to the next turn: when there is none, or its network must first be made or get a block more.
        The address is a suggestion: the write must expect it to be free.
        """
        if self._view is None:
            return None
        picture = self._view.picture()
        everyone = [*picture.all().values(), Seen(instance)]
        found = place(everyone, self._ground(picture))
        spot = next((one for one in found.places if one.instance.id == instance.id), None)
        if spot is None or any(
            (one.node, one.deployment) == (spot.node, instance.deployment) for one in found.networks
        ):
            return None
        if spot.address is not None and spot.shares is None:
            self._cursor[spot.node, instance.deployment] = spot.address
        return spot

    def _refuse(self, view: View, batch: _Batch, instance: Instance, reason: str) -> None:
        """Tell once, and again only when the reason changes: a full subnet must not fill the log."""
        if instance.unplaced == reason:
            return
        log.warning("placement.none", instance=instance.id, reason=reason)
        told = instance.model_copy(update={"unplaced": reason})
        self._put(view, batch, told)
        self._event(batch, "instance.unplaced", told, reason, self._clock())

    def _collect(self, view: View, picture: Picture, batch: _Batch) -> None:
        found = collect(picture.deployments, picture.all(), picture.addresses, picture.networks)
        if found == Collection():
            return
        for instance_id in found.remove:
            seen = picture.find(instance_id)
            if seen is not None and keys.instance(instance_id) not in batch.puts:
                self._put(view, batch, seen.instance.model_copy(update={"desired": "removed"}))
        for instance_id in found.forget:
            if keys.instance(instance_id) not in batch.puts:
                batch.deletes += [keys.instance(instance_id), keys.status(instance_id)]
                batch.expect[keys.instance(instance_id)] = view.modified(keys.instance(instance_id))
        freed = [f"{keys.ADDRESSES}{one}" for one in found.addresses]
        freed += [f"{keys.NETWORKS}{one}" for one in found.networks]
        for key in freed:
            if key not in batch.puts:
                batch.deletes.append(key)
                batch.expect[key] = view.modified(key)
        for name in found.deployments:
            batch.gone.append(name)
            batch.deletes.append(keys.deployment(name))
            batch.expect[keys.deployment(name)] = view.modified(keys.deployment(name))


def _by_node(addresses: Mapping[str, str]) -> dict[str, list[str]]:
    taken: dict[str, list[str]] = {}
    for key in addresses:
        node, _, ip = key.partition("/")
        taken.setdefault(node, []).append(ip)
    return taken
