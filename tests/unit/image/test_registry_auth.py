from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from zlayer.image.credentials import Credential, Found
from zlayer.image.registry_auth import Authorizer, Challenge, parse_challenges
from zlayer.image.registry_transport import Request
from zlayer.image.settings import RegistryHost
from zlayer.model.errors import Corrupt, Denied, Unavailable

REALM = 'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull"'
URL = "https://registry.example/v2/a/manifests/1"
SCOPE = "repository:a:pull"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("Negotiate", [Challenge("negotiate", {})]),
        ('Bearer realm="r",service="a b",scope="x:y:pull,push"',
         [Challenge("bearer", {"realm": "r", "service": "a b", "scope": "x:y:pull,push"})]),
        ('bearer Realm = "r" , service=plain', [Challenge("bearer", {"realm": "r", "service": "plain"})]),
        ('Basic realm="a\\"b"', [Challenge("basic", {"realm": 'a"b'})]),
        ('Basic realm="x", Bearer realm="r",service="s"',
         [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "r", "service": "s"})]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


class Reply:
    """As much of an answer as the authoriser looks at."""

    def __init__(self, status: int = 200, document: object = None, challenge: str = "") -> None:
        self.status = status
        self._body = json.dumps(document).encode() if document is not None else b"no json"
        self._challenge = challenge

    def header(self, name: str) -> str:
        return {"Retry-After": "7"}.get(name, "")

    def headers(self, name: str) -> list[str]:
        return [self._challenge] if name == "WWW-Authenticate" else []

    def body(self, limit: int) -> bytes:
        return self._body[:limit]

    def close(self) -> None:
        pass


class Server:
    """A token server: `reply` answers, `requests` remembers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.reply: Callable[[], Reply] = lambda: Reply(document={"token": f"t{len(self.requests)}", "expires_in": 100})

    def send(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.reply()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def authorizer(
    server: Server, credential: Credential | None = None, trust: RegistryHost | None = None, clock: Clock | None = None
) -> Authorizer:
    return Authorizer(
        "registry.example",
        lambda: Found(credential, ("settings", "/home/config.json")),
        server.send,  # type: ignore[arg-type]  # a stand-in with what is used
        trust=trust or RegistryHost(),
        clock=clock or Clock(),
    )


def renew(auth: Authorizer, challenge: str, used: str = "", url: str = URL) -> None:
    auth.renew(Reply(401, challenge=challenge), SCOPE, used, url=url)  # type: ignore[arg-type]  # as above


LOGIN = Credential("settings", "user", "hush")
BASIC = "Basic " + base64.b64encode(b"user:hush").decode()


def test_nothing_is_sent_before_it_is_asked_for() -> None:
    assert authorizer(Server(), LOGIN).header(SCOPE) == ""


def test_basic() -> None:
    auth = authorizer(Server(), LOGIN)
    renew(auth, 'Basic realm="x"')
    assert auth.header(SCOPE) == BASIC
    with pytest.raises(Denied, match="refused the credentials"):
        renew(auth, 'Basic realm="x"', used=BASIC)


def test_basic_without_a_login_names_where_it_looked() -> None:
    with pytest.raises(Denied) as caught:
        renew(authorizer(Server()), 'Basic realm="x"')
    assert "settings, /home/config.json" in caught.value.hint


def test_an_anonymous_token_is_fetched_once_and_kept_until_it_ends() -> None:
    server, clock = Server(), Clock()
    auth = authorizer(server, clock=clock)
    renew(auth, REALM)
    assert auth.header(SCOPE) == auth.header(SCOPE) == "Bearer t1"
    asked = urlsplit(server.requests[0].url)
    assert (asked.scheme, asked.netloc, asked.path) == ("https", "auth.example", "/token")
    assert parse_qs(asked.query) == {"service": ["registry.example"], "scope": [SCOPE]}
    assert "Authorization" not in server.requests[0].headers
    clock.now = 95
    assert auth.header(SCOPE) == "Bearer t2", "a tenth before its end it is renewed"
    assert auth.header("repository:b:pull") == "Bearer t3", "another scope, another token"


def test_a_token_with_a_login() -> None:
    server = Server()
    renew(authorizer(server, LOGIN), REALM)
    assert server.requests[0].headers["Authorization"] == BASIC
    assert "hush" not in server.requests[0].url


def test_an_identity_token_is_traded_by_post() -> None:
    server = Server()
    server.reply = lambda: Reply(document={"access_token": "a"})
    auth = authorizer(server, Credential("helper", identity_token="refresh"))
    renew(auth, REALM)
    request = server.requests[0]
    assert isinstance(request.body, bytes)
    form = parse_qs(request.body.decode())
    assert (request.method, form["grant_type"], form["refresh_token"]) == ("POST", ["refresh_token"], ["refresh"])
    assert auth.header(SCOPE) == "Bearer a"


def test_a_ready_registry_token_is_sent_as_it_is() -> None:
    server = Server()
    auth = authorizer(server, Credential("file", registry_token="ready"))
    renew(auth, REALM)
    assert auth.header(SCOPE) == "Bearer ready"
    assert server.requests == []


def test_another_threads_renewal_is_used() -> None:
    server = Server()
    auth = authorizer(server)
    renew(auth, REALM)
    renew(auth, REALM, used="Bearer stale")
    assert len(server.requests) == 1
    renew(auth, REALM, used="Bearer t1")
    assert auth.header(SCOPE) == "Bearer t2"


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_no_token(status: int) -> None:
    server = Server()
    server.reply = lambda: Reply(status)
    with pytest.raises(Denied) as caught:
        renew(authorizer(server, LOGIN), REALM)
    assert "came from settings" in caught.value.hint
    assert "hush" not in caught.value.message + caught.value.hint


def test_a_token_server_in_trouble_may_heal() -> None:
    server = Server()
    server.reply = lambda: Reply(503)
    with pytest.raises(Unavailable) as caught:
        renew(authorizer(server, LOGIN), REALM)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("document", [None, {}, [], {"token": 5}, {"token": "a\nb"}, {"token": "t", "expires_in": "x"}])
def test_answers_without_a_token(document: object) -> None:
    server = Server()
    server.reply = lambda: Reply(document=document)
    with pytest.raises(Corrupt):
        renew(authorizer(server), REALM)


@pytest.mark.parametrize(
    ("realm", "trust", "url", "allowed"),
    [
        ("http://auth.example/token", RegistryHost(), URL, False),
        ("ftp://auth.example/token", RegistryHost(insecure=True), URL, False),
        ("http://auth.example/token", RegistryHost(insecure=True), URL, True),
        ("http://127.0.0.1:5/token", RegistryHost(), URL, True),
        ("http://auth.example/token", RegistryHost(), "http://registry.example/v2/", True),
    ],
)
def test_a_password_is_not_sent_in_the_clear(realm: str, trust: RegistryHost, url: str, allowed: bool) -> None:
    server = Server()
    auth = authorizer(server, LOGIN, trust)
    if allowed:
        renew(auth, f'Bearer realm="{realm}"', url=url)
    else:
        with pytest.raises(Denied, match="not HTTPS"):
            renew(auth, f'Bearer realm="{realm}"', url=url)
    assert bool(server.requests) is allowed
