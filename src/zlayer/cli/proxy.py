"""`zlayer proxy`: what the node's proxy goes by."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from zlayer.cli import link
from zlayer.cli.parsing import add_format, add_subcommand
from zlayer.cli.render.colour import state
from zlayer.cli.render.documents import as_text
from zlayer.cli.render.table import table
from zlayer.cli.screen import Screen
from zlayer.client.results import ProxyBackend, ProxyRoute

EXAMPLES = """
zlayer proxy routes        every listener and path, and where it leads
zlayer proxy backends      every replica behind them, with counters
"""


def register(parser: argparse.ArgumentParser) -> None:
    subs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_format(add_subcommand(subs, "routes", "List what the proxy listens on, and where each route leads"))
    add_format(add_subcommand(subs, "backends", "List the replicas behind each endpoint, with counters"))


def run(args: argparse.Namespace) -> int:
    screen, api = Screen.of(args), link.client(args)
    if args.action == "routes":
        listed = api.proxy_routes()
        documents, text = [each.document() for each in listed], routes(listed, colour=screen.colour)
    else:
        behind = api.proxy_backends()
        documents, text = [each.document() for each in behind], backends(behind, colour=screen.colour)
    screen.data(text if args.format == "table" else as_text(documents, args.format))
    return 0


def routes(found: Sequence[ProxyRoute], *, colour: bool) -> str:
    rows = [
        [
            f"{','.join(one.addresses)}:{one.port}",
            one.mode,
            f"{one.host or '*'}{one.path}",
            f"{one.deployment}/{one.service}/{one.endpoint}",
            str(one.servers),
            ", ".join(one.certificates),
        ]
        for one in found
    ]
    return table(("LISTENS", "MODE", "ROUTE", "ENDPOINT", "REPLICAS", "CERTIFICATES"), rows, colour=colour)


def backends(found: Sequence[ProxyBackend], *, colour: bool) -> str:
    rows = []
    for one in found:
        name = f"{one.deployment}/{one.service}/{one.endpoint}"
        if not one.servers:
            rows.append([name, "", "", "no replica is ready", "", "", ""])
        for server in one.servers:
            where = f"{server['address']}:{server['port']}"
            counts = [str(server[key]) for key in ("current", "total", "errors")]
            rows.append([name, server["id"], where, state(server["state"], colour=colour), *counts])
    return table(("ENDPOINT", "REPLICA", "ADDRESS", "STATE", "NOW", "TOTAL", "ERRORS"), rows, colour=colour)
