"""The programs the runtime suite runs: a shell command for real engines, and the same as the fake's script."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from zlayer.model.errors import Failed
from zlayer.runtime.contract import CreateRequest, ExecRequest, Freeze, FullRuntime, Handle
from zlayer.testing.fake_machine import Behaviour, ExecAnswer, FakeContainer


@dataclass(frozen=True, slots=True)
class Program:
    """`command` is run by `/bin/sh -c` (or is argv as it stands); `behaviour` is what the fake makes of it."""

    command: str | tuple[str, ...]
    behaviour: Behaviour = field(default_factory=Behaviour)

    @property
    def argv(self) -> tuple[str, ...]:
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command


SLEEP = Program(("sleep", "300"), Behaviour(ignore_term=True))
TRUE = Program(("true",), Behaviour(exit_after=0))
EXIT_3 = Program("exit 3", Behaviour(exit_after=0, exit_code=3))
SOON = Program("sleep 0.3; exit 4", Behaviour(exit_after=0.3, exit_code=4))
POLITE = Program("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done", Behaviour(output=(("stdout", b"up\n"),)))
STUBBORN = Program("trap '' TERM; echo up; sleep 300", Behaviour(ignore_term=True, output=(("stdout", b"up\n"),)))
MISSING = Program(("/no/such/program",), Behaviour(create_error=Failed("no such file: /no/such/program")))
CHATTY = Program(
    "echo one; echo two >&2; sleep 0.2; echo three; printf four",
    Behaviour(
        exit_after=0.2,
        output=(("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three\n"), ("stdout", b"four")),
    ),
)
CAT = Program(("cat",), Behaviour(echo=True))
PROGRAMS = (SLEEP, TRUE, EXIT_3, SOON, POLITE, STUBBORN, MISSING, CHATTY, CAT)


def behaviour_of(request: CreateRequest) -> Behaviour:
    """The fake's script for the suite: `FakeMachine(script=behaviour_of, on_exec=answer_to)`."""
    return next((p.behaviour for p in PROGRAMS if p.argv == request.argv), Behaviour())


@dataclass(frozen=True, slots=True)
class Execution:
    """One exec of the suite and what it answers."""

    argv: tuple[str, ...]
    answer: ExecAnswer


EXEC_OUTPUT = Execution(
    ("/bin/sh", "-c", "echo out; echo err >&2; exit 5"),
    ExecAnswer(code=5, output=(("stdout", b"out\n"), ("stderr", b"err\n"))),
)
EXEC_ECHO = Execution(("cat",), ExecAnswer(echo=True))
EXEC_LONG = Execution(("sleep", "300"), ExecAnswer(seconds=300))
EXEC_MISSING = Execution(("/no/such",), ExecAnswer(code=127, output=(("stderr", b"no such file\n"),)))
EXEC_DENIED = Execution(("/etc/passwd",), ExecAnswer(code=126, output=(("stderr", b"permission denied\n"),)))
EXECUTIONS = (EXEC_OUTPUT, EXEC_ECHO, EXEC_LONG, EXEC_MISSING, EXEC_DENIED)


def answer_to(_container: FakeContainer, request: ExecRequest) -> ExecAnswer:
    return next((e.answer for e in EXECUTIONS if e.argv == request.argv), ExecAnswer())


class PowerfulRuntime(FullRuntime, Freeze, Protocol):
    """What the suite drives: every power there is."""


class RuntimeBench(Protocol):
    """What a driver brings to the suite: itself, a way to restart, and requests it can serve."""

    def runtime(self) -> PowerfulRuntime:
        """The runtime of the running daemon."""
        ...

    async def restart(self) -> PowerfulRuntime:
        """The daemon is gone without a word; a new runtime over the same machine."""
        ...

    def directory(self, handle: Handle) -> Path:
        """Where that container keeps its things."""
        ...

    def request(self, program: Program) -> CreateRequest:
        """A request with an id, a directory and a root file system of its own."""
        ...
