"""Answers to a registry's 401: Basic, or a bearer token fetched from the realm it names, kept while it lives.

Source: RFC 9110 section 11 (challenges), docs of distribution (token authentication, OAuth2 with refresh tokens).
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from zlayer.image.credentials import Credential, Found
from zlayer.image.registry_retry import RETRIED_STATUSES, retry_after
from zlayer.image.registry_transport import Answer, Request
from zlayer.image.settings import RegistryHost, is_loopback
from zlayer.model.errors import Corrupt, Denied, Unavailable

CLIENT_ID = "zlayer"
MAX_TOKEN_ANSWER = 1024 * 1024
DEFAULT_LIFE = 60.0

_CHALLENGE = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9!#$&^_.+-]*)(?:\s+(?=[^\s,])|\s*(?=,|$))")
_PARAM = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; the scheme and the parameters' names in lower case."""

    scheme: str
    params: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of one header, in order; what cannot be read ends the list."""
    challenges, at = [], 0
    while at < len(header) and (scheme := _CHALLENGE.match(header, at)):
        at = scheme.end()
        params: dict[str, str] = {}
        while param := _PARAM.match(header, at):
            quoted = param[2]
            params[param[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else param[3]
            at = param.end()
        challenges.append(Challenge(scheme[1].lower(), params))
    return challenges


@dataclass(slots=True)
class _Token:
    value: str = field(repr=False)
    expires: float


class Authorizer:
    """The Authorization header for one registry. Tokens are kept per scope and shared by all threads."""

    def __init__(
        self,
        domain: str,
        found: Callable[[], Found],
        send: Callable[[Request], Answer],
        *,
        trust: RegistryHost,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`found` looks credentials up, at the first challenge only; `send` follows redirects."""
        self._domain = domain
        self._lookup = found
        self._send = send
        self._trust = trust
        self._clock = clock
        self._lock = threading.Lock()
        self._found: Found | None = None
        self._basic = ""
        self._bearer: Challenge | None = None
        self._tokens: dict[str, _Token] = {}

    def header(self, scope: str) -> str:
        """What to send before being asked; empty while nothing is known. A token near its end is fetched anew.

        Several scopes are separated by blanks.
        """
        with self._lock:
            if self._bearer is None:
                return self._basic
            token = self._tokens.get(scope)
            if token is None or token.expires <= self._clock():
                token = self._tokens[scope] = self._fetch(self._bearer, scope)
            return f"Bearer {token.value}"

    def renew(self, answer: Answer, scope: str, used: str, *, url: str) -> None:
        """Learn from a 401 that `used` met. Errors: `Denied` when there is nothing better to offer."""
        challenges = [c for line in answer.headers("WWW-Authenticate") for c in parse_challenges(line)]
        with self._lock:
            if used and used not in (self._basic, f"Bearer {self._value(scope)}"):
                return  # another thread has renewed meanwhile
            bearer = next((c for c in challenges if c.scheme == "bearer" and c.params.get("realm")), None)
            if bearer is not None:
                self._check_realm(bearer.params["realm"], url)
                self._bearer = bearer
                self._tokens[scope] = self._fetch(bearer, scope)
                return
            credential = self._credential()
            if any(c.scheme == "basic" for c in challenges) and credential and credential.username and not used:
                self._basic = _basic(credential)
                return
            raise self.denied("refused the credentials" if used else "wants a login", 401)

    def denied(self, what: str, status: int) -> Denied:
        """The error for a refusal, naming where credentials came from or were looked for, never what they are."""
        found = self._found
        if found and found.credential:
            hint = f"the credentials came from {found.credential.source}: check them and their rights"
        else:
            tried = ", ".join(found.tried) if found else "settings"
            hint = (
                f"zlayer login {self._domain}, or set username and password_file under"
                f' [registries."{self._domain}"] in config.toml (looked in: {tried})'
            )
        return Denied(f"registry {self._domain} {what} ({status})", hint=hint)

    def look_up(self) -> None:
        """Make sure the sources are known before `denied` names them."""
        with self._lock:
            self._credential()

    def _value(self, scope: str) -> str:
        token = self._tokens.get(scope)
        return token.value if token else ""

    def _credential(self) -> Credential | None:
        if self._found is None:
            self._found = self._lookup()
        return self._found.credential

    def _check_realm(self, realm: str, url: str) -> None:
        """A password must not be sent in the clear because a registry's answer says so."""
        parts = urlsplit(realm)
        plain_allowed = self._trust.insecure or is_loopback(parts.netloc) or url.startswith("http://")
        if parts.scheme not in ("http", "https") or (parts.scheme == "http" and not plain_allowed):
            raise Denied(
                f"registry {self._domain} names the token server {parts.scheme}://{parts.netloc}, which is not HTTPS",
                hint=f'set insecure = true under [registries."{self._domain}"] only if you trust the network',
            )

    def _fetch(self, bearer: Challenge, scope: str) -> _Token:
        credential = self._credential()
        if credential and credential.registry_token:
            return _Token(credential.registry_token, self._clock() + 10 * DEFAULT_LIFE)
        answer = self._send(self._token_request(bearer, scope, credential))
        if answer.status in RETRIED_STATUSES:
            answer.close()
            raise Unavailable(
                f"the token server of registry {self._domain} answered {answer.status}",
                hint="try again later",
                retry_after=retry_after(answer.header("Retry-After")),
            )
        if answer.status in (400, 401, 403):
            answer.close()
            raise self.denied(
                "got no token for this login" if credential else "gives no anonymous token", answer.status
            )
        if answer.status != 200:
            answer.close()
            raise self.denied("has a token server that does not answer as it should", answer.status)
        return self._token(answer.body(MAX_TOKEN_ANSWER))

    def _token_request(self, bearer: Challenge, scope: str, credential: Credential | None) -> Request:
        realm, query = bearer.params["realm"], {"service": bearer.params.get("service", ""), "scope": scope}
        query = {key: value for key, value in query.items() if value}
        scopes = [("scope", one) for one in query.pop("scope", "").split()]
        if credential and credential.identity_token:
            form = {
                "grant_type": "refresh_token", "client_id": CLIENT_ID,
                "refresh_token": credential.identity_token, "scope": scope, **query,
            }  # fmt: skip
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Request("POST", realm, self._trust, headers, urlencode(form).encode())
        headers = {}
        if credential:
            query = {"account": credential.username, **query}
            headers["Authorization"] = _basic(credential)
        joint = "&" if "?" in realm else "?"
        return Request("GET", realm + joint + urlencode([*query.items(), *scopes]), self._trust, headers)

    def _token(self, body: bytes) -> _Token:
        try:
            document = json.loads(body)
            value = document.get("token") or document.get("access_token")
            life = float(document.get("expires_in") or DEFAULT_LIFE)
        except (ValueError, TypeError, AttributeError, RecursionError) as fault:
            raise Corrupt(
                f"the token server of {self._domain} sent no readable token", hint="try again later"
            ) from fault
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise Corrupt(f"the token server of {self._domain} sent no token", hint="try again later")
        return _Token(value, self._clock() + life * 0.9)


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
