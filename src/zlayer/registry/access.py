"""Who asks, and whether they may: HTTP Basic against `users`, anonymous pull, or anonymous everything on loopback."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import anyio
import structlog
from anyio import to_thread

from zlayer.model.errors import ZlayerError
from zlayer.registry.faults import Refusal, broken
from zlayer.registry.grants import ALL, EVERYWHERE, Grant, allows
from zlayer.registry.names import Target
from zlayer.registry.users import Users

CHALLENGE = {"WWW-Authenticate": 'Basic realm="zlayer registry", charset="UTF-8"'}
log = structlog.get_logger()
GUESSES = 2
"""Passwords tried at once: each costs 16 MiB and a core for some 50 ms."""


@dataclass(frozen=True, slots=True)
class Asker:
    """`name` is `-` for who gave none. What may be done with what is asked here, for every route, and nowhere else."""

    name: str
    grants: tuple[Grant, ...] = ()

    @property
    def known(self) -> bool:
        return self.name != NOBODY.name

    def may(self, right: str, repository: str) -> bool:
        return allows(self.grants, right, repository)

    def may_ask(self, right: str, target: Target) -> bool:
        """The catalog is for who may pull anything: it lists what they may pull."""
        if target.kind == "catalog":
            return any(right in grant.rights for grant in self.grants)
        return self.may(right, target.name)


NOBODY = Asker("-")
ANYBODY = Asker("-", (Grant(EVERYWHERE, ALL),))
PULL = Grant(EVERYWHERE, frozenset({"pull"}))


@dataclass(slots=True)
class Access:
    """The rules of one registry. `anonymous`: everybody may do all; `anonymous_pull`: everybody may pull."""

    users: Users
    anonymous: bool = False
    anonymous_pull: bool = False
    _guesses: anyio.CapacityLimiter | None = field(default=None, init=False)

    async def admit(self, method: str, target: Target, headers: Mapping[str, str]) -> Asker:
        """Who asks, if they may. Raises `Refusal` 401 for strangers and wrong passwords, 403 for what is no right."""
        if self.anonymous:
            _no_browser(method, headers)
            return ANYBODY
        asker = await self._asker(headers.get("authorization", ""))
        if self.anonymous_pull:
            asker = replace(asker, grants=(*asker.grants, PULL))
        if target.kind == "ping":
            if not asker.known:
                raise _stranger("log in to this registry")  # also where pulls need none: clients learn from it how
            return asker
        right = right_for(method, target)
        if asker.may_ask(right, target):
            return asker
        if not asker.known:
            raise _stranger("log in to this registry")
        where = f"in {target.name}" if target.name else "here"
        why = f"{asker.name} has no right to {right} {where}"
        raise Refusal(403, "DENIED", why, {"right": right}, asker=asker.name)

    async def _asker(self, header: str) -> Asker:
        scheme, _, encoded = header.partition(" ")
        if not header:
            return NOBODY
        if scheme.lower() != "basic":
            raise _stranger("this registry takes a user name and a password (Basic)")
        try:
            name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise _stranger("the Authorization header cannot be read") from None
        if not name and not password:
            return NOBODY  # how some clients say that they have no login
        if self._guesses is None:
            self._guesses = anyio.CapacityLimiter(GUESSES)
        try:
            user = await to_thread.run_sync(self.users.check, name, password, limiter=self._guesses)
        except ZlayerError as error:
            log.error("registry.users", error=error.message, hint=error.hint)
            raise broken() from error
        if user is None:
            raise _stranger("the user name or the password is wrong")
        return Asker(user.name, user.grants)


def right_for(method: str, target: Target) -> str:
    """The right a request needs. Looking after one's own upload, or giving it up, is part of pushing."""
    if target.kind in ("begin", "upload"):
        return "push"
    if method in ("GET", "HEAD"):
        return "pull"
    return "delete" if method == "DELETE" else "push"


def _no_browser(method: str, headers: Mapping[str, str]) -> None:
    """A web page must not use a registry that asks nobody who they are: browsers send Origin, other clients do not."""
    host = headers.get("host", "").rpartition("@")[2]
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    local = name in ("localhost", "::1", "") or name.startswith("127.")
    if not local or (method not in ("GET", "HEAD") and "origin" in headers):
        raise Refusal(403, "DENIED", "an anonymous registry answers programs on its own machine only")


def _stranger(message: str) -> Refusal:
    return Refusal(401, "UNAUTHORIZED", message, headers=CHALLENGE)
