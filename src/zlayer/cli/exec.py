"""`zlayer exec`: a command inside a running container."""

from __future__ import annotations

import argparse
import os

from zlayer.cli import link

EXAMPLES = """
zlayer exec -it web -- sh               a shell
zlayer exec web -- cat /etc/hostname    its exit code is ours
echo 'select 1' | zlayer exec -i db -- psql -U postgres
zlayer exec web -r 2 -- env             in replica 2
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.usage = "zlayer exec [options] SERVICE -- COMMAND [ARG...]"
    parser.add_argument("service", help="a service, DEPLOYMENT/SERVICE, or a one-off")
    parser.add_argument("-i", "--interactive", action="store_true", help="pass stdin on")
    parser.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="K=V", help="set; K alone takes ours")
    parser.add_argument("-u", "--user", help="a user, or USER:GROUP")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="work in this directory")
    parser.add_argument("-r", "--replica", type=int, metavar="N", help="which replica; else the first that runs")
    parser.add_argument("--deployment", metavar="NAME", help="needed when several have the service")


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """With `--` options may stand anywhere before it; without, the command starts after SERVICE."""
    if "--" in argv:
        at = argv.index("--")
        args = parser.parse_args(argv[:at])
        args.command = argv[at + 1 :]
    else:
        parser.add_argument("command", nargs=argparse.REMAINDER)
        args = parser.parse_args(argv)
    if not args.command:
        parser.error("no command; write `zlayer exec SERVICE -- COMMAND`")
    return args


def run(args: argparse.Namespace) -> int:
    from zlayer.cli.session import STDIN, Session, want_tty
    from zlayer.cli.terminal import window

    tty = want_tty(args.tty)
    api = link.client(args)
    deployment, service = link.container_of(api, args.service, args.deployment)
    request: dict[str, object] = {
        "command": args.command,
        "env": environment(args.env),
        "tty": tty,
        "stdin": args.interactive,
    }
    optional = {"user": args.user, "workdir": args.workdir, "slot": args.replica}
    request |= {name: value for name, value in optional.items() if value is not None}
    if tty:
        request["rows"], request["columns"] = window(STDIN)
    with api.open_exec(deployment, service, request) as channel:
        return Session(channel, stdin=args.interactive, tty=tty).run()


def environment(pairs: list[str]) -> dict[str, str]:
    """`K=V` sets; `K` takes the value it has here, and nothing when it has none, as docker does."""
    out = {}
    for pair in pairs:
        name, given, value = pair.partition("=")
        if given:
            out[name] = value
        elif name in os.environ:
            out[name] = os.environ[name]
    return out
