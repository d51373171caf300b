"""`zlayer status`: how the daemon is. Never starts one."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.times import lasting, size
from zlayer.cli.screen import Screen
from zlayer.client.results import Status

EXAMPLES = """
zlayer status                  of the daemon of this data directory
zlayer status --format json
"""


def register(parser: argparse.ArgumentParser) -> None:
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    status = link.client(args, start=False).status()
    if args.format == "table":
        screen.data(text(status))
    else:
        screen.data(as_text(status.document(), args.format))
    return 0


def text(status: Status) -> str:
    """Facts as `name  value` lines."""
    running, total = status.instances.get("running", 0), status.instances.get("total", 0)
    facts = {
        "version": status.version,
        "pid": str(status.pid),
        "up": lasting(status.uptime_secs),
        "node": status.node,
        "runtime": status.runtime or "none",
        "deployments": str(status.deployments),
        "containers": f"{running} running of {total}",
        "memory": size(status.rss_bytes),
        "data": status.data_dir,
        "socket": status.socket,
        "api": status.bind or "off",
    }
    facts |= {f"{part} failing": reason for part, reason in status.failing.items()}
    return "\n".join(f"{name:<12} {value}" for name, value in facts.items())
