"""Certificates as HAProxy takes them: one PEM text of chain and key, known good before it sees it.

One that it refuses would stop it from starting at all, so each is tried with the system's OpenSSL first.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Mapping

from zlayer.model.errors import Invalid
from zlayer.model.routes import Certificate

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----")


def pem(certificate: Certificate) -> str:
    """Chain and key without anything between their blocks. `Invalid`: unreadable, or the key is another's."""
    chain, key = _BLOCK.findall(certificate.chain), _BLOCK.findall(certificate.key)
    text = "\n".join(_block(label, body) for label, body in (*chain, *key))
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, text.encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise Invalid(
            f"certificate {certificate.name}: {error}", hint="it needs PEM texts: the chain, leaf first, and its key"
        ) from None
    finally:
        os.close(descriptor)
    return text


def _no_password() -> str:
    """An encrypted key is no use to a proxy; without this, OpenSSL would ask the terminal."""
    raise ValueError("the key is encrypted")


def _block(label: str, body: str) -> str:
    return "\n".join((f"-----BEGIN {label}-----", *body.split(), f"-----END {label}-----"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Wallet:
    """The usable ones among a table's certificates. Each is tried once, as long as it stays what it is."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Certificate, str | Invalid]] = {}

    def sort(self, given: Mapping[str, Certificate]) -> tuple[dict[str, str], list[Invalid]]:
        """PEM texts by certificate name, and why the others are no good."""
        self._known = {name: self._tried(name, certificate) for name, certificate in given.items()}
        good = {name: text for name, (_, text) in self._known.items() if isinstance(text, str)}
        return good, [text for _, text in self._known.values() if isinstance(text, Invalid)]

    def _tried(self, name: str, certificate: Certificate) -> tuple[Certificate, str | Invalid]:
        known = self._known.get(name)
        if known is not None and known[0] == certificate:
            return known
        try:
            return certificate, pem(certificate)
        except Invalid as error:
            return certificate, error
