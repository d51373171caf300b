"""AWS Signature Version 4 of one S3 request, in its Authorization header. Pure.

Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3 API Reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

EMPTY = hashlib.sha256(b"").hexdigest()
ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-._~"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks. `token` comes with keys that expire."""

    access: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for. `path` as it is, not encoded yet; S3 encodes it once and leaves dots and slashes alone."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """Path and query as they are sent, which are also those that are signed."""
        path = quote(self.path, safe="/" + _UNRESERVED)
        return f"{path}?{self.canonical_query}" if self.query else path

    @property
    def canonical_query(self) -> str:
        pairs = ((quote(k, safe=_UNRESERVED), quote(v, safe=_UNRESERVED)) for k, v in self.query.items())
        return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def signed(  # what a signature is over
    target: Target, headers: Mapping[str, str], payload: str, keys: Keys, region: str, now: datetime
) -> dict[str, str]:
    """`headers` with those that sign the request. `payload` is the hex SHA-256 of the body; `now` is in UTC."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "Host": target.host, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    if keys.token:
        sent["x-amz-security-token"] = keys.token
    lowered = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    names = ";".join(sorted(lowered))
    lines = "".join(f"{name}:{lowered[name]}\n" for name in sorted(lowered))
    path = quote(target.path, safe="/" + _UNRESERVED)
    request = "\n".join((target.method, path, target.canonical_query, lines, names, payload))
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = _mac(_signing_key(keys.secret, stamp[:8], region), text).hex()
    authorization = f"{ALGORITHM} Credential={keys.access}/{scope},SignedHeaders={names},Signature={signature}"
    return {**sent, "Authorization": authorization}


def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
