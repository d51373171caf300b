"""Every route times every role, and every way to come without a right."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import jwt
import pytest

from zlayer.api import access
from zlayer.api.app import core_app, routes_of
from zlayer.api.authorise import ADMIN, OPEN, READ, ROLES, TABLE, WRITE, Claims, permit
from zlayer.daemon import tokens
from zlayer.model.errors import Denied
from zlayer.model.units import Seconds
from zlayer.testing.asgi import AsgiClient

from .conftest import StackFactory

pytestmark = pytest.mark.anyio
GUARDED = sorted(key for key, roles in TABLE.items() if roles)


def target_of(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "absent", path)


async def status_of(client: AsgiClient, method: str, path: str) -> int:
    """What a caller gets; a WebSocket that opens counts as 101."""
    if method == "WEBSOCKET":
        async with client.channel(target_of(path)) as channel:
            message = await channel.from_app.receive()
            return int(message["status"]) if message["type"] == "websocket.http.response.start" else 101
    async with client.open(method, target_of(path), {} if method in {"POST", "PUT"} else None) as exchange:
        return exchange.status


async def test_every_route_and_role(stack: StackFactory) -> None:
    async with stack() as s:
        for (method, path), allowed in sorted(TABLE.items()):
            for role in ROLES:
                status = await status_of(s.door(role), method, path)
                assert (status == 403) == bool(allowed and role not in allowed), (method, path, role, status)
                assert status != 401, (method, path, role)


async def test_no_token_opens_nothing_but_health(stack: StackFactory) -> None:
    async with stack() as s:
        for method, path in GUARDED:
            for token in (None, "nonsense", ""):
                assert await status_of(s.door(token), method, path) == 401, (method, path, token)
        for method, path in (key for key, roles in TABLE.items() if roles is OPEN):
            assert await status_of(s.door(None), method, path) == 200
        assert await status_of(s.door(None), "GET", "/no/such/path") == 401  # a stranger learns no paths


def bad_tokens(key: bytes) -> dict[str, str]:
    make = partial(tokens.create_token, key, subject="me", roles=["admin"])
    good = {"iss": "zlayer", "sub": "me", "iat": 1, "exp": 4e9, "roles": ["admin"]}
    sign = partial(jwt.encode, key=key, algorithm="HS256")
    return {
        "expired": sign({**good, "exp": 2}),
        "alg none": jwt.encode(good, key="", algorithm="none"),
        "another algorithm": jwt.encode(good, key=key * 2, algorithm="HS512"),
        "another key": tokens.create_token(b"x" * 32, subject="me", roles=["admin"], lifetime=Seconds(60)),
        "another issuer": sign({**good, "iss": "someone"}),
        "no expiry": sign({k: v for k, v in good.items() if k != "exp"}),
        "roles not a list": sign({**good, "roles": "admin"}),
        "cut": make(lifetime=Seconds(60))[:-4],
    }


async def test_real_tokens_that_are_not_good_are_refused_everywhere(
    stack: StackFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "BURST", 100_000)  # one client asks for everything at once
    key = tokens.ensure_key(tmp_path / "jwt.key")
    async with stack(verify=partial(tokens.decode_token, key)) as s:
        for name, token in bad_tokens(key).items():
            for method, path in GUARDED:
                assert await status_of(s.door(token), method, path) == 401, (name, method, path)
        good = tokens.create_token(key, subject="me", roles=["reader"], lifetime=Seconds(60))
        assert await status_of(s.door(good), "GET", "/api/v1/status") == 200


async def test_unknown_roles_give_no_rights(stack: StackFactory) -> None:
    async with stack(verify=lambda token: Claims(token, frozenset({"superuser"}))) as s:
        assert await status_of(s.door("nobody"), "GET", "/api/v1/status") == 403


async def test_the_socket_is_trusted(stack: StackFactory) -> None:
    async with stack() as s:
        for method, path in GUARDED:
            assert await status_of(s.client, method, path) not in {401, 403}, (method, path)


def test_the_table_says_what_it_means() -> None:
    assert all(roles in (OPEN, READ, WRITE, ADMIN) for roles in TABLE.values())
    assert all("admin" in roles for roles in TABLE.values() if roles)
    changing = [key for key, roles in TABLE.items() if key[0] in {"PUT", "DELETE", "WEBSOCKET"} and "reader" in roles]
    assert changing == []
    with pytest.raises(Denied):
        permit("GET", "/api/v1/not-in-the-table", {"admin"})


async def test_a_route_missing_from_the_table_stops_the_daemon_from_starting(
    stack: StackFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(TABLE, ("POST", "/api/v1/run"))
    with pytest.raises((AssertionError, ExceptionGroup), match=r"differ|unhandled"):
        async with stack():
            await anyio.lowlevel.checkpoint()


async def test_routes_are_listed_with_their_methods(stack: StackFactory) -> None:
    async with stack() as s:
        assert set(routes_of(core_app(s.services))) == set(TABLE)


def test_the_reference_page_names_every_route() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference-api.md").read_text()
    absent = [path for _, path in TABLE if not re.search(rf"{re.escape(path)}(?![\w/{{:])", page)]
    assert absent == []
