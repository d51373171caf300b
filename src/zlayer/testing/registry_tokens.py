"""A token server for a registry (distribution "Token Authentication"), and certificates for loopback.

Needs `cryptography`, which only development installs: it is imported where it is used.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import secrets
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

from zlayer.testing.loopback import Loopback

SERVICE, ISSUER = "test-registry", "test-issuer"
TOKEN_LIFE = 300
"""Seconds."""


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and localhost, and its key: PEM files in `directory`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test registry")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_file = directory / "cert.pem", directory / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return pem, key_file


class TokenServer(Loopback):
    """Gives anyone a token to pull, and one to push to who knows the password. `asked` counts the tokens given."""

    def __init__(self, directory: Path, username: str, password: str) -> None:
        self._pem, key_file = certificate(directory)
        self._key = key_file.read_text()
        body = "".join(self._pem.read_text().split("-----")[2].split())
        self._x5c = [body]
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._basic, self._username = f"Basic {pair}", username
        self.asked = 0
        super().__init__(self._handler())

    def registry_settings(self) -> dict[str, str]:
        """The `auth.token` table of docker-registry's configuration."""
        return {
            "realm": f"http://{self.address}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(self._pem),
        }

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:  # Any: a JSON document
        """Status and document for one request."""
        if authorization and authorization != self._basic:
            return 401, {"details": "incorrect username or password"}
        query = parse_qs(urlsplit(path).query)
        wanted = [scope.rsplit(":", 1) for scope in query.get("scope", [])]
        access = []
        for name, actions in wanted:
            kind, _, repository = name.partition(":")
            allowed = [a for a in actions.split(",") if authorization or a == "pull"]
            access.append({"type": kind, "name": repository, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": self._username if authorization else "", "aud": SERVICE, "exp": now + TOKEN_LIFE,
            "nbf": now - 60, "iat": now, "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        token = jwt.encode(claims, self._key, algorithm="RS256", headers={"x5c": self._x5c})
        self.asked += 1
        return 200, {"token": token, "access_token": token, "expires_in": TOKEN_LIFE}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Exchange(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name http.server calls
                status, document = server.answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's own name
                """Quiet."""

        return Exchange
