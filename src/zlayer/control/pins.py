"""Which image a deploy means: the digest behind a tag where the policy asks, and no replacement without need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from zlayer.model.container import ContainerSpec
from zlayer.model.errors import ZlayerError
from zlayer.plan.seen import Seen

Resolve = Callable[[ContainerSpec], Awaitable[str]]
"""Asks the registry for the digest behind a container's image reference."""
Local = Callable[[ContainerSpec], Awaitable[str | None]]
"""The platform's manifest digest of the image a pinned container names, None when it is not on this node."""
ASKING = ("always", "newer")


@dataclass(frozen=True, slots=True)
class Pins:
    """`of` pins a container to the digest it is to run, or leaves it as it was when that is what runs already."""

    resolve: Resolve | None = None
    local: Local | None = None

    def for_one_deploy(self) -> Pins:
        """The same, asking only once for an image that several services share."""
        asked: dict[tuple[str, str | None], str] = {}
        resolve = self.resolve
        if resolve is None:
            return self

        async def once(container: ContainerSpec) -> str:
            key = (container.image, container.platform)
            if key not in asked:
                asked[key] = await resolve(container)
            return asked[key]

        return Pins(once, self.local)

    async def of(
        self,
        container: ContainerSpec,
        before: ContainerSpec | None,
        seen: Callable[[], Awaitable[Sequence[Seen]]],
    ) -> ContainerSpec:
        """`before` is the service's container up to now, `seen` its instances.

        A policy that does not ask keeps the digest an earlier deploy found: what is there is what is wanted. Errors of
        the registry are raised under `always`; `newer` then stays with what it has.
        """
        old = before if before is not None and _same_image(before, container) else None
        if self.resolve is None or container.pull_policy not in ASKING:
            return container if old is None else container.model_copy(update={"pin": old.pin})
        try:
            pinned = container.model_copy(update={"pin": await self.resolve(container)})
        except ZlayerError:
            if container.pull_policy == "always":
                raise
            return container if old is None else container.model_copy(update={"pin": old.pin})
        if old is not None and old.pin is None and await self._runs(pinned, await seen()):
            return pinned.model_copy(update={"pin": None, "pull_policy": old.pull_policy})
        return pinned

    async def _runs(self, pinned: ContainerSpec, seen: Sequence[Seen]) -> bool:
        """Whether every live replica was made from that very image when nobody had asked for its digest yet."""
        digest = await self.local(pinned) if self.local is not None else None
        live = [one for one in seen if one.live]
        return bool(digest and live) and all(one.status and one.status.image_digest == digest for one in live)


def _same_image(one: ContainerSpec, other: ContainerSpec) -> bool:
    return (one.image, one.platform) == (other.image, other.platform)
