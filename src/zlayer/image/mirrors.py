"""A registry with mirrors before it: each is asked in turn, and the registry itself when none can answer.

A mirror is a registry of its own: what it is sent is its own login, from its own settings, never the registry's.
What it serves is verified by digest; only for what a tag stands for it is believed, as any mirror must be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from zlayer.image.reference import Reference
from zlayer.image.registry import Fetched, Registry
from zlayer.image.registry_retry import FAULTS, Pause, translate
from zlayer.image.registry_retry import wait as pause_for
from zlayer.image.registry_transport import Answer
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import NotFound, ZlayerError

ATTEMPTS = 2
"""Tries at a mirror: there is another place to ask."""
T = TypeVar("T")
Tell = Callable[[str, str], None]
"""Hears of a mirror: its name, and what it did."""


def registry_of(
    reference: Reference,
    settings: RegistrySettings,
    environ: Mapping[str, str],
    tell: Tell,
    *,
    pause: Pause = pause_for,
) -> Registry:
    """The registry to pull from, behind its mirrors if it has any."""
    names = settings.host(reference.domain).mirrors
    if not names:
        return Registry(reference, settings, environ, pause=pause)
    patient = replace(settings, attempts=min(settings.attempts, ATTEMPTS))
    mirrors = {}
    for name in names:
        domain, _, prefix = name.partition("/")
        path = f"{prefix}/{reference.path}" if prefix else reference.path
        mirrors[name] = Registry(replace(reference, domain=domain, path=path), patient, environ, pause=pause)
    return Mirrored(reference, settings, environ, mirrors, tell, pause=pause)


class Mirrored(Registry):
    """A mirror that fails is not asked again in this pull, unless it only does not have something."""

    def __init__(
        self,
        reference: Reference,
        settings: RegistrySettings,
        environ: Mapping[str, str],
        mirrors: Mapping[str, Registry],
        tell: Tell,
        *,
        pause: Pause = pause_for,
    ) -> None:
        super().__init__(reference, settings, environ, pause=pause)
        self._mirrors, self._tell = mirrors, tell
        self._itself = Registry(reference, settings, environ, pause=pause)
        self._lock = threading.Lock()
        self._failed: set[str] = set()
        self._opened: set[tuple[str, str]] = set()
        """Mirrors that have begun to send a blob: one that must be asked again has failed at it."""
        self._suspects: set[str] = set()
        """Blobs with bytes of a mirror."""

    def close(self) -> None:
        for mirror in self._mirrors.values():
            mirror.close()
        self._itself.close()
        super().close()

    def places(self) -> Iterator[tuple[str, Registry]]:
        yield from self._willing()
        yield "", self._itself

    def manifest(self, locator: str) -> Fetched:
        return self._first(lambda one: one.manifest(locator), super().manifest, locator)

    def digest(self, locator: str) -> str:
        return self._first(lambda one: one.digest(locator), super().digest, locator)

    def document(self, digest: str, limit: int) -> bytes:
        return self._first(
            lambda one: one.document(digest, limit), lambda d: super(Mirrored, self).document(d, limit), digest
        )

    def blob(self, digest: str, offset: int = 0) -> Answer:
        for name, mirror in self._willing():
            with self._lock:
                again = (digest, name) in self._opened
                self._opened.add((digest, name))
            if again:
                self._fail(name, f"broke off or altered {digest}")
                continue
            try:
                answer = mirror.blob(digest, offset)
            except FAULTS as fault:
                self._fail(name, str(translate(fault, name, self.settings)))
            except ZlayerError as error:
                self._missed(name, error)
            else:
                with self._lock:
                    self._suspects.add(digest)
                self._tell(name, "answers")
                return answer
        return super().blob(digest, offset)

    def distrust(self, digest: str) -> bool:
        """Whether wrong content may be a mirror's: then it is worth asking again."""
        with self._lock:
            suspect = digest in self._suspects
            self._suspects.discard(digest)
        return suspect

    def _first(self, ask: Callable[[Registry], T], ours: Callable[[str], T], what: str) -> T:
        for name, mirror in self._willing():
            try:
                found = ask(mirror)
            except ZlayerError as error:
                self._missed(name, error)
            else:
                self._tell(name, "answers")
                return found
        return ours(what)

    def _willing(self) -> Iterator[tuple[str, Registry]]:
        for name, mirror in self._mirrors.items():
            if name not in self._failed:
                yield name, mirror

    def _missed(self, name: str, error: ZlayerError) -> None:
        if isinstance(error, NotFound):
            self._tell(name, "does not have all: asking further")
        else:
            self._fail(name, str(error))

    def _fail(self, name: str, why: str) -> None:
        with self._lock:
            known = name in self._failed
            self._failed.add(name)
        if not known:
            self._tell(name, f"failed, asking further: {why}")
