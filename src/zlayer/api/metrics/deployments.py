"""Deployments, their services and instances: wanted, there and ready. Of the whole store, not of one node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from zlayer.api.metrics.exposition import Family, Sample, counter, gauge, one
from zlayer.model.instance import Deployment, State
from zlayer.plan.seen import Seen, by_slot, grouped
from zlayer.plan.summary import ServiceSummary, Summary, summarise
from zlayer.store.view import Picture

STATES = tuple(dict.fromkeys(state.public for state in State))


def deployments(picture: Picture) -> Iterator[Family]:
    """How each deployment and service stands, in the words and figures of `zlayer ps`."""
    known = [(one, summarise(one, picture.of(one.name))) for _, one in sorted(picture.deployments.items())]
    yield gauge("zlayer_deployments", "Deployments.", one(len(known)))
    yield gauge(
        "zlayer_deployment_status",
        "1 for the status of each deployment, as zlayer ps names it; other statuses have no sample.",
        [({"deployment": wish.name, "status": summary.status}, 1) for wish, summary in known],
    )
    yield gauge(
        "zlayer_deployment_revision",
        "The revision that is wanted.",
        [({"deployment": wish.name}, wish.revision) for wish, _ in known],
    )
    yield gauge(
        "zlayer_deployment_update_in_progress",
        "1 from a change of containers until it is found good or failed, 0 else.",
        [({"deployment": wish.name}, _updating(wish)) for wish, _ in known],
    )
    yield from _services(known)
    yield _restarts(picture)


def _updating(wish: Deployment) -> int:
    return int(wish.desired == "running" and wish.rollout.state == "updating")


def _services(known: Iterable[tuple[Deployment, Summary]]) -> Iterator[Family]:
    rows: list[tuple[dict[str, str], ServiceSummary]] = [
        ({"deployment": wish.name, "service": service.name}, service)
        for wish, summary in known
        for service in summary.services
    ]
    yield gauge(
        "zlayer_service_replicas_desired",
        "Replicas that are wanted; 0 of a stopped service.",
        [(labels, service.desired) for labels, service in rows],
    )
    yield gauge(
        "zlayer_service_replicas_running",
        "Instances that run, those that are being replaced too.",
        [(labels, service.running) for labels, service in rows],
    )
    yield gauge(
        "zlayer_service_replicas_ready",
        "Replicas that serve: wanted, ready, and not held back on trial.",
        [(labels, service.ready) for labels, service in rows],
    )


def _restarts(picture: Picture) -> Family:
    """By replica: a sum over replicas would fall by some when one is replaced, which reads as a reset to that sum."""
    samples: list[Sample] = []
    for name in sorted(picture.deployments):
        for service, members in sorted(grouped(picture.of(name)).items()):
            for slot, group in sorted(by_slot(members).items()):
                labels = {"deployment": name, "service": service, "replica": str(slot)}
                samples.append((labels, _attempts(group)))
    return counter(
        "zlayer_replica_restarts_total",
        "Instances that came before in this replica's place because one ended; 0 again once it is replaced.",
        samples,
    )


def _attempts(group: list[Seen]) -> int:
    """Of those that are wanted: while a replacement is on trial the count is that of the one that serves."""
    return max(one.instance.attempt for one in ([one for one in group if one.live] or group))


def instances(picture: Picture) -> Iterator[Family]:
    """One-offs of `zlayer run` too."""
    found = Counter(one.state.public for group in picture.instances.values() for one in group.values())
    yield gauge(
        "zlayer_instances",
        "Instances by state, as zlayer ps -c names it; ended ones for as long as they are kept.",
        [({"state": state}, found[state]) for state in STATES],
    )
