from __future__ import annotations

from zlayer.cli.render import progress
from zlayer.client.results import Deployment, ProgressEvent, PullProgress
from zlayer.testing.api_samples import deployment, service

LAYER = "sha256:0123456789abcdef"


def at(phase: str, done: int = 0, total: int = 0, digest: str = LAYER) -> PullProgress:
    return PullProgress(digest=digest, phase=phase, done=done, total=total)


def test_bars() -> None:
    assert progress.bar(0, 10, 4) == "[----]"
    assert progress.bar(5, 10, 4) == "[##--]"
    assert progress.bar(20, 10, 4) == "[####]"
    assert progress.bar(5, 0, 4) == "[----]"


def test_a_blob_in_each_phase() -> None:
    assert progress.blob(at("waiting")) == "0123456789ab  waiting"
    assert progress.blob(at("downloading", 512, 1024)) == f"0123456789ab  [{'#' * 12}{'-' * 12}] 512 B / 1.0 KiB"
    assert progress.blob(at("done")) == "0123456789ab  done"
    assert progress.blob(at("exists")) == "0123456789ab  already there"


def test_a_log_hears_of_changes_of_phase_only() -> None:
    blobs = progress.Blobs()
    told = [blobs.news(at("downloading", n, 9)) for n in range(3)] + [blobs.news(at("done"))]
    assert told == ["0123456789ab downloading", None, None, "0123456789ab done"]


def test_unfinished_blobs_are_shown_first_when_there_is_no_room() -> None:
    blobs = progress.Blobs()
    for n in range(5):
        blobs.add(at("done", digest=f"sha256:done{n}"))
    blobs.add(at("extracting", digest="sha256:last"))
    assert blobs.lines(80, 2) == ["last  extracting", "done0  done"]
    assert all(len(line) < 10 for line in blobs.lines(10))


def test_a_deployment_with_the_latest_of_each_service_that_is_not_there_yet() -> None:
    doc = deployment("shop", "deploying", service("web", ready=1), service("db"))
    latest = {"web": ProgressEvent(message="pulling", service="web"), "db": ProgressEvent(message="old news")}
    assert progress.deployment(Deployment.of(doc), latest, colour=False, width=80) == [
        "shop  deploying",
        "  web  1/2 ready  [######------]  web: pulling",
        "  db   2/2 ready  [############]",
    ]


def test_events_as_lines() -> None:
    assert progress.event(ProgressEvent(kind="k", message="m", service="web")) == "web: m"
    assert progress.event(ProgressEvent(kind="instance.ready", service="web")) == "web: ready"
    by_replica = ProgressEvent(kind="instance.ready", service="web", instance="shop-web-2-x7k2")
    assert progress.event(by_replica) == "web-2: ready"
    assert progress.event(ProgressEvent(kind="k")) == "k"
