"""The one error tree. Every room raises these; drivers translate foreign exceptions at their border.

ZlayerError                 status  exit   what the caller should do
├── Invalid                 422     2      mend the input; `problems` lists every fault at once
├── Denied                  403     8      use other credentials or ask for a right
├── NotFound                404     1      name something that exists
├── AlreadyExists           409     6      choose another name, or use what is there
├── Conflict                409     6      read again, decide again
├── Compacted               410     1      list again, then watch from the new revision
├── Unavailable             503     7      wait and try again (`retry_after` seconds when known)
├── Deadline                504     4      it took too long; look at the reason, raise the deadline
├── Exhausted               507     1      free what ran out (disk, addresses, pids, quota)
├── Unsupported             501     1      this cannot be done here; the message says by what it can
├── Failed                  500     1      the work itself failed (an engine or a container said no)
└── Corrupt                 500     1      stored data does not match its digest or schema

Import-light on purpose: the command line loads it for every verb.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in an input. `line` and `column` count from 1; 0 means "no position".

    `path` is dotted, for people (`services.web.env.KEY`); `pointer` is the same place for programs, exact where keys
    have dots in them. `suggestion` is the nearest valid key or value, or empty.
    """

    message: str
    path: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    suggestion: str = ""
    kind: str = "Invalid"
    pointer: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else (f"{self.file}: " if self.file else "")
        path = f"{self.path}: " if self.path else ""
        mend = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{where}{path}{self.message}{mend}"


def json_pointer(parts: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) to the value reached by these keys and positions."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class ZlayerError(Exception):
    """Base of the tree. `message` says what happened; `hint` says what to do, as a sentence or a command."""

    code: ClassVar[str] = "failed"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        problems: tuple[Problem, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = problems
        self.retry_after = retry_after

    def document(self, instance: str = "") -> dict[str, Any]:  # Any: a JSON document
        """The RFC 9457 problem document of this error (media type `application/problem+json`)."""
        doc: dict[str, Any] = {
            "type": f"urn:zlayer:error:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "detail": self.message,
            "code": self.code,
        }
        if instance:
            doc["instance"] = instance
        if self.hint:
            doc["hint"] = self.hint
        if self.problems:
            doc["errors"] = [
                {**asdict(p), "pointer": p.pointer or json_pointer(p.path.split(".") if p.path else ())}
                for p in self.problems
            ]
        if self.retry_after is not None:
            doc["retry_after"] = self.retry_after
        return doc


class Invalid(ZlayerError):
    code, status, exit_code = "invalid", 422, 2


class Denied(ZlayerError):
    code, status, exit_code = "denied", 403, 8


class NotFound(ZlayerError):
    code, status, exit_code = "not_found", 404, 1


class AlreadyExists(ZlayerError):
    code, status, exit_code = "already_exists", 409, 6


class Conflict(ZlayerError):
    code, status, exit_code = "conflict", 409, 6


class Compacted(ZlayerError):
    code, status, exit_code = "compacted", 410, 1


class Unavailable(ZlayerError):
    code, status, exit_code = "unavailable", 503, 7


class Deadline(ZlayerError):
    code, status, exit_code = "deadline", 504, 4


class Exhausted(ZlayerError):
    code, status, exit_code = "exhausted", 507, 1


class Unsupported(ZlayerError):
    code, status, exit_code = "unsupported", 501, 1


class Failed(ZlayerError):
    code, status, exit_code = "failed", 500, 1


class Corrupt(ZlayerError):
    code, status, exit_code = "corrupt", 500, 1


BY_CODE: dict[str, type[ZlayerError]] = {
    cls.code: cls
    for cls in (
        Invalid, Denied, NotFound, AlreadyExists, Conflict, Compacted,
        Unavailable, Deadline, Exhausted, Unsupported, Failed, Corrupt,
    )
}  # fmt: skip


def from_document(doc: dict[str, Any]) -> ZlayerError:
    """The error a problem document stands for; an unknown code becomes `Failed`. Used by clients."""
    cls = BY_CODE.get(str(doc.get("code", "")), Failed)
    fields = ("message", "path", "file", "line", "column", "suggestion", "kind", "pointer")
    problems = tuple(Problem(**{k: e[k] for k in fields if k in e}) for e in doc.get("errors", ()))
    message = str(doc.get("detail") or doc.get("title") or "unknown error")
    return cls(message, hint=str(doc.get("hint", "")), problems=problems, retry_after=doc.get("retry_after"))
