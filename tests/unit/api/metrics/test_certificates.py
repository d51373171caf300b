"""What is told of certificates (zlayer.api.metrics.certificates)."""

from __future__ import annotations

from typing import Any

from zlayer.api.metrics.certificates import certificates
from zlayer.api.metrics.exposition import exposition
from zlayer.model.certificate import StoredCertificate
from zlayer.model.endpoint import Endpoint
from zlayer.model.units import Timestamp
from zlayer.store.view import Picture
from zlayer.testing.builders import deployment, service
from zlayer.testing.prometheus import parse

NOW = 1_800_000_000.0


def stored(name: str, **fields: Any) -> StoredCertificate:
    given = {"chain": "CHAIN", "key": "SEALED", "not_after": Timestamp(NOW + 100), "tried_at": Timestamp(NOW - 5)}
    return StoredCertificate(name=name, source="acme", **{**given, **fields})


def test_ends_failures_and_nothing_of_what_nobody_uses() -> None:
    hosts = ("good.org", "failing.org", "new.org", "refused.org")
    endpoints = tuple(Endpoint(name=h[:3], protocol="https", port=443, target_port=80, host=h) for h in hosts)
    documents = (
        stored("good.org"),
        stored("failing.org", last_error="token=hunter2 refused", failures=3),
        stored("refused.org", chain="", last_error="no", failures=1),
        stored("old.org"),
    )
    shop = deployment("shop", web=service(endpoints=endpoints))
    picture = Picture(1, {"shop": shop}, {}, {}, {}, certificates={one.name: one for one in documents})
    body = exposition(certificates(picture, NOW)).decode()
    found = parse(body)
    expiry = found["zlayer_certificate_expiry_timestamp_seconds"]
    assert expiry.labels("certificate") == {"good.org", "failing.org"}
    assert expiry.value(certificate="good.org") == NOW + 100
    failures = found["zlayer_certificate_failures"]
    assert [failures.value(certificate=host) for host in hosts] == [0, 3, 0, 1]
    last = found["zlayer_certificate_last_failure_timestamp_seconds"]
    assert last.labels("certificate") == {"failing.org", "refused.org"}
    assert last.value(certificate="failing.org") == NOW - 5
    assert not {"hunter2", "SEALED", "CHAIN", "old.org"} & set(body.replace('"', " ").split())
