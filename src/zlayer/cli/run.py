"""`zlayer run`: one container, to its end; its exit code is ours."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.units import cpus, mount, size

EXAMPLES = """
zlayer run --rm alpine:3.20 echo hello
zlayer run --rm -it alpine:3.20 sh
zlayer run --rm -v ./src:/src:ro -w /src python:3.12 python -m unittest
tar c . | zlayer run --rm -i alpine:3.20 tar t
zlayer run -d --name queue redis:7     then: logs queue, exec queue, rm queue
"""

ERROR_CODE = 125


def register(parser: argparse.ArgumentParser) -> None:
    parser.usage = "zlayer run [options] IMAGE [COMMAND [ARG...]]"
    parser.add_argument("--rm", action="store_true", help="leave nothing of it once it has ended")
    parser.add_argument("-i", "--interactive", action="store_true", help="pass stdin on")
    parser.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    parser.add_argument("-d", "--detach", action="store_true", help="print its id and return")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="K=V", help="set; K alone takes ours")
    parser.add_argument("-v", "--volume", action="append", default=[], type=mount, metavar="SRC:DST[:ro]", help="mount")
    parser.add_argument("--memory", "-m", type=size, metavar="SIZE", help="at most this much: 512m, 2g")
    parser.add_argument("--cpus", type=cpus, metavar="N", help="at most this many cores: 0.5")
    parser.add_argument("--name", help="a name for it")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="work in this directory")
    parser.add_argument("-u", "--user", help="a user, or USER:GROUP")
    parser.add_argument("--hostname", help="its host name")
    parser.add_argument("--entrypoint", metavar="CMD", help="instead of the image's")
    parser.add_argument("--pull", choices=("always", "if_not_present", "newer", "never"), help="the image")
    parser.add_argument("--platform", metavar="OS/ARCH", help="default: this node's")
    parser.add_argument("--network", choices=("bridge", "host", "none"), help="default: bridge")
    parser.add_argument("--privileged", action="store_true", help="without confinement")
    parser.add_argument("--read-only", action="store_true", help="with a root file system that cannot be written")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="instead of the image's")
    parser.set_defaults(error_code=ERROR_CODE)  # as docker: what is below it is the container's own code


def run(args: argparse.Namespace) -> int:
    from zlayer.cli.oneoff import OneOff
    from zlayer.cli.screen import Screen
    from zlayer.cli.session import want_tty

    tty = want_tty(args.tty)
    oneoff = OneOff(link.client(args), Screen.of(args), request(args, tty=tty))
    return oneoff.detached() if args.detach else oneoff.attached()


def request(args: argparse.Namespace, *, tty: bool) -> dict[str, object]:
    """What the API is asked for; what was not said is left to its defaults."""
    from zlayer.cli.exec import environment

    body: dict[str, object] = {"image": args.image, "command": args.command}
    optional = {
        "env": environment(args.env),
        "mounts": args.volume,
        "memory": args.memory,
        "cpu": args.cpus,
        "name": args.name,
        "workdir": args.workdir,
        "user": args.user,
        "hostname": args.hostname,
        "entrypoint": [args.entrypoint] if args.entrypoint else None,
        "pull": args.pull,
        "platform": args.platform,
        "network": args.network,
        "privileged": args.privileged,
        "read_only": args.read_only,
        "rm": args.rm,
        "tty": tty,
        "stdin": args.interactive,
        "detach": args.detach,
    }
    return body | {name: value for name, value in optional.items() if value}
