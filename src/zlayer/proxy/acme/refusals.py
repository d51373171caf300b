"""What a CA or the way to it says no with, as errors of our tree (RFC 8555, 6.7)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from acme import errors, messages
from josepy.errors import Error as JoseError

from zlayer.model.errors import Failed, Invalid, NotFound, Unavailable, ZlayerError

UNTOLD_LIMIT = 3600.0
"""Seconds to keep away after a rate limit that does not say for how long."""
HOLD_LIMIT = 8 * 86_400.0
"""Seconds of a Retry-After that are believed: limits of CAs last a week at most."""
LONGEST = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(slots=True)
class Reply:
    """The last answer of one call, for what the library's errors leave out: status and Retry-After."""

    directory: str
    status: int = 0
    retry_after: float | None = None

    def note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """A response hook of requests. Any: what else it passes."""
        self.status = response.status_code
        self.retry_after = read_retry_after(response.headers)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3); None where it is absent or nonsense."""
    value = headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return min(float(value), HOLD_LIMIT)
    try:
        told = parsedate_to_datetime(value).timestamp() - time.time() if value else None
    except (ValueError, OverflowError):
        return None
    return None if told is None else min(max(0.0, told), HOLD_LIMIT)


@contextmanager
def translated(reply: Reply) -> Iterator[None]:
    """Errors of the library, of the way, and of answers that cannot be read, as ours."""
    try:
        yield
    except messages.Error as error:
        raise refusal(error, reply) from None
    except requests.exceptions.SSLError as error:
        raise Unavailable(
            f"{reply.directory} shows a certificate that is not trusted here: {plain(error)}",
            hint="for a private CA set ca_file in [acme] to the PEM file it is signed by",
        ) from None
    except requests.exceptions.RequestException as error:
        raise Unavailable(f"{reply.directory} cannot be reached: {plain(error)}", hint="is the URL right?") from None
    except errors.ClientError as error:
        kind = Unavailable if reply.status >= 500 or reply.status == 429 else Failed
        what = f"{reply.directory} answered {reply.status} without a reason"
        raise kind(what, hint=plain(error), retry_after=reply.retry_after) from None
    except (errors.Error, JoseError, ValueError, LookupError, TypeError) as error:
        raise Failed(
            f"the answer of {reply.directory} cannot be read: {plain(error)}", hint="is it an ACME directory?"
        ) from None
    except OSError as error:  # ca_file cannot be read, says requests
        raise Invalid(f"{reply.directory}: {plain(error)}", hint="see ca_file in [acme] of config.toml") from None


def refusal(error: messages.Error, reply: Reply) -> ZlayerError:
    """The problem document of a CA as the error whose treatment it asks for."""
    code = error.code or ""
    told = plain(error.detail or error.title or error.typ or "no reason given")
    for sub in error.subproblems or ():
        told += f"; {sub.identifier.value if sub.identifier else ''}: {plain(sub.detail or '')}"
    words = f"{reply.directory} refuses ({code or reply.status}): {told}"[:LONGEST]
    if code == "rateLimited" or reply.status == 429:
        pause = reply.retry_after if reply.retry_after is not None else UNTOLD_LIMIT
        return Unavailable(words, hint="the CA limits how often; it is tried again then", retry_after=pause)
    if code == "accountDoesNotExist" or reply.status == 404:
        return NotFound(words, hint="the CA has forgotten it; it is made anew")
    if code == "externalAccountRequired":
        return Invalid(words, hint="set eab_kid and eab_key_file in [acme] of config.toml")
    if code in ("serverInternal", "badNonce") or reply.status >= 500:
        return Unavailable(words, hint="it is tried again", retry_after=reply.retry_after)
    return Failed(words, hint=_HINTS.get(code, ""))


_HINTS = {
    "caa": "a CAA record of the domain forbids this CA",
    "connection": "the CA must reach port 80 of this name from the Internet",
    "dns": "the name must resolve to this node for the whole Internet",
    "rejectedIdentifier": "this CA gives no certificates for that name; tls mode self_signed does",
    "unauthorized": "what answers on port 80 of this name is not this node's proxy",
    "invalidContact": "see email in [acme] of config.toml",
    "userActionRequired": "the CA wants its new terms agreed to",
}


def plain(what: object) -> str:
    """One line for a person: no control characters, not endless."""
    return _CONTROL.sub(" ", str(what)).strip()[:LONGEST]
