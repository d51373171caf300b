from __future__ import annotations

import http.client
import socket
import ssl

import pytest

from zlayer.image.registry_retry import Patience, retry_after, translate
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Deadline, NotFound, Unavailable, ZlayerError

SETTINGS = RegistrySettings(attempts=4, backoff=1.0, backoff_limit=3.0)


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


class Flaky:
    """Raises what it is given, in order, then answers."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "answer"


def run(flaky: Flaky) -> tuple[str, list[float]]:
    pauses: list[float] = []
    return Patience(SETTINGS, pauses.append).call("r.example", flaky), pauses


def test_pauses_grow_with_jitter_up_to_a_limit() -> None:
    answer, pauses = run(Flaky(ConnectionResetError(), TimeoutError(), http.client.IncompleteRead(b"")))
    assert answer == "answer"
    for pause, step in zip(pauses, (1.0, 2.0, 3.0), strict=True):
        assert step / 2 <= pause <= step


def test_attempts_end() -> None:
    flaky = Flaky(*[ConnectionResetError()] * 9)
    with pytest.raises(Unavailable):
        run(flaky)
    assert flaky.calls == SETTINGS.attempts


def test_progress_starts_the_count_again() -> None:
    patience = Patience(SETTINGS, lambda _: None)
    for _ in range(20):
        patience.spend(Unavailable("x"))
        patience.progress()


@pytest.mark.parametrize("error", [NotFound("x"), untrusted(), socket.gaierror(socket.EAI_NONAME, "x")])
def test_what_does_not_heal_is_not_tried_again(error: Exception) -> None:
    flaky = Flaky(error, error)
    with pytest.raises(ZlayerError):
        run(flaky)
    assert flaky.calls == 1


def test_the_registrys_wish_is_heard_within_reason() -> None:
    _, pauses = run(Flaky(Unavailable("x", retry_after=17.0)))
    assert pauses == [17.0]
    with pytest.raises(Unavailable) as caught:
        run(Flaky(Unavailable("x", retry_after=600.0)))
    assert caught.value.retry_after == 600.0


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (TimeoutError(), Deadline, "stalled"),
        (untrusted(), Unavailable, "not trusted: self-signed"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), Unavailable, "TLS"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Unavailable, "has no address"),
        (ConnectionRefusedError(111, "Connection refused"), Unavailable, "Connection refused"),
        (http.client.RemoteDisconnected("gone"), Unavailable, "gone"),
    ],
)
def test_faults_in_words(fault: OSError, kind: type[ZlayerError], text: str) -> None:
    error = translate(fault, "r.example", SETTINGS)
    assert isinstance(error, kind)
    assert text in error.message
    assert "r.example" in error.message
    assert error.hint


def test_retry_after() -> None:
    assert retry_after("") is None
    assert retry_after("soon") is None
    assert retry_after("12") == 12.0
    assert retry_after("Thu, 01 Jan 1970 00:02:00 GMT", now=60.0) == 60.0
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT", now=60.0) == 0.0
