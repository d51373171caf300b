"""How what is wanted and what is there is read back: the documents of `ps`, waiting for a change, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from zlayer.model import keys
from zlayer.model.certificate import StoredCertificate
from zlayer.model.errors import Compacted, Invalid, NotFound
from zlayer.model.instance import ONE_OFF, Deployment, Event, InstanceStatus, Service
from zlayer.plan.kept import Kept
from zlayer.plan.seen import Seen
from zlayer.plan.standing import WORRIES, Standing, standing
from zlayer.plan.summary import ServiceSummary, Summary, summarise
from zlayer.store.contract import Store
from zlayer.store.documents import decoder
from zlayer.store.view import Picture, View

_read_event = decoder(Event)

Until = Literal["created", "running", "ended", "gone"]
Json = dict[str, Any]  # Any: JSON documents, whose shapes are in the API reference
Troubles = Callable[[str], Iterable[tuple[str, str]]]
"""Of a deployment: what of its traffic is not in force, each with the service that lacks it (empty: all of it)."""


def when(timestamp: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if not timestamp:
        return None
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Views:
    """Documents are built when asked for, from an open `View`; `troubles` are this node's."""

    def __init__(self, store: Store, view: View, troubles: Troubles = lambda _: ()) -> None:
        self._store = store
        self._view = view
        self._troubles = troubles
        self._known: dict[str, Known] = {}

    @property
    def revision(self) -> int:
        return self._view.revision

    def picture(self) -> Picture:
        return self._view.picture()

    def deployments(self) -> list[Json]:
        picture = self.picture()
        return [
            deployment_document(d, picture.of(d.name), self._troubles(d.name), self._known_of(d.name))
            for _, d in sorted(picture.deployments.items())
        ]

    def deployment(self, name: str) -> Json:
        picture = self.picture()
        return deployment_document(self._deployment(name), picture.of(name), self._troubles(name), self._known_of(name))

    def _known_of(self, name: str) -> Known:
        for gone in self._known.keys() - self.picture().deployments.keys():
            del self._known[gone]
        return self._known.setdefault(name, Known())

    def troubles(self, name: str, service: str) -> list[str]:
        """What of a service's traffic is not in force."""
        return [reason for whose, reason in self._troubles(name) if whose in ("", service)]

    def spec(self, name: str) -> str:
        """The YAML text as last sent."""
        return self._deployment(name).source

    def service(self, name: str, service: str) -> Json:
        document = self.deployment(name)
        for one in document["services"]:
            if one["name"] == service:
                return dict(one)
        known = ", ".join(s["name"] for s in document["services"]) or "none"
        raise NotFound(f"deployment {name} has no service {service}", hint=f"its services: {known}")

    def check_service(self, name: str, service: str) -> None:
        """`NotFound` unless the deployment has the service, or `_run` a one-off of that name."""
        if name == ONE_OFF:
            self.of_service(name, service)
        else:
            self.service(name, service)

    def instances(self, deployment: str | None = None, service: str | None = None) -> list[Json]:
        picture = self.picture()
        if deployment is not None and deployment not in picture.instances:
            self._deployment(deployment)
        seen = picture.of(deployment) if deployment is not None else list(picture.all().values())
        if service is not None:
            seen = [one for one in seen if one.instance.service == service]
        return [self._document(one) for one in sorted(seen, key=_order)]

    def instance(self, instance_id: str) -> Json:
        return self._document(self.seen(instance_id))

    def _document(self, seen: Seen) -> Json:
        deployment = self.picture().deployments.get(seen.instance.deployment)
        service = deployment.services.get(seen.instance.service) if deployment is not None else None
        return instance_document(seen, service)

    def seen(self, instance_id: str) -> Seen:
        seen = self.picture().find(instance_id)
        if seen is None:
            raise NotFound(f"no instance {instance_id}", hint="see: zlayer ps -c")
        return seen

    def resolve(self, deployment: str | None, service: str, slot: int | None = None) -> str:
        """The instance meant by a service name: its lowest live replica, or the given one, running ones first.

        Without a deployment the service must be unique among deployments. An instance id is accepted as a service.
        """
        found = self.of_service(deployment, service, slot)
        best = min(found, key=lambda one: (not one.running, not one.live, one.instance.slot, -one.instance.created_at))
        return best.id

    def of_service(self, deployment: str | None, service: str, slot: int | None = None) -> list[Seen]:
        """All instances of a service, the ended ones that are kept too, oldest first. `NotFound` when there is none."""
        picture = self.picture()
        direct = picture.find(service)
        if direct is not None and deployment in (None, direct.instance.deployment):
            return [direct]
        if deployment is not None and deployment not in picture.instances:
            self._deployment(deployment)
        everyone = picture.of(deployment) if deployment is not None else list(picture.all().values())
        found = [one for one in everyone if one.instance.service == service]
        if slot is not None:
            found = [one for one in found if one.instance.slot == slot]
        homes = sorted({one.instance.deployment for one in found})
        if len(homes) > 1:
            raise Invalid(
                f"service {service} is in several deployments: {', '.join(homes)}", hint="say which: --deployment NAME"
            )
        if not found:
            replica = f" replica {slot}" if slot is not None else ""
            known = sorted({one.instance.service for one in everyone})
            raise NotFound(
                f"no instance of service {service}{replica}" + (f" in deployment {deployment}" if deployment else ""),
                hint=f"services with instances: {', '.join(known)}" if known else "nothing runs: zlayer up",
            )
        return sorted(found, key=lambda one: (one.instance.created_at, one.instance.slot))

    def certificates(self, now: float) -> list[Json]:
        """What `zlayer cert ls` shows."""
        return [certificate_document(one) for one in self._certificates(now)]

    def certificate(self, name: str, now: float) -> Json:
        """One of them, with its `chain` in PEM. `NotFound` where it is neither stored nor wanted."""
        for one in self._certificates(now):
            if one.name == name:
                return certificate_document(one) | {"chain": one.document.chain if one.document is not None else ""}
        raise NotFound(f"no certificate {name}", hint="see: zlayer cert ls")

    def certificates_summary(self, now: float) -> Json:
        """How many are in use, which of them ends first, and those that somebody should look at."""
        used = [one for one in self._certificates(now) if one.state != "unused"]
        ends = [(one.document.not_after, one.name) for one in used if one.document is not None and one.document.usable]
        at, name = min(ends, default=(None, None))
        shown = [certificate_document(one) for one in used if one.state in WORRIES]
        trouble = [{key: one[key] for key in ("name", "state", "not_after", "error")} for one in shown]
        return {"total": len(used), "first_to_end": name, "not_after": when(at), "trouble": trouble}

    def _certificates(self, now: float) -> tuple[Standing, ...]:
        picture = self.picture()
        return standing(picture.deployments.values(), picture.certificates, picture.orders, now)

    async def changed(self, after: int) -> int:
        """Waits until the view is past revision `after`; its revision then."""
        return await self._view.moved(after)

    async def reached(self, revision: int) -> None:
        await self._view.reached(revision)

    async def wait_instance(self, instance_id: str, until: Until) -> InstanceStatus | None:
        """The status once it is at least that far. `gone` returns None; so does any wait for one that is forgotten."""
        while True:
            revision = self._view.revision
            seen = self.picture().find(instance_id)
            if seen is None and await self._store.get(keys.instance(instance_id)) is None:
                return None
            if seen is not None and _is(seen, until):
                return seen.status if until != "gone" else None
            await self._view.moved(revision)

    def calm(self, name: str) -> bool:
        """No instance of the deployment is on its way, up or down."""
        return all(one.ready or one.ended for one in self.picture().of(name))

    async def events(self, since: float | None = None, *, follow: bool = False) -> AsyncIterator[Event]:
        """Kept events, oldest first, then new ones for as long as the caller listens."""
        async for events in self.events_at_once(since, follow=follow):
            for event in events:
                yield event

    async def events_at_once(self, since: float | None, *, follow: bool) -> AsyncIterator[Sequence[Event]]:
        """The same, those that come together in one piece; it may be empty."""
        listing = await self._store.list(keys.EVENTS)
        first = f"{keys.EVENTS}{int((since or 0) * 1e6):020d}"  # events are named by their time
        yield [_read_event(item.value) for item in listing.items if item.key >= first]
        after = listing.revision
        while follow:
            try:
                async for batch in self._store.watch(keys.EVENTS, after):
                    after = batch.revision
                    changes = sorted(batch.changes, key=lambda c: c.key)
                    yield [_read_event(change.item.value) for change in changes if change.item is not None]
            except Compacted:
                after = (await self._store.list(keys.EVENTS)).revision

    def _deployment(self, name: str) -> Deployment:
        found = self.picture().deployments.get(name)
        if found is None:
            raise NotFound(f"no deployment {name}", hint="see: zlayer ps")
        return found


