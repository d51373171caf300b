"""The entry: find the verb, load its file, run it, and turn what went wrong into words and an exit code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from zlayer.model.errors import ZlayerError

USAGE, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code. Never raises but for a fault of ours."""
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _hush()
        return BROKEN_PIPE
    return code


def _dispatch(argv: list[str]) -> int:
    given, verb, rest = split(argv)
    if verb is None:
        return _without_verb(given)
    from zlayer.cli.verbs import find

    module = find(verb)
    if module is None:
        return _unknown(verb)
    return _run(verb, module, [*given, *rest])


def split(argv: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Options before the verb, the verb, and everything after it."""
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] == "--data-dir" else 1
    verb = argv[index] if index < len(argv) else None
    given = ["--verbose" if word == "-v" else word for word in argv[:index]]  # `-v` is a volume behind `run`
    return given, verb, argv[index + 1 :]


def _without_verb(given: list[str]) -> int:
    if "--version" in given or "-V" in given:
        from zlayer import __version__

        print(f"zlayer {__version__}")
        return 0
    from zlayer.cli.help import text

    if not given or "-h" in given or "--help" in given:
        print(text())
        return 0
    print(f"zlayer: no verb after {given[-1]!r}; see `zlayer --help`", file=sys.stderr)
    return USAGE


def _unknown(verb: str) -> int:
    from difflib import get_close_matches

    from zlayer.cli.verbs import VERBS

    near = get_close_matches(verb, VERBS, n=1, cutoff=0.5)
    mend = f"did you mean `zlayer {near[0]}`?" if near else "see `zlayer --help`"
    print(f"zlayer: no verb {verb!r}; {mend}", file=sys.stderr)
    return USAGE


def _run(verb: str, module_name: str, argv: list[str]) -> int:
    from importlib import import_module

    from zlayer.cli.parsing import parse

    module = import_module(f"zlayer.cli.{module_name}")
    if module_name == "complete":
        return int(module.run(argv))
    try:
        args = parse(verb, module, argv)
    except SystemExit as stop:  # argparse ends the process after --help and after a usage error
        return int(getattr(module, "ERROR_CODE", stop.code) if stop.code else 0)
    return _guarded(module.run, args)


def _guarded(run: object, args: Namespace) -> int:
    try:
        return int(run(args))  # type: ignore[operator]  # verbs are found by name; a test checks their shape
    except _tree() as error:
        return report(error, args)


def _tree() -> type[ZlayerError]:
    """The root of the error tree: looked at only when something was raised, for it costs 15 ms to import."""
    from zlayer.model.errors import ZlayerError

    return ZlayerError


def report(error: ZlayerError, args: Namespace) -> int:
    """Say what went wrong and what to do on stderr; gives the exit code."""
    from zlayer.cli.render.errors import lines
    from zlayer.cli.screen import Screen

    if args.verbose:
        import traceback

        traceback.print_exception(error)
    screen = Screen.of(args)
    screen.clear()
    for line in lines(error, colour=screen.err_colour, directory=_directory()):
        screen.note(line)
    return int(getattr(args, "error_code", 0) or error.exit_code)


def _directory() -> str:
    import os

    try:
        return os.getcwd()  # noqa: PTH109  # pathlib costs 7 ms
    except FileNotFoundError:
        return ""


def _hush() -> None:
    """Let the interpreter end without complaining that stdout is gone."""
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())


def parser_of(verb: str) -> ArgumentParser:
    """The parser of a verb, for completions and the reference page."""
    from importlib import import_module

    from zlayer.cli.parsing import build
    from zlayer.cli.verbs import VERBS

    return build(verb, import_module(f"zlayer.cli.{VERBS[verb][0]}"))


if __name__ == "__main__":
    sys.exit(main())
