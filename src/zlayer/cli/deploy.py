"""`zlayer deploy`: send a spec, wait until it is stable."""

from __future__ import annotations

import argparse
import time

from zlayer.cli import link, specfile
from zlayer.cli.render import documents, plans
from zlayer.cli.screen import Screen
from zlayer.client.client import Client
from zlayer.client.results import Accepted, Plan

EXAMPLES = """
zlayer deploy                      the spec here, until it is stable
zlayer deploy shop.zlayer.yml --dry-run   what would change, and why
zlayer deploy --pull --timeout 300   look for newer images, take 5 minutes
"""

PROVEN = 1.0


def register(parser: argparse.ArgumentParser) -> None:
    specfile.add_spec(parser)
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `up` and `deploy` share."""
    pull = parser.add_mutually_exclusive_group()
    pull.add_argument("--pull", dest="pull", action="store_const", const="always", help="always pull images")
    pull.add_argument("--no-pull", dest="pull", action="store_const", const="never", help="use local images only")
    parser.add_argument("--dry-run", "--plan", action="store_true", help="print the plan and change nothing")
    parser.add_argument("--format", choices=("table", "json", "yaml"), default="table", help="of the plan")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="to be stable in (120)")


def run(args: argparse.Namespace) -> int:
    screen = Screen.of(args)
    text, file = specfile.read(args.spec)
    api = link.client(args)
    plan = api.plan(text, file=file, pull=args.pull)
    if args.dry_run:
        return show_plan(plan, screen, args.format)
    accepted = send(api, args, plan, screen, (text, file))
    return settle(api, accepted.deployment, screen, args.timeout, changed=accepted.changed)


def show_plan(plan: Plan, screen: Screen, form: str) -> int:
    if form == "table":
        screen.data("\n".join(plans.lines(plan, colour=screen.colour)))
    else:
        screen.data(documents.as_text(plan.document(), form))
    return 0


def send(api: Client, args: argparse.Namespace, plan: Plan, screen: Screen, spec: tuple[str, str]) -> Accepted:
    """Say what the plan does, then make it so: `Conflict` when the deployment changed in between."""
    for line in plans.lines(plan, colour=screen.err_colour):
        screen.note(line)
    text, file = spec
    return api.deploy(text, file=file, pull=args.pull, revision=plan.revision)


def settle(api: Client, name: str, screen: Screen, timeout: float, *, changed: bool = True) -> int:
    """Wait until stable and say so; raises with the culprit's reason when it does not get there.

    A container without a health check is ready as soon as it runs, so one that was `changed` must also live for
    `PROVEN` seconds: most that cannot work end at once.
    """
    from zlayer.cli import follow

    end = time.monotonic() + timeout
    summary = follow.until(api, name, screen, follow.stable, timeout=timeout)
    while changed and any(c.health == "none" for c in api.containers(name)) and not follow.holds(api, name, PROVEN):
        left = max(0.1, end - time.monotonic())
        summary = follow.until(api, name, screen, follow.stable, timeout=left)
    count = sum(service.ready for service in summary.services)
    screen.note(f"{name} is stable: {count} replica{'s' if count != 1 else ''} ready")
    return 0
