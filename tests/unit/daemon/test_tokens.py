from __future__ import annotations

import base64
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from zlayer.daemon.tokens import create_token, decode_token, ensure_key, load_key
from zlayer.model.errors import Corrupt, Denied, Invalid, NotFound
from zlayer.model.units import Seconds


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    with pytest.raises(NotFound, match=r"jwt\.key"):
        load_key(path)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: ensure_key(path), range(16)))
    assert keys == {load_key(path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["jwt.key"]


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    ensure_key(path)
    path.chmod(0o640)
    with pytest.raises(Denied) as caught:
        ensure_key(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "ab" * 16])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jwt.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(Corrupt):
        load_key(path)


def test_a_token_says_who_and_what(tmp_path: Path) -> None:
    key = ensure_key(tmp_path / "jwt.key")
    token = create_token(key, subject="ci", roles=["operator", "reader"], lifetime=Seconds(60))
    claims = decode_token(key, token)
    assert (claims.subject, sorted(claims.roles)) == ("ci", ["operator", "reader"])
    assert claims.expires is not None
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_every_fault_of_a_wish_for_a_token_is_told() -> None:
    with pytest.raises(Invalid) as caught:
        create_token(b"x" * 32, subject="", roles=["king"], lifetime=Seconds(0))
    assert {problem.path for problem in caught.value.problems} == {"roles", "subject", "lifetime"}


def test_a_token_that_was_changed_is_refused_and_not_repeated() -> None:
    key = b"x" * 32
    head, _, signature = create_token(key, subject="ci", roles=["reader"], lifetime=Seconds(60)).split(".")
    forged = base64.urlsafe_b64encode(json.dumps({"iss": "zlayer", "sub": "ci", "roles": ["admin"]}).encode())
    token = ".".join((head, forged.decode().rstrip("="), signature))
    with pytest.raises(Denied) as caught:
        decode_token(key, token)
    assert token not in str(caught.value)


def test_unknown_roles_in_a_signed_token_are_dropped() -> None:
    token = jwt.encode(
        {"iss": "zlayer", "sub": "x", "iat": 1, "exp": 4e9, "roles": ["reader", "king"]}, b"x" * 32, "HS256"
    )
    assert decode_token(b"x" * 32, token).roles == {"reader"}
