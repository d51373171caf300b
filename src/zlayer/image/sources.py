"""Where an image may come from: what a service's `source_policy` leaves of the node's settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zlayer.image.settings import RegistrySettings
from zlayer.model.container import SourcePolicy
from zlayer.model.errors import NotFound, Unavailable
from zlayer.model.units import Bytes

Allow = Callable[[], RegistrySettings]
"""`allowed`, with all it is asked: only once there is something to fetch."""


def allowed(settings: RegistrySettings, source: SourcePolicy, rate: Bytes | None, name: str) -> RegistrySettings:
    """The settings to pull `name` with. `Unavailable`: it is to come from S3 first, and this node has no bucket."""
    if source == "s3_first" and settings.s3 is None:
        raise Unavailable(
            f"image {name} is to come from S3 first (source_policy: s3_first), and this node has no bucket",
            hint="name one below [image.s3] in config.toml or by ZLAYER_S3_BUCKET, or use local_first",
        )
    settings = replace(settings, s3=None) if source == "remote_only" else settings
    return settings if rate is None else replace(settings, limit_rate=int(rate))


def absent(name: str) -> NotFound:
    """Of an image that is not here and is not to be fetched."""
    return NotFound(
        f"image {name} is not on this node, and is not to be fetched (pull_policy: never, source_policy: local_only)",
        hint=f"bring it here: zlayer pull {name}, or zlayer import; or let it be fetched: pull_policy: if_not_present",
    )
