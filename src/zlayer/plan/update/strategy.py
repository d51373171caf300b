"""In which order replicas are replaced and how many at a time, and why; and what cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from zlayer.model.container import BindMount, Mount, TmpfsMount
from zlayer.model.endpoint import Update
from zlayer.model.instance import Service

Order = Literal["start-first", "stop-first"]


@dataclass(frozen=True, slots=True)
class Method:
    """What an update of a service does. `reason` says why it is stop-first where nobody asked for that.

    `surge`: replicas above the wanted count at a time. `unavailable`: replicas that may be missing at a time.
    """

    strategy: Literal["rolling", "blue_green", "canary"]
    order: Order
    reason: str
    surge: int
    unavailable: int

    @property
    def stop_first(self) -> bool:
        return self.order == "stop-first"


def method(service: Service) -> Method:
    """How the service is updated, whatever it is asked to be: `refusals` tells what cannot be."""
    update, wanted = service.update, service.replicas
    forced = why_stop_first(service)
    missing = share(update.max_unavailable, wanted, up=False)
    if forced or update.order == "stop_first":
        return Method("rolling", "stop-first", forced or "asked for", 0, max(1, missing))
    extra = share(update.max_surge, wanted, up=True)
    if update.strategy == "rolling" and extra == 0 and missing == 0:
        extra = 1  # refused at deploy; stored by an older version it must still move
    return Method(update.strategy, "start-first", "", extra, missing)


def why_stop_first(service: Service) -> str:
    """Why two instances of one replica cannot live side by side; empty when they can."""
    container = service.container
    if container.network_mode == "host" and (service.endpoints or service.ports):
        return "it uses ports of the host, which one at a time can have"
    if service.replicas == 1 and (mount := next(filter(_keeps, container.mounts), None)):
        return f"{_name(mount)} has one writer at a time"
    return ""


def _keeps(mount: Mount) -> bool:
    """Whether what is written there is there for the next instance too."""
    return not isinstance(mount, TmpfsMount) and not mount.readonly and not (mount.type == "volume" and not mount.name)


def _name(mount: Mount) -> str:
    if isinstance(mount, TmpfsMount):
        return mount.target
    return mount.source if isinstance(mount, BindMount) else f"volume {mount.name}"


def share(value: int | str, whole: int, *, up: bool) -> int:
    """A number as it is, or `25%` of `whole`, rounded up or down. Whole numbers only: no float decides a replica."""
    if isinstance(value, int):
        return value
    part = int(value.removesuffix("%")) * whole
    return -(-part // 100) if up else part // 100


def refusals(service: Service) -> Iterator[str]:
    """Why what the service asks of its updates cannot be; nothing when it can."""
    update = service.update
    broken = [name for name in ("max_surge", "max_unavailable") if not _is_count(getattr(update, name))]
    if broken:
        yield from (f"update.{name}: {getattr(update, name)!r} is no number and no share like 25%" for name in broken)
        return
    if forced := why_stop_first(service):
        if update.order == "start_first":
            yield f"update.order: start_first cannot be: {forced}"
        if update.strategy != "rolling":
            yield f"update.strategy: {update.strategy} needs old and new side by side: {forced}"
    elif update.order == "stop_first" and update.strategy != "rolling":
        yield f"update.strategy: {update.strategy} needs old and new side by side, and update.order is stop_first"
    yield from _stuck(update, forced)


def _stuck(update: Update, forced: str) -> Iterator[str]:
    start_first = not forced and update.order != "stop_first"
    none_more = share(update.max_surge, 100, up=True) == 0
    none_less = share(update.max_unavailable, 100, up=False) == 0
    if start_first and update.strategy == "rolling" and none_more and none_less:
        yield "update: max_surge and max_unavailable are both 0, so nothing could ever be replaced"
    if update.strategy == "canary" and none_more:
        yield "update.max_surge: a canary stands beside the old replicas, so it must be at least 1"
    weights = [step.weight for step in update.steps]
    if update.strategy == "canary" and weights != sorted(weights):
        yield "update.steps: the weights of a canary only grow"


def _is_count(value: int | str) -> bool:
    if isinstance(value, int):
        return value >= 0
    return value.endswith("%") and value[:-1].isdecimal()
