"""`zlayer scale`: how many replicas a service has."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.screen import Screen
from zlayer.client.results import Deployment

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


def wanted(words: list[str]) -> dict[str, int]:
    """Read `web 5` or `web=5 worker=2`. `Invalid` when it is neither."""
    if len(words) == 2 and "=" not in words[0] and words[1].isdecimal():
        return {words[0]: int(words[1])}
    pairs = [word.rpartition("=") for word in words]
    if not all(name and count.isdecimal() for name, _, count in pairs):
        from zlayer.model.errors import Invalid

        raise Invalid(f"{' '.join(words)!r} says no replicas", hint="write SERVICE N, or SERVICE=N once or more")
    return {name: int(count) for name, _, count in pairs}


def run(args: argparse.Namespace) -> int:
    asked = wanted(args.wanted)
    screen = Screen.of(args)
    api = link.client(args)
    places = {link.deployment_of(api, name, args.deployment): count for name, count in asked.items()}
    names = sorted({name for name, _ in places})
    if len(names) > 1:
        from zlayer.model.errors import Invalid

        raise Invalid(f"these services are of several deployments: {', '.join(names)}", hint="scale one at a time")
    counts = {service: count for (_, service), count in places.items()}
    api.scale(names[0], counts)
    if args.wait:
        from zlayer.cli import follow

        follow.until(api, names[0], screen, lambda now: there(now, counts), timeout=args.timeout)
    return 0


def there(summary: Deployment, counts: dict[str, int]) -> bool:
    """True once each service has as many replicas as asked, all ready, and no other lives."""
    found = {s.name: s for s in summary.services}
    return all(name in found and found[name].desired == n and found[name].stable for name, n in counts.items())
