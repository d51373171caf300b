"""A registry that this one stands in front of: what is asked for is fetched once, verified, and kept.

A tag is asked for again when it was last looked at longer ago than `fresh`; a registry that cannot be reached leaves
what is kept in use. Blobs are served while they arrive, their end held back until the digest is right.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup

from zlayer.image.blobs import Partial
from zlayer.image.flights import Flights
from zlayer.image.manifest import Descriptor
from zlayer.image.reference import is_digest, parse
from zlayer.image.registry import Registry
from zlayer.image.registry_download import Download
from zlayer.image.registry_referrers import referrers
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Corrupt, Deadline, Invalid, NotFound, Unavailable, ZlayerError
from zlayer.registry.faults import Refusal
from zlayer.registry.manifests import Json
from zlayer.registry.names import checked_name
from zlayer.registry.repositories import Entry
from zlayer.registry.shelf import Shelf

FRESH = 60.0
REST = 10.0
"""Seconds for which an upstream that could not be reached is not asked again where something is kept."""
DOWNLOADS = 8
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rule:
    """`NAME=URL`: repositories whose first word is `first` (empty: all) come from `prefix` at the registry `domain`."""

    first: str
    domain: str
    prefix: str
    insecure: bool

    def path(self, repository: str) -> str:
        """What the repository is called upstream."""
        rest = repository.removeprefix(f"{self.first}/") if self.first else repository
        return f"{self.prefix}/{rest}" if self.prefix else rest

    def covers(self, repository: str) -> bool:
        return not self.first or repository.startswith(f"{self.first}/")


def parse_rule(text: str) -> Rule:
    """`NAME=URL`, or `*=URL` for everything no other rule covers. Raises `Invalid`."""
    first, _, url = text.partition("=")
    try:
        return _rule(first, urlsplit(url if "://" in url else f"https://{url}"))
    except (ZlayerError, Refusal, ValueError):
        raise Invalid(
            f"the rule of {first[:80]!r} is no proxy rule",  # not the whole of it: some put passwords into a URL
            hint="write NAME=https://HOST[:PORT][/PREFIX], or *=URL for all names; logins go into config.toml",
        ) from None


def _rule(first: str, parts: SplitResult) -> Rule:
    prefix = parts.path.strip("/")
    named = first == "*" or "/" not in checked_name(first)
    domain = parse(f"{parts.netloc}/{prefix or 'x'}").domain
    if not named or domain != parts.netloc or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError(first)
    return Rule("" if first == "*" else first, domain, prefix, parts.scheme == "http")


@dataclass(slots=True, eq=False)
class Arrival:
    """A blob on its way in. Once `begun`, `length` is known and `sure` bytes may be sent; `moved` tells of changes."""

    digest: str
    path: Path
    """Where its bytes are until it has `ended`; then they are the blob."""
    length: int = 0
    sure: int = 0
    begun: bool = False
    ended: bool = False
    error: ZlayerError | None = None
    moved: anyio.Event = field(default_factory=anyio.Event)

    def stir(self) -> None:
        self.moved.set()
        self.moved = anyio.Event()


class Upstream:
    """The registry behind one rule. `tasks` outlive any one request: a download goes on when its asker leaves."""

    def __init__(
        self,
        rule: Rule,
        shelf: Shelf,
        settings: RegistrySettings,
        *,
        fresh: float = FRESH,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        known = settings.hosts.get(rule.domain, RegistryHost())
        trust = replace(known, insecure=True) if rule.insecure else known
        self.rule = rule
        self._settings = replace(
            settings, hosts={**settings.hosts, rule.domain: trust}, attempts=min(settings.attempts, 3)
        )
        self._shelf = shelf
        self._fresh = fresh
        self._environ = environ
        self._clock = clock
        self._asked: Flights[Entry] = Flights()
        self._arrivals: dict[tuple[str, str], Arrival] = {}
        self._away_until = 0.0
        self._limit = anyio.CapacityLimiter(DOWNLOADS)
        self._talk = anyio.CapacityLimiter(DOWNLOADS)
        self.stopping = False

    async def manifest(self, name: str, reference: str) -> Entry:
        """The manifest, fetched when it is not kept or its tag has moved. Errors: `NotFound`, and all of a pull."""
        kept = await to_thread.run_sync(self._shelf.find, name, reference)
        if kept is not None and (is_digest(reference) or self._is_fresh(name, reference)):
            return kept
        if kept is not None and self._clock() < self._away_until:
            return kept
        try:
            return await self._asked.share((name, reference), lambda _: self._ask(name, reference, kept), None)
        except (Unavailable, Deadline) as error:
            self._away_until = self._clock() + REST
            if kept is None:
                raise
            log.warning("upstream.away", registry=self.rule.domain, repository=name, error=error.message)
            return kept

    async def blob(self, name: str, digest: str, tasks: TaskGroup) -> Arrival:
        """A blob that is not kept, on its way: all who ask share one download. Errors: as of a pull.

        Returned once its length is known.
        """
        arrival = self._arrivals.get((name, digest))
        if arrival is None:
            blobs = self._shelf.repositories.blobs
            path = blobs.root / "partial" / blobs.path(digest).name
            arrival = self._arrivals[name, digest] = Arrival(digest, path)
            tasks.start_soon(self._fetch, name, arrival)
        while not arrival.begun and not arrival.ended:
            await arrival.moved.wait()
        if arrival.error is not None and not arrival.begun:
            raise arrival.error
        return arrival

    async def referrers(self, name: str, subject: str) -> list[Json] | None:
        """The upstream's list of what refers to `subject`, sorted by digest; None when it cannot be reached."""
        if self._clock() < self._away_until:
            return None
        try:
            return await to_thread.run_sync(self._referrers_now, name, subject, limiter=self._talk)
        except (Unavailable, Deadline) as error:
            self._away_until = self._clock() + REST
            log.warning("upstream.away", registry=self.rule.domain, repository=name, error=error.message)
            return None

    def _referrers_now(self, name: str, subject: str) -> list[Json]:
        with closing(self._client(name)) as client:
            found = sorted(referrers(client, subject), key=lambda one: one.digest)
        return [
            {
                "mediaType": one.media_type,
                "digest": one.digest,
                "size": one.size,
                **({"artifactType": one.type} if one.type else {}),
                **({"annotations": dict(one.annotations)} if one.annotations else {}),
            }
            for one in found
        ]

    def _is_fresh(self, name: str, tag: str) -> bool:
        return 0 <= self._clock() - self._shelf.repositories.checked(name, tag) < self._fresh

    async def _ask(self, name: str, reference: str, kept: Entry | None) -> Entry:
        return await to_thread.run_sync(self._ask_now, name, reference, kept, limiter=self._talk)

    def _ask_now(self, name: str, reference: str, kept: Entry | None) -> Entry:
        with closing(self._client(name)) as client:
            if kept is not None and client.digest(reference) == kept.digest:
                self._shelf.repositories.touch_tag(name, reference)
                return kept
            fetched = client.manifest(reference)
        locator = reference if is_digest(reference) else fetched.digest
        entry = self._shelf.put(name, locator, fetched.body, fetched.media_type, sparse=True).entry
        if not is_digest(reference):
            self._shelf.repositories.tag(name, reference, entry.digest)
        log.info("upstream.manifest", repository=name, reference=reference, digest=entry.digest)
        return entry

    async def _fetch(self, name: str, arrival: Arrival) -> None:
        try:
            await to_thread.run_sync(self._fetch_now, name, arrival, limiter=self._limit)
            log.info("upstream.blob", repository=name, digest=arrival.digest, bytes=arrival.length)
        except ZlayerError as error:
            arrival.error = error
            log.warning("upstream.failed", repository=name, digest=arrival.digest, error=error.message)
        except OSError as error:
            arrival.error = Unavailable(f"upstream {self.rule.domain} failed: {error}", hint="try again later")
            log.warning("upstream.failed", repository=name, digest=arrival.digest, error=str(error))
        finally:
            self._arrivals.pop((name, arrival.digest), None)
            arrival.ended = True
            arrival.stir()

    def _fetch_now(self, name: str, arrival: Arrival) -> None:
        """The upstream is asked even for content that is here: it says whether this repository may have it."""
        repositories, digest = self._shelf.repositories, arrival.digest
        with closing(self._client(name)) as client, repositories.blobs.partial(digest) as into:
            size = client.patience().call(self.rule.domain, partial(self._size, client, digest))
            if not repositories.blobs.has(digest, size):
                anyio.from_thread.run_sync(self._begin, arrival, size)
                self._download(client, arrival, into)
            with repositories.changing():
                if repositories.blobs.has(digest, size):
                    into.discard()
                else:
                    into.commit()
                os.utime(repositories.blobs.path(digest))
                repositories.add_blob(name, digest)
        arrival.length, arrival.sure, arrival.begun = size, size, True

    def _download(self, client: Registry, arrival: Arrival, into: Partial) -> None:
        blob = Descriptor("", arrival.digest, arrival.length)
        download = Download(client, blob, into, partial(self._progress, arrival))
        try:
            download.drain()
        except Corrupt:
            into.discard()
            raise
        finally:
            download.close()

    def _size(self, client: Registry, digest: str) -> int:
        answer = client.ask("HEAD", f"blobs/{digest}", {})
        answer.close()
        length = answer.header("Content-Length")
        if not length.isdigit():
            raise Corrupt(f"registry {self.rule.domain} does not say how long {digest} is", hint="ask its operator")
        return int(length)

    def _begin(self, arrival: Arrival, size: int) -> None:
        arrival.length, arrival.begun = size, True
        arrival.stir()

    def _progress(self, arrival: Arrival, position: int) -> None:
        """Told of each block; the askers hear of it once there is enough, and never of the blob's end."""
        if self.stopping:
            raise Unavailable("the registry is stopping", hint="try again")
        sure = min(position, arrival.length - TAIL)
        if sure - arrival.sure >= TAIL:
            arrival.sure = sure
            anyio.from_thread.run_sync(arrival.stir)

    def _client(self, name: str) -> Registry:
        try:
            reference = parse(f"{self.rule.domain}/{self.rule.path(name)}")
        except Invalid:
            raise NotFound(f"{name} is no name the upstream registry can have", hint="check the name") from None
        return Registry(reference, self._settings, self._environ)


TAIL = 256 * 1024
"""Bytes of a blob that are held back until its digest was found right."""


def choose(upstreams: list[Upstream], repository: str) -> Upstream | None:
    """The upstream a repository comes from: the rule with its first word, else the one for all names."""
    return next((up for up in sorted(upstreams, key=lambda up: not up.rule.first) if up.rule.covers(repository)), None)
