"""The daemon and its machine: images on disk, room for more, and what the process itself takes."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass

from zlayer.api.metrics.exposition import Family, counter, gauge, one
from zlayer.api.process import Taken
from zlayer.api.services import Facts
from zlayer.image.contract import Totals
from zlayer.image.s3.standing import Standing


@dataclass(frozen=True, slots=True)
class Room:
    """Of the file system with the data directory, in bytes. `free` is what root may still write."""

    free: int
    size: int


def images(found: Totals) -> Iterator[Family]:
    """A size for each image is `zlayer system df`'s: there may be thousands, and they share most of it."""
    yield gauge("zlayer_images", "Local images by name.", one(found.images))
    yield gauge(
        "zlayer_image_storage_bytes",
        "Bytes on disk of unpacked layers, and of blobs: packed layers and documents.",
        [({"kind": "layers"}, found.layers), ({"kind": "blobs"}, found.blobs)],
    )
    yield counter(
        "zlayer_image_reclaimed_bytes_total",
        "Bytes of images given back since the daemon started, by itself or by zlayer system prune.",
        one(found.reclaimed),
    )


def s3(found: Standing) -> Iterator[Family]:
    yield gauge(
        "zlayer_s3_failing", "1 while the bucket of the S3 tier does not answer.", one(int(found.state == "failing"))
    )
    yield gauge("zlayer_s3_waiting_blobs", "Blobs that wait to go into the bucket.", one(found.waiting))
    yield gauge("zlayer_s3_waiting_bytes", "Bytes of these blobs.", one(found.waiting_bytes))


def disk(room: Room) -> Iterator[Family]:
    yield gauge("zlayer_data_free_bytes", "Bytes free on the file system of the data directory.", one(room.free))
    yield gauge("zlayer_data_size_bytes", "Bytes of the file system of the data directory.", one(room.size))


def daemon(facts: Facts, revision: int, taken: Taken) -> Iterator[Family]:
    """`process_` names are those of every Prometheus client library: dashboards know them."""
    build = {"version": facts.version, "python": platform.python_version(), "runtime": facts.runtime}
    yield gauge("zlayer_build_info", "1, with what this daemon is.", [(build, 1)])
    yield gauge("zlayer_store_revision", "How often the store was written to, as seen by the API.", one(revision))
    yield gauge(
        "process_start_time_seconds",
        "Unix time at which the daemon started; uptime counts from then.",
        one(facts.started_at),
    )
    yield counter("process_cpu_seconds_total", "Processor time of the daemon, user and system.", one(taken.cpu_seconds))
    yield gauge("process_resident_memory_bytes", "Memory of the daemon.", one(taken.resident))
    yield gauge("process_open_fds", "Open file descriptors of the daemon.", one(taken.descriptors))
    yield gauge("process_max_fds", "File descriptors it may open.", one(taken.most_descriptors))
