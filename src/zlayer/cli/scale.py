"""`zlayer scale`: how many replicas a service has."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.screen import Screen

EXAMPLES = """
zlayer scale web 5            five replicas of web
zlayer scale web=5 worker=2   several at once
zlayer scale web 5 --wait     return when they are ready
"""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wanted", nargs="+", metavar="SERVICE N | SERVICE=N", help="what is wanted")
    parser.add_argument("--deployment", metavar="NAME", help="needed when several have the service")
    parser.add_argument("--wait", action="store_true", help="return when it is so")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="for --wait (120)")


def wanted(words: list[str]) -> dict[str, int] | None:
    """Read `web 5` or `web=5 worker=2`; None when it is neither."""
    if len(words) == 2 and "=" not in words[0] and words[1].isdecimal():
        return {words[0]: int(words[1])}
    pairs = [word.rpartition("=") for word in words]
    if not all(name and count.isdecimal() for name, _, count in pairs):
        return None
    return {name: int(count) for name, _, count in pairs}


def run(args: argparse.Namespace) -> int:
    services = wanted(args.wanted)
    if services is None:
        args.fail("write SERVICE N, or SERVICE=N once or more; N is 0 or more")
        return 2
    screen = Screen.of(args)
    api = link.client(args)
    places = [(link.deployment_of(api, name, args.deployment), count) for name, count in services.items()]
    names = {name for (name, _), _ in places}
    if len(names) > 1:
        args.fail("one deployment at a time")
    (name,) = names
    api.scale(name, {service: count for (_, service), count in places})
    if not args.wait:
        return 0
    from zlayer.cli import follow

    counts = {service: count for (_, service), count in places}
    follow.until(api, name, screen, lambda now: _there(now, counts), timeout=args.timeout)
    return 0


def _there(summary: object, counts: dict[str, int]) -> bool:
    from zlayer.client.results import Deployment

    assert isinstance(summary, Deployment)
    found = {s.name: s for s in summary.services}
    return all(
        name in found and found[name].desired == found[name].ready == found[name].running == count
        for name, count in counts.items()
    )
