from __future__ import annotations

import base64
import ssl
from pathlib import Path

import jwt
import pytest

pytest.importorskip("cryptography", reason="certificates for tests are made with cryptography")

from zlayer.testing.registry_tokens import ISSUER, SERVICE, TokenServer, certificate

BASIC = "Basic " + base64.b64encode(b"user:pass").decode()
ASKED = f"/token?service={SERVICE}&scope=repository:team/app:pull,push"


@pytest.fixture
def server(tmp_path: Path) -> TokenServer:
    return TokenServer(tmp_path, "user", "pass")


@pytest.mark.parametrize(("authorization", "actions"), [("", ["pull"]), (BASIC, ["pull", "push"])])
def test_who_may_what(server: TokenServer, authorization: str, actions: list[str]) -> None:
    status, document = server.answer(ASKED, authorization)
    claims = jwt.decode(document["token"], options={"verify_signature": False})
    assert status == 200
    assert (claims["iss"], claims["aud"]) == (ISSUER, SERVICE)
    assert claims["access"] == [{"type": "repository", "name": "team/app", "actions": actions}]
    assert server.asked == 1


def test_a_wrong_password_gets_nothing(server: TokenServer) -> None:
    status, document = server.answer(ASKED, "Basic d3Jvbmc=")
    assert (status, "token" in document, server.asked) == (401, False, 0)


def test_the_certificate_and_its_key_belong_together(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(pem, key)
    (loaded,) = ssl.create_default_context(cafile=str(pem)).get_ca_certs()[-1:]
    assert loaded["issuer"] == loaded["subject"]
