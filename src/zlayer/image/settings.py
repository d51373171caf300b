"""How registries are reached: the `[registries."HOST:PORT"]` tables and pull limits of the daemon's config file.

Plain values that also travel to the worker process as JSON over a pipe; a password shows as `***` in any repr.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from zlayer.image.reference import DOCKER_HUB, parse
from zlayer.image.s3.settings import S3Settings
from zlayer.model.errors import Invalid, Problem

HUB_ENDPOINT = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class RegistryHost:
    """One registry. `insecure` True: certificates are not checked and plain HTTP is tried; None: only on loopback.

    `ca` is a PEM file trusted besides the system's. A password is given, or read from `password_file` at each pull.
    """

    insecure: bool | None = None
    ca: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    mirrors: tuple[str, ...] = ()
    """Registries asked before it for pulls, in order: `HOST[:PORT][/PREFIX]`. Each has a table of its own."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Everything a pull may be tuned with. Times are in seconds, sizes in bytes."""

    default_registry: str = DOCKER_HUB
    hosts: Mapping[str, RegistryHost] = field(default_factory=dict)
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    """No byte for this long breaks the connection; the pull goes on from the byte reached."""
    attempts: int = 5
    """Tries in a row without one new byte before a fault is final."""
    backoff: float = 0.5
    """First pause between tries; doubles up to `backoff_limit`, half of it random."""
    backoff_limit: float = 20.0
    downloads: int = 3
    extractions: int = 2
    limit_rate: int = 0
    """Bytes a second that the layers of one pull may come at, together; 0: no limit."""
    s3: S3Settings | None = None
    """A bucket that is asked for blobs before any registry, and gets those it lacks."""
    auth_file: str = ""
    """Where `zlayer login` keeps what it was given, in the form of docker's config.json; the daemon's own, no key."""

    def host(self, domain: str) -> RegistryHost:
        """The settings of a registry, by the name references use for it."""
        return self.hosts.get(domain, RegistryHost())

    def document(self) -> dict[str, Any]:  # Any: a JSON document
        return {**asdict(self), "hosts": {name: asdict(host) for name, host in self.hosts.items()}}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> RegistrySettings:
        """The inverse of `document`."""
        hosts = {
            name: RegistryHost(**{**host, "mirrors": tuple(host["mirrors"])})
            for name, host in document["hosts"].items()
        }
        s3 = document["s3"]
        return cls(**{**document, "hosts": hosts, "s3": S3Settings(**s3) if s3 else None})

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, file: str = "") -> RegistrySettings:
        """From the daemon's parsed TOML: keys `default_registry`, `registries` and `pull`; others are not ours.

        Errors: `Invalid` with every fault at once.
        """
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        if "default_registry" in config:
            values["default_registry"] = config["default_registry"]
        tunable = {f.name for f in fields(cls)} - {"default_registry", "hosts", "auth_file", "s3"}
        values |= _table(config.get("pull", {}), "pull", tunable, problems)
        hosts = {}
        for name, table in dict(config.get("registries", {})).items():
            path = f'registries."{name}"'
            found = _table(table, path, {f.name for f in fields(RegistryHost)}, problems)
            if isinstance(listed := found.get("mirrors"), list):
                found["mirrors"] = tuple(listed)
            hosts[name] = RegistryHost(**found)
        if not problems:
            settings = cls(hosts=hosts, **values)
            problems += _type_problems(settings)
        if problems:
            stamped = tuple(
                Problem(message=p.message, path=p.path, file=file, suggestion=p.suggestion) for p in problems
            )
            raise Invalid("the registry settings are wrong", problems=stamped, hint="mend the keys named above")
        return settings


def _table(table: Any, path: str, known: set[str], problems: list[Problem]) -> dict[str, Any]:
    """The known keys of a TOML table; the unknown are put down as problems. Any: TOML values."""
    if not isinstance(table, Mapping):
        problems.append(Problem("must be a table", path=path))
        return {}
    for key in table:
        if key not in known:
            near = next(iter(get_close_matches(key, known, n=1)), "")
            problems.append(Problem(f"unknown key {key!r}", path=f"{path}.{key}", suggestion=near))
    return {key: value for key, value in table.items() if key in known}


def _type_problems(settings: RegistrySettings) -> list[Problem]:
    """Values of the wrong type or range; dataclasses do not check them and a pull is too late to learn it."""
    problems = []
    if not isinstance(settings.default_registry, str) or not settings.default_registry:
        problems.append(Problem("must be a host name", path="default_registry"))
    for name in ("connect_timeout", "stall_timeout", "backoff", "backoff_limit"):
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            problems.append(Problem("must be a number of seconds above 0", path=f"pull.{name}"))
    for name in ("attempts", "downloads", "extractions"):
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(Problem("must be a whole number above 0", path=f"pull.{name}"))
    if isinstance(settings.limit_rate, bool) or not isinstance(settings.limit_rate, int) or settings.limit_rate < 0:
        problems.append(Problem("must be a whole number of bytes a second, 0 for no limit", path="pull.limit_rate"))
    for domain, host in settings.hosts.items():
        problems += _mirror_problems(domain, host.mirrors)
        for entry in fields(host):
            if entry.name == "mirrors":
                continue
            value = getattr(host, entry.name)
            wanted = (bool, type(None)) if entry.name == "insecure" else (str,)
            if not isinstance(value, wanted):
                kind = "true or false" if entry.name == "insecure" else "text"
                problems.append(Problem(f"must be {kind}", path=f'registries."{domain}".{entry.name}'))
    return problems


def _mirror_problems(domain: str, mirrors: object) -> list[Problem]:
    path = f'registries."{domain}".mirrors'
    if not isinstance(mirrors, tuple):
        return [Problem('must be a list of registries: ["HOST:PORT"]', path=path)]
    problems = []
    for mirror in mirrors:
        host = mirror.partition("/")[0] if isinstance(mirror, str) else ""
        try:
            named = parse(f"{mirror}/x").domain
        except Invalid:
            named = ""
        if not host or named != host:
            problems.append(Problem(f"{mirror!r} is no registry: write HOST[:PORT][/PREFIX], no scheme", path=path))
        elif mirror == domain:
            problems.append(Problem("is the registry itself", path=path))
    return problems


def host_of(domain: str) -> str:
    """The host without port and brackets: `[::1]:5000` is `::1`."""
    if domain.startswith("["):
        return domain[1 : domain.index("]")]
    return domain.partition(":")[0]


def is_loopback(domain: str) -> bool:
    """Whether a registry is this machine: `localhost`, 127.0.0.0/8 or ::1. These may speak plain HTTP."""
    host = host_of(domain)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
