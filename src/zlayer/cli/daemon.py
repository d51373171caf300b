"""`zlayer daemon`: the daemon as a process. Containers live on whatever happens to it."""

from __future__ import annotations

import argparse

from zlayer.cli import link, status
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer daemon start      unless it runs already
zlayer daemon stop       containers run on, and are adopted by the next start
zlayer daemon restart
zlayer daemon logs -f    its own log
zlayer daemon reset      end every container, remove all but named volumes
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = add_subcommand(subs, "start", "Start the daemon and wait until it is ready")
    stop = add_subcommand(subs, "stop", "Stop the daemon; its containers run on")
    restart = add_subcommand(subs, "restart", "Stop it and start it again")
    for each in (start, stop, restart):
        each.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="to wait (30)")
    add_format(add_subcommand(subs, "status", "Show how it is; exit code 7 when it does not run"))
    reset = add_subcommand(subs, "reset", "End every container, remove networks, images and state")
    reset.add_argument("-f", "--force", action="store_true", help="do not ask")
    reset.add_argument("--volumes", action="store_true", help="named volumes too: their data is lost")
    reset.set_defaults(timeout=30.0)
    logs = add_subcommand(subs, "logs", "Show its log")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="last lines (100)")


def run(args: argparse.Namespace) -> int:
    if args.action == "status":
        return status.run(args)
    if args.action == "logs":
        return _logs(args)
    screen = Screen.of(args)
    if args.action == "reset":
        return _reset(args, screen)
    if args.action in {"stop", "restart"}:
        _stop(args, screen)
    if args.action in {"start", "restart"}:
        _start(args, screen)
    return 0


def _start(args: argparse.Namespace, screen: Screen) -> None:
    from zlayer.client.connect import ensure_daemon
    from zlayer.client.process import holder

    paths = link.paths(args)
    started = ensure_daemon(paths, args.timeout)
    word = "started" if started else "runs already"
    screen.note(f"the daemon {word} (pid {holder(paths)}, {paths.socket})")


def _stop(args: argparse.Namespace, screen: Screen) -> None:
    from zlayer.client.process import stop

    paths = link.paths(args)
    pid = stop(paths, args.timeout)
    screen.note(
        f"the daemon (pid {pid}) is stopped; its containers run on" if pid else f"no daemon runs on {paths.root}"
    )


def _reset(args: argparse.Namespace, screen: Screen) -> int:
    import subprocess
    import sys

    paths = link.paths(args)
    if not args.force and not _agreed(f"End every container of {paths.root} and delete all but named volumes?"):
        screen.note("nothing was changed" + ("" if sys.stdin.isatty() else ": where nobody can be asked, say --force"))
        return 1
    from zlayer.client.process import stop

    stop(paths, args.timeout)
    screen.note("ending every container, and removing what was theirs …")
    argv = [sys.executable, "-m", "zlayer.daemon.reset", str(paths.root)]
    return subprocess.run([*argv, "--volumes"] if args.volumes else argv, check=False).returncode


def _agreed(question: str) -> bool:
    import sys

    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _logs(args: argparse.Namespace) -> int:
    from collections import deque

    from zlayer.model.errors import NotFound

    screen = Screen.of(args)
    log = link.paths(args).log
    try:
        file = log.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFound(f"no log at {log}", hint="no daemon ever ran on this data directory") from None
    with file:
        for line in deque(file, maxlen=max(0, args.lines)):
            screen.data(line.rstrip("\n"))
        if args.follow:
            from zlayer.cli.tailing import follow

            for line in follow(log, file):
                screen.data(line)
    return 0
