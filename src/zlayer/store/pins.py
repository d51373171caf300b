"""Which images must stay: what instances run, and what kept revisions would run again."""

from __future__ import annotations

from zlayer.model import keys
from zlayer.model.errors import ZlayerError
from zlayer.model.instance import Revision
from zlayer.store.contract import Store
from zlayer.store.documents import decoder
from zlayer.store.view import Picture

_read = decoder(Revision)


def running_images(picture: Picture) -> set[str]:
    """Manifest digests of what instances run, or have been made of."""
    return {
        seen.status.image_digest
        for group in picture.instances.values()
        for seen in group.values()
        if seen.status is not None and seen.status.image_digest and not seen.status.gone
    }


async def pinned_images(store: Store, picture: Picture) -> frozenset[str]:
    """Manifest and index digests. A revision that cannot be read pins nothing: it cannot be gone back to either."""
    found = running_images(picture)
    for deployment in picture.deployments.values():
        found |= set(deployment.rollout.images.values())
        found |= {service.container.pin for service in deployment.services.values() if service.container.pin}
    for item in (await store.list(keys.REVISIONS)).items:
        try:
            revision = _read(item.value)
        except ZlayerError:
            continue
        found |= set(revision.note.images.values())
        found |= {service.container.pin for service in revision.services.values() if service.container.pin}
    return frozenset(found)