def _is(seen: Seen, until: Until) -> bool:
    match until:
        case "created":
            return seen.status is not None and (seen.status.started_at is not None or seen.ended)
        case "running":
            return seen.running or seen.ended
        case "ended":
            return seen.ended
        case "gone":
            return seen.status is not None and seen.status.gone


def _order(seen: Seen) -> tuple[str, str, int, float]:
    one = seen.instance
    return (one.deployment, one.service, one.slot, one.created_at)


def instance_document(seen: Seen, service: Service | None) -> Json:
    """One entry of `ps -c`. `service` is what its deployment has now, None for a one-off or one that is gone."""
    instance, status = seen.instance, seen.status
    return {
        "deployment": instance.deployment,
        "service": instance.service,
        "replica": instance.slot,
        "id": instance.id,
        "node": instance.node,
        "state": seen.state.public,
        "health": status.health if status else "none",
        "image": instance.spec.image,
        "ip": status.address if status else instance.address,
        "ports": [f"{e.target_port}/{e.transport}" for e in service.endpoints] if service is not None else [],
        "pid": status.pid if status else None,
        "restarts": instance.attempt,
        "created_at": when(instance.created_at),
        "started_at": when(status.started_at) if status else None,
        "exit_code": status.exit_code if status else None,
        "reason": _reason(seen),
    }


