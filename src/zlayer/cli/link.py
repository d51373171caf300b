"""The client of a command: which daemon, started first when none runs, and which deployment is meant."""

from __future__ import annotations

import os
import sys

from zlayer.client import connect
from zlayer.client.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from zlayer.client.results import Container
    from zlayer.model.paths import Paths

ONE_OFF = "_run"
"""The deployment of what `zlayer run` made (model.instance, which is slow to load)."""


def client(args: Namespace, *, start: bool = True) -> Client:
    """A client for the daemon this command is for. A local one that does not run is started, unless `start` is off."""
    address = connect.find(args.data_dir)
    local = bool(args.data_dir) or not os.environ.get("ZLAYER_HOST")
    if local and start and not connect.listening(address) and connect.ensure_daemon(paths(args)):
        print(f"zlayer: started the daemon ({address.path})", file=sys.stderr)
    return Client(address)


def paths(args: Namespace) -> Paths:
    from pathlib import Path

    from zlayer.model.paths import Paths

    return Paths.of(Path(args.data_dir) if args.data_dir else None)


def deployment_of(api: Client, service: str, named: str | None) -> tuple[str, str]:
    """The deployment and the service that `SERVICE` or `DEPLOYMENT/SERVICE` names.

    Without a name the one deployment that has the service; when several do, the one the spec in this directory
    names. Raises `NotFound` with the nearest name, `Invalid` when it stays unclear.
    """
    if "/" in service and not named:
        named, _, service = service.partition("/")
    listed = api.deployments()
    having = [d.deployment for d in listed if any(s.name == service for s in d.services)]
    if named:
        if any(d.deployment == named for d in listed) and named not in having:
            near = [s.name for d in listed if d.deployment == named for s in d.services]
            raise _no_service(service, near, f" in deployment {named!r}")
        if named not in having:
            raise _no_deployment(named, [d.deployment for d in listed])
        return named, service
    if len(having) > 1 and (here := spec_name()) in having:
        having = [here]
    if len(having) == 1:
        return having[0], service
    if not having:
        raise _no_service(service, [s.name for d in listed for s in d.services], "")
    from zlayer.model.errors import Invalid

    raise Invalid(
        f"several deployments have a service {service!r}: {', '.join(sorted(having))}",
        hint=f"say which: --deployment {min(having)}",
    )


def container_of(api: Client, word: str, named: str | None) -> tuple[str, str]:
    """As `deployment_of`; a word that is no service may be a one-off's name or id: then `_run` and its id."""
    from zlayer.model.errors import NotFound

    try:
        return deployment_of(api, word, named)
    except NotFound:
        if named or (found := one_off(api, word)) is None:
            raise
        return ONE_OFF, found.id


def one_off(api: Client, word: str) -> Container | None:
    """The one-off of that id, or the newest of that name."""
    return meant(api.containers(ONE_OFF), word)


def meant(listed: tuple[Container, ...], word: str) -> Container | None:
    """The one of these with that id, or the newest with that name."""
    found = [c for c in listed if word in {c.id, c.service}]
    return max(found, key=lambda c: (c.id == word, c.created_at or ""), default=None)


def deployment_named(api: Client, name: str | None) -> str:
    """The deployment a verb is for: the one named, the one of the spec in this directory, or the only one there is."""
    if name:
        return name
    listed = [d.deployment for d in api.deployments()]
    here = spec_name()
    if here and (here in listed or not listed):
        return here
    if len(listed) == 1 and not here:
        return listed[0]
    from zlayer.model.errors import Invalid, NotFound

    if here or not listed:
        raise NotFound(
            f"no deployment {here!r} is here" if here else "there is no deployment",
            hint=f"there are: {', '.join(listed)}" if listed else "start one with `zlayer up`",
        )
    raise Invalid(
        f"which deployment? There are {', '.join(sorted(listed))}",
        hint="name one, or work in the directory of its spec",
    )


def spec_name() -> str:
    """The deployment name in this directory's spec, or empty. One line of YAML is read without a YAML parser."""
    from pathlib import Path

    from zlayer.model.errors import ZlayerError
    from zlayer.spec.discover import discover

    try:
        text = discover(Path.cwd()).read_text(encoding="utf-8", errors="replace")
    except (ZlayerError, OSError):
        return ""
    for line in text.splitlines():
        if line.startswith("deployment:"):
            return line.partition(":")[2].partition(" #")[0].strip().strip("'\"")
    return ""


def _no_service(service: str, known: list[str], where: str) -> Exception:
    from difflib import get_close_matches

    from zlayer.model.errors import NotFound

    near = get_close_matches(service, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`zlayer ps` lists what there is"
    return NotFound(f"no service {service!r}{where}", hint=hint)


def _no_deployment(name: str, known: list[str]) -> Exception:
    from difflib import get_close_matches

    from zlayer.model.errors import NotFound

    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`zlayer ps` lists what there is"
    return NotFound(f"no deployment {name!r}", hint=hint)
