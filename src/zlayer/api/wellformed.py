"""What no schema can say of a one-off or an exec: the rules a deployment file obeys hold for requests too.

Names become directories, keys of the store and host names, so they are checked before anything is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from zlayer.api.bodies import ExecBody, RunBody, RunMount
from zlayer.model.errors import Invalid, Problem
from zlayer.spec import envrefs, syntax

MAX_WORD = 128 * 1024 - 1
"""Bytes the kernel takes for one argument or one `KEY=value` (MAX_ARG_STRLEN, execve(2))."""
Check = Callable[[str], str]


def check_run(body: RunBody, *, live: bool) -> None:
    """Raises `Invalid` with every fault. `live`: over the WebSocket."""
    problems: list[Problem] = []
    if not live and (body.tty or body.stdin):
        problems.append(Problem("stdin and tty need the WebSocket", path="tty" if body.tty else "stdin"))
    if live and body.detach:
        problems.append(Problem("a detached run has no use for a WebSocket: POST it", path="detach"))
    problems += _one("name", body.name or None, syntax.check_name)
    problems += _one("hostname", body.hostname, syntax.check_hostname)
    problems += _words("entrypoint", body.entrypoint or ())
    problems += _process(body.command, body.env, body.user, body.workdir)
    for number, mount in enumerate(body.mounts):
        problems += _mount(f"mounts.{number}", mount)
    _raise(problems)


def check_exec(body: ExecBody) -> None:
    """As `check_run`."""
    _raise(_process(body.command, body.env, body.user, body.workdir))


def _process(command: tuple[str, ...], env: dict[str, str], user: str | None, workdir: str | None) -> Iterable[Problem]:
    yield from _words("command", command)
    for key, value in env.items():
        yield from _one(f"env.{key}", key, envrefs.check_key)
        yield from _one(f"env.{key}", f"{key}={value}", _word)
    yield from _one("user", user or None, syntax.check_user)
    yield from _one("workdir", workdir or None, syntax.check_absolute)


def _mount(path: str, mount: RunMount) -> Iterator[Problem]:
    yield from _one(f"{path}.target", mount.target, syntax.check_target)
    kind = mount.mount().type
    if kind == "volume":
        yield from _one(f"{path}.source", mount.source or None, syntax.check_volume)
    elif kind == "bind":
        yield from _one(f"{path}.source", mount.source or "", _absolute_source)


def _absolute_source(text: str) -> str:
    if not text.startswith("/"):
        raise Invalid("a bind needs an absolute source")
    return syntax.check_source(text)


def _words(path: str, words: tuple[str, ...]) -> Iterator[Problem]:
    for number, word in enumerate(words):
        yield from _one(f"{path}.{number}", word, _word)


def _word(text: str) -> str:
    if "\0" in text:
        raise Invalid("there is a NUL character in it")
    if len(text.encode()) > MAX_WORD:
        raise Invalid(f"it is longer than the {MAX_WORD} bytes the kernel takes", hint="pass it by stdin or a file")
    return text


def _one(path: str, value: str | None, check: Check) -> Iterator[Problem]:
    """What `check` says against `value`, if anything. None is left to its default."""
    if value is None:
        return
    try:
        check(value)
    except Invalid as error:
        suggestion = error.problems[0].suggestion if error.problems else ""
        yield Problem(error.message, path=path, suggestion=suggestion)


def _raise(found: Iterable[Problem]) -> None:
    problems = tuple(found)
    if problems:
        raise Invalid("; ".join(str(problem) for problem in problems), problems=problems)
