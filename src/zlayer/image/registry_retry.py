"""When a fault is worth another try, how long to wait before it, and what it is called when it is final."""

from __future__ import annotations

import email.utils
import http.client
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Deadline, Unavailable, ZlayerError

FAULTS = (OSError, http.client.HTTPException)
"""What the transport raises; `ssl.SSLError` and `TimeoutError` are OSErrors."""
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0
"""A registry that asks for more patience than this (seconds) gets it from the caller: the error says how long."""

Pause = Callable[[float], object]
T = TypeVar("T")


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


class Patience:
    """Counts tries without progress for one piece of work; pauses between them, exponentially and with jitter."""

    def __init__(self, settings: RegistrySettings, pause: Pause = wait) -> None:
        self._settings = settings
        self._pause = pause
        self._failures = 0

    def progress(self) -> None:
        """New bytes arrived: the count starts again."""
        self._failures = 0

    def spend(self, error: ZlayerError) -> None:
        """Wait before the next try, or raise `error` when there is none left."""
        self._failures += 1
        if self._failures >= self._settings.attempts or (error.retry_after or 0) > LONGEST_WAIT:
            raise error
        step = min(self._settings.backoff * 2 ** (self._failures - 1), self._settings.backoff_limit)
        self._pause(max(error.retry_after or 0.0, step * (0.5 + random.random() / 2)))

    def call(self, domain: str, operation: Callable[[], T]) -> T:
        """`operation`'s result; transport faults and `Unavailable` are tried again, every other error is final."""
        while True:
            try:
                return operation()
            except FAULTS as fault:
                self.judge(fault, domain)
            except Unavailable as error:
                self.spend(error)

    def judge(self, fault: OSError | http.client.HTTPException, domain: str) -> None:
        """Raise a transport fault that will not heal by itself; spend patience on the others."""
        error = translate(fault, domain, self._settings)
        if is_final(fault):
            raise error from fault
        self.spend(error)


def is_final(fault: OSError | http.client.HTTPException) -> bool:
    """Distrust and a name that does not exist stay so however often one asks."""
    if isinstance(fault, ssl.SSLCertVerificationError | http.client.InvalidURL):
        return True
    if isinstance(fault, ssl.SSLError):
        return getattr(fault, "reason", "") == "WRONG_VERSION_NUMBER"  # it speaks plain HTTP
    if isinstance(fault, socket.gaierror):
        return fault.errno != socket.EAI_AGAIN
    return False


def translate(fault: OSError | http.client.HTTPException, domain: str, settings: RegistrySettings) -> ZlayerError:
    """The fault as people should read it: what happened with which registry, and the setting that mends it."""
    table = f'[registries."{domain}"]'
    if isinstance(fault, ssl.SSLCertVerificationError):
        return Unavailable(
            f"the certificate of registry {domain} is not trusted: {fault.verify_message}",
            hint=f'set ca = "PATH" (or insecure = true, at your own risk) under {table} in config.toml',
        )
    if isinstance(fault, ssl.SSLError):
        return Unavailable(
            f"registry {domain} does not speak TLS as expected: {getattr(fault, 'reason', None) or fault}",
            hint=f"if it serves plain HTTP, set insecure = true under {table} in config.toml",
        )
    if isinstance(fault, TimeoutError):
        return Deadline(
            f"registry {domain} stalled: no byte for {settings.stall_timeout:g} s, {settings.attempts} times",
            hint="look at the registry and the network, or raise pull.stall_timeout in config.toml",
        )
    if isinstance(fault, socket.gaierror):
        return Unavailable(
            f"registry {domain} has no address: {fault.strerror}",
            hint="check the name in the image reference, and this machine's DNS",
        )
    if isinstance(fault, http.client.IncompleteRead):
        return Unavailable(
            f"registry {domain} ended its answer before it was whole, {settings.attempts} times",
            hint="pull again; look at the registry and at proxies on the way to it",
        )
    text = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return Unavailable(
        f"registry {domain} cannot be reached: {text}",
        hint="check that it runs, the network, and HTTPS_PROXY/NO_PROXY of the daemon",
    )


def retry_after(header: str, now: float | None = None) -> float | None:
    """Seconds a `Retry-After` header asks for, as a number or a date (RFC 9110, 10.2.3); None when it does not."""
    header = header.strip()
    if header.isdigit():
        return float(header)
    try:
        when = email.utils.parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    return max(0.0, when.timestamp() - (time.time() if now is None else now))
