"""The daemon's own log: one line per event, JSON or text, in a file with a size cap; secrets never reach it."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import IO, Any, Literal

import structlog

from zlayer.model.units import Bytes

Format = Literal["json", "text"]
Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
CAP = Bytes(10 * 1024 * 1024)
KEEP = 3
_SECRET_KEY = re.compile(r"passw|secret|token|authorization|credential|api_?key|cookie", re.IGNORECASE)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


class LogFile:
    """Appends lines; at `cap` bytes the file becomes `.1`, `.1` becomes `.2`, and `keep` old ones are kept.

    Safe from several threads. `reopen` is for a rotation done by others (SIGHUP). A full disk loses lines, never
    the daemon: what cannot be written is dropped, and so is what comes after `close`.
    """

    def __init__(self, path: Path, *, cap: Bytes = CAP, keep: int = KEEP, echo: IO[str] | None = None) -> None:
        self._path = path
        self._cap = cap
        self._keep = keep
        self._echo = echo
        self._lock = threading.Lock()
        self._ended = False
        self._file = self._open()

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            try:
                if self._file.closed and not self._ended:  # a rotation failed half-way
                    self._file = self._open()
                if self._file.tell() + len(data) > self._cap and self._file.tell():
                    self._rotate()
                self._file.write(data)
                if self._echo is not None:
                    self._echo.write(text)
                    self._echo.flush()
            except (OSError, ValueError):  # a full disk; a line after the end
                return

    def flush(self) -> None:
        """Nothing is held back: the file is unbuffered."""

    def reopen(self) -> None:
        with self._lock:
            self._file.close()
            self._file = self._open()

    def close(self) -> None:
        with self._lock:
            self._ended = True
            self._file.close()

    def _open(self) -> IO[bytes]:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.fdopen(os.open(self._path, flags, 0o600), "ab", buffering=0)
        file.seek(0, os.SEEK_END)
        return file

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._file = self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: values of keys that name a secret, and bearer or basic credentials, become `***`."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = "***"
        elif isinstance(value, str) and ("earer" in value or "asic" in value):
            event[key] = _BEARER.sub(r"\1 ***", value)
    return event


def configure(file: LogFile, *, level: Level = "info", form: Format = "json") -> None:
    """Send structlog and the standard library's loggers (uvicorn's, asyncio's) to `file`."""
    structlog.configure(
        processors=_processors(form),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=file),  # type: ignore[arg-type]  # write and flush is all it uses
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.captureWarnings(True)


def _processors(form: Format) -> list[Callable[..., Any]]:  # Any: structlog's processors are untyped by nature
    shared: list[Callable[..., Any]] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        redact,
    ]
    if form == "json":
        return [*shared, structlog.processors.JSONRenderer(default=str)]
    return [*shared, _text]


def _text(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """`2026-01-01T00:00:00Z info  instance started  instance=web-1`; a traceback follows on its own lines."""
    at, level, what = event.pop("at", ""), event.pop("level", ""), event.pop("event", "")
    trace = event.pop("exception", "")
    facts = " ".join(f"{key}={value}" for key, value in event.items())
    line = f"{at} {level:<7} {what}" + (f"  {facts}" if facts else "")
    return f"{line}\n{trace}" if trace else line


class _Forward(logging.Handler):
    """Records of the standard library's loggers, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger().bind(source=record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)


def terminal() -> IO[str] | None:
    """Where a daemon in the foreground also shows its log; None when it has no terminal or pipe for it."""
    return sys.stderr if sys.stderr and not sys.stderr.closed else None
