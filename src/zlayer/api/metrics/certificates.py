"""Certificates in use: when they end, and whether their successors come."""

from __future__ import annotations

from collections.abc import Iterator

from zlayer.api.metrics.exposition import Family, gauge
from zlayer.plan.standing import standing
from zlayer.store.view import Picture


def certificates(picture: Picture, now: float) -> Iterator[Family]:
    """One that nobody uses is no worry; it has no sample."""
    known = standing(picture.deployments.values(), picture.certificates, picture.orders, now)
    used = [({"certificate": one.name}, one) for one in known if one.state != "unused"]
    documents = [(labels, one.document) for labels, one in used if one.document is not None]
    yield gauge(
        "zlayer_certificate_expiry_timestamp_seconds",
        "Unix time at which the certificate that is served ends; no sample while there is none to serve.",
        [(labels, document.not_after) for labels, document in documents if document.usable],
    )
    yield gauge(
        "zlayer_certificate_failures",
        "Tries in a row that failed to get it, or its successor; 0 once one was good.",
        [(labels, one.document.failures if one.document is not None else 0) for labels, one in used],
    )
    yield gauge(
        "zlayer_certificate_last_failure_timestamp_seconds",
        "Unix time of the last try; a sample only where that failed.",
        [(labels, document.tried_at) for labels, document in documents if document.last_error],
    )
