from __future__ import annotations

import time
from email.utils import formatdate

import pytest
import requests
from acme import errors, messages

from zlayer.model.errors import Failed, Invalid, NotFound, Unavailable, ZlayerError
from zlayer.proxy.acme.refusals import UNTOLD_LIMIT, Reply, plain, read_retry_after, refusal, translated

PREFIX = "urn:ietf:params:acme:error:"


def told(code: str, status: int = 403, retry_after: float | None = None, detail: str = "because") -> ZlayerError:
    error = messages.Error.from_json({"type": PREFIX + code, "detail": detail})
    return refusal(error, Reply("https://ca.test/dir", status, retry_after))


def test_each_refusal_is_treated_as_it_asks_for() -> None:
    assert isinstance(told("unauthorized"), Failed)
    assert isinstance(told("accountDoesNotExist", 400), NotFound)
    assert isinstance(told("malformed", 404), NotFound)
    assert isinstance(told("serverInternal", 500), Unavailable)
    assert isinstance(told("externalAccountRequired"), Invalid)
    limited = told("rateLimited", 429, 60)
    assert (type(limited), limited.retry_after) == (Unavailable, 60)
    assert told("rateLimited", 429).retry_after == UNTOLD_LIMIT
    assert "because" in told("caa").message


def test_a_hostile_detail_is_one_short_line() -> None:
    message = told("unauthorized", detail="\x1b[2J\nroot:" + "x" * 10_000).message
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) <= 500


def test_retry_after_in_both_forms() -> None:
    assert read_retry_after({"Retry-After": "12"}) == 12
    later = read_retry_after({"Retry-After": formatdate(time.time() + 100, usegmt=True)})
    assert later is not None
    assert 90 < later <= 100
    assert read_retry_after({"Retry-After": "soon"}) is None
    assert read_retry_after({}) is None


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (requests.exceptions.SSLError("bad"), Unavailable),
        (requests.exceptions.ConnectionError("refused"), Unavailable),
        (requests.exceptions.Timeout("slow"), Unavailable),
        (errors.ClientError("html"), Failed),
        (errors.Error("nonce"), Failed),
        (KeyError("status"), Failed),
        (ValueError("json"), Failed),
        (TypeError("list"), Failed),
        (OSError("no such ca_file"), Invalid),
    ],
)
def test_everything_else_is_one_of_ours(raised: Exception, kind: type[ZlayerError]) -> None:
    with pytest.raises(kind), translated(Reply("https://ca.test/dir")):
        raise raised


def test_plain() -> None:
    assert plain(" a\r\nb\x00 ") == "a b"
