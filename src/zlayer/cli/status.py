"""`zlayer status`: how the daemon is. Never starts one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.colour import visible
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.tiers import tier
from zlayer.cli.render.times import away, lasting, size
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
        "rootfs": status.rootfs or "unknown",
        "deployments": str(status.deployments),
        "containers": f"{running} running of {total}",
        "memory": size(status.rss_bytes),
        "data": status.data_dir,
        "socket": status.socket,
        "api": status.bind or "off",
    }
    if status.certificates.get("total"):
        facts["certificates"] = _certificates(status, time.time())
    if status.s3:
        facts["s3"] = "\n".join(map(tier, status.s3))
    facts |= {f"{part} failing": reason for part, reason in status.failing.items()}
    lines = [f"{name:<12} {value}" for name, value in facts.items()]
    return "\n".join([*lines, *_trouble(status, time.time())])


def _certificates(status: Status, now: float) -> str:
    found = status.certificates
    first = found.get("first_to_end")
    ends = f", the first to end is {first}, {away(found.get('not_after'), now)}" if first else ""
    return f"{found['total']}{ends}"


def _trouble(status: Status, now: float) -> Iterator[str]:
    for one in status.certificates.get("trouble", ()):
        ends = f", its end {away(one['not_after'], now)}" if one["not_after"] else ""
        why = f": {one['error']}" if one["error"] else ""
        yield visible(f"certificate {one['state']}: {one['name']}{ends}{why}")