def _reason(seen: Seen) -> str:
    if seen.status is None:
        return "" if seen.instance.node else seen.instance.unplaced or "waits for a node"
    if seen.status.oom:
        return "out of memory" + (f": {seen.status.reason}" if seen.status.reason else "")
    return seen.status.reason


_ENDPOINT = {"name", "protocol", "port", "target_port", "public", "host", "path"}


def _endpoints(service: Service) -> list[Json]:
    return [endpoint.model_dump(include=_ENDPOINT) for endpoint in service.endpoints]


@dataclass(slots=True)
class Known:
    """What earlier looks at a deployment have found: of two hundred services mostly one has changed."""

    summaries: Kept[ServiceSummary] = field(default_factory=Kept)
    endpoints: Kept[list[Json]] = field(default_factory=Kept)


def deployment_document(
    deployment: Deployment, seen: list[Seen], troubles: Iterable[tuple[str, str]] = (), known: Known | None = None
) -> Json:
    """One entry of `ps`. Do not change what is in it."""
    known = known or Known()
    summary: Summary = summarise(deployment, seen, known.summaries)
    known.endpoints.only(deployment.services)
    services = []
    for one in summary.services:
        service: Service = deployment.services[one.name]
        services.append(
            {
                "name": one.name,
                "image": one.image,
                "desired": one.desired,
                "running": one.running,
                "ready": one.ready,
                "settled": one.settled,
                "note": one.note,
                "endpoints": known.endpoints.get(one.name, (service,), partial(_endpoints, service)),
            }
        )
    return {
        "deployment": deployment.name,
        "name": deployment.name,
        "status": summary.status,
        "message": summary.message,
        "culprit": summary.culprit,
        "revision": deployment.revision,
        "service_count": len(deployment.services),
        "created_at": when(deployment.created_at),
        "updated_at": when(deployment.updated_at),
        "trouble": [{"service": service, "reason": reason} for service, reason in troubles],
        "services": services,
    }


def certificate_document(one: Standing) -> Json:
    """One entry of `cert ls`. Private keys never leave the store."""
    found = one.document or StoredCertificate(name=one.name, source="self_signed")
    known = one.document is not None
    return {
        "name": one.name,
        "state": one.state,
        "source": found.source if known else None,
        "names": list(found.names),
        "users": list(one.users),
        "issuer": found.issuer,
        "authority": found.authority,
        "serial": found.serial,
        "not_before": when(found.not_before),
        "not_after": when(found.not_after),
        "issued_at": when(found.issued_at),
        "renew_at": when(found.renew_at) if found.usable else None,
        "ordering": one.ordering,
        "asked": found.asked_at > found.tried_at,
        "error": found.last_error,
        "failures": found.failures,
        "tried_at": when(found.tried_at),
        "next_try": when(_next_try(found)),
        "note": found.note,
        "advice": found.advice,
        "unused_since": when(found.unused_since),
    }


def _next_try(found: StoredCertificate) -> float | None:
    """Of one whose last try failed."""
    return max(found.next_try, found.held_until or 0.0) if found.next_try is not None else None
