"""`zlayer serve`: the daemon, in the foreground or detached."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from zlayer.daemon.options import Options
    from zlayer.model.paths import Paths

EXAMPLES = """
zlayer serve                        in this terminal; Ctrl-C leaves containers
zlayer serve --daemon               detached; returns once it is ready
zlayer serve --bind off             the unix socket only
zlayer serve --bind 127.0.0.1:0     any free port; `zlayer status` prints it
"""


def register(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--bind", metavar="HOST:PORT", help="TCP address, `:0` for any port, or `off` (default: 127.0.0.1:3669)"
    )
    parser.add_argument("--daemon", action="store_true", help="detach, and return once it is ready")
    parser.add_argument(
        "--runtime",
        choices=("auto", "crun", "runc", "youki"),
        help="what runs containers (default: the first that works)",
    )
    parser.add_argument("--node-name", metavar="NAME", help="this machine's name in listings (default: host name)")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="default: info")
    parser.add_argument("--log-format", choices=("json", "text"), help="default: json")


def run(args: Namespace) -> int:
    paths, options = paths_of(args), options_of(args)
    if args.daemon:
        from zlayer.daemon.detach import start

        told = start(paths, options)
        print(f"zlayer daemon {told['pid']} serves {told['socket']}, TCP {told['bind']}")
        return 0
    from zlayer.daemon.serve import run as serve

    serve(paths, options)
    return 0


def paths_of(args: Namespace) -> Paths:
    from pathlib import Path

    from zlayer.model.paths import Paths

    return Paths.of(Path(args.data_dir) if args.data_dir else None)


def options_of(args: Namespace) -> Options:
    from zlayer.daemon.options import Options

    return Options(
        bind=args.bind,
        runtime=args.runtime,
        node_name=args.node_name,
        log_level=args.log_level,
        log_format=args.log_format,
    )
