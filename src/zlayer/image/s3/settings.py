"""`[image.s3]` of config.toml and the environment's `ZLAYER_S3_*`, which win: read whole, every problem at once.

Plain values that also travel to the worker process. No key is among them: those are read where they are used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from zlayer.model.errors import Problem

TABLE = "image.s3"
VARIABLES = {
    "ZLAYER_S3_BUCKET": "bucket", "ZLAYER_S3_PREFIX": "prefix", "ZLAYER_S3_REGION": "region",
    "ZLAYER_S3_ENDPOINT": "endpoint", "ZLAYER_S3_PATH_STYLE": "path_style",
}  # fmt: skip
CACHE = "ZLAYER_CACHE_TYPE"
"""Which cache of blobs a node has; without it, the bucket where there is one."""
_DISK, _BOTH = ("disk", "persistent"), "s3"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]{0,512}")
_SPOKEN = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class S3Settings:
    """One bucket. Times in seconds. `path_style` None: where an `endpoint` is given, for few of those have wildcards.

    `insecure`: certificates are not checked and plain HTTP may leave this machine. `ca`: a PEM file besides the
    system's.
    """

    bucket: str
    prefix: str = "zlayer/blobs/"
    region: str = "us-east-1"
    endpoint: str = ""
    path_style: bool | None = None
    credentials_file: str = ""
    profile: str = "default"
    ca: str = ""
    insecure: bool = False
    connect_timeout: float = 3.0
    stall_timeout: float = 10.0
    pause: float = 60.0
    """How long a bucket that failed is not asked by pulls; longer for what waits to be put into it."""
    upload: bool = True
    """False: it is only read."""
    limit_rate: int = 0
    """Bytes a second that go up; 0: no limit."""

    @property
    def url(self) -> SplitResult:
        return urlsplit(self.endpoint or f"https://s3.{self.region}.amazonaws.com")

    @property
    def by_path(self) -> bool:
        return bool(self.endpoint) if self.path_style is None else self.path_style

    @property
    def host(self) -> str:
        """`HOST[:PORT]` that requests go to."""
        return self.url.netloc if self.by_path else f"{self.bucket}.{self.url.netloc}"

    @property
    def name(self) -> str:
        """For people."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def mark(self) -> str:
        """Tells buckets apart on this node's disk."""
        place = f"{self.url.scheme}://{self.url.netloc}/{self.bucket}/{self.prefix}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    def key(self, digest: str) -> str:
        """Where a blob is in the bucket: its digest, with a slash where it has a colon."""
        return self.prefix + digest.replace(":", "/")


def read(table: Any, environ: Mapping[str, str], here: Path) -> tuple[S3Settings | None, list[Problem]]:
    """The settings, or None without a bucket, and what is wrong. Relative files start at `here`. Any: TOML values."""
    settings, problems = _read(table, environ, here)
    match environ.get(CACHE, _BOTH):
        case kind if kind in _DISK:
            return None, problems
        case "s3":
            if CACHE in environ and settings is None and not problems:
                problems.append(Problem("s3 needs a bucket: give ZLAYER_S3_BUCKET or [image.s3]", path=CACHE))
        case "memory":
            why = "layers live on disk: for memory, put the data directory on a tmpfs"
            problems.append(Problem(f"no cache type memory: {why}", path=CACHE, suggestion="disk"))
        case kind:
            near = next(iter(get_close_matches(kind, [*_DISK, _BOTH], n=1)), "")
            problems.append(Problem(f"unknown cache type {kind!r}: disk or s3", path=CACHE, suggestion=near))
    return settings, problems


def _read(table: Any, environ: Mapping[str, str], here: Path) -> tuple[S3Settings | None, list[Problem]]:
    if not isinstance(table, Mapping):
        return None, [Problem("must be a table", path=TABLE)]
    reader = _Reader(here)
    values = reader.spoken(environ) | reader.typed({k: v for k, v in table.items() if k not in _spoken_keys(environ)})
    if not table and not values:
        return None, reader.problems
    if "bucket" not in values:
        if not any(problem.path == f"{TABLE}.bucket" for problem in reader.problems):
            reader.wrong("bucket", "the key 'bucket' is missing")
        values["bucket"] = "missing"
    settings = S3Settings(**values)
    if settings.prefix and not settings.prefix.endswith("/"):
        settings = replace(settings, prefix=settings.prefix + "/")
    reader.check(settings)
    return (None if reader.problems else settings), reader.problems


def _spoken_keys(environ: Mapping[str, str]) -> set[str]:
    return {key for variable, key in VARIABLES.items() if variable in environ}


class _Reader:
    def __init__(self, here: Path) -> None:
        self.problems: list[Problem] = []
        self._here = here

    def wrong(self, key: str, message: str, suggestion: str = "") -> None:
        self.problems.append(Problem(message, path=f"{TABLE}.{key}", suggestion=suggestion))

    def spoken(self, environ: Mapping[str, str]) -> dict[str, Any]:  # Any: values of several types
        values: dict[str, Any] = {key: environ[var] for var, key in VARIABLES.items() if var in environ}
        if "path_style" in values:
            spoken = _SPOKEN.get(values["path_style"].lower())
            if spoken is None:
                self.wrong("path_style", f"ZLAYER_S3_PATH_STYLE must be true or false, not {values['path_style']!r}")
            values["path_style"] = spoken
        return values

    def typed(self, table: Mapping[str, Any]) -> dict[str, Any]:  # Any: TOML values
        """The known keys with values of their types; files as absolute paths."""
        kinds = {one.name: str(one.type) for one in fields(S3Settings)}
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in kinds:
                near = next(iter(get_close_matches(key, kinds, n=1)), "")
                self.wrong(key, f"unknown key {key!r}", near)
            elif problem := _type_problem(kinds[key], value):
                self.wrong(key, problem)
            else:
                file = key in ("credentials_file", "ca") and value
                values[key] = str(self._here / Path(value).expanduser()) if file else value
        return values

    def check(self, settings: S3Settings) -> None:
        if not _BUCKET.fullmatch(settings.bucket) or ".." in settings.bucket:
            self.wrong("bucket", f"{settings.bucket!r} is no bucket's name: 3 to 63 of a-z, 0-9, '-' and '.'")
        if not _REGION.fullmatch(settings.region):
            self.wrong("region", f"{settings.region!r} is no region: write it as in eu-central-1")
        parts = settings.prefix.split("/")
        if not _PREFIX.fullmatch(settings.prefix) or {".", ".."} & set(parts) or "" in parts[:-1]:
            self.wrong(
                "prefix", f"{settings.prefix!r} is no prefix: letters, digits and !_.*'()- between single slashes"
            )
        self._check_endpoint(settings)
        if settings.ca and not Path(settings.ca).is_file():
            self.wrong("ca", f"no such file: {settings.ca}")
        from zlayer.image.s3.keys import file_problem  # workers get settings too, and need not load its parser

        if settings.credentials_file and (problem := file_problem(Path(settings.credentials_file), settings.profile)):
            self.wrong("credentials_file", problem)

    def _check_endpoint(self, settings: S3Settings) -> None:
        try:
            url, port = settings.url, settings.url.port
        except ValueError:
            url, port = urlsplit(""), None
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query or port == 0:
            self.wrong("endpoint", f"{settings.endpoint!r} is no endpoint: write https://HOST[:PORT]")
            return
        if url.username is not None:
            self.wrong("endpoint", "keys do not belong into the endpoint: see credentials_file")
        if url.scheme == "http" and not (settings.insecure or _is_loopback(url.hostname)):
            self.wrong("endpoint", "plain HTTP leaves this machine: use https://, or set insecure = true")
        if settings.by_path:
            return
        if _is_address(url.hostname):
            self.wrong("path_style", "an address has no names below it: set path_style = true")
        elif "." in settings.bucket and url.scheme == "https" and not settings.insecure:
            self.wrong("path_style", "no certificate covers a bucket with dots in its name: set path_style = true")


def _type_problem(kind: str, value: Any) -> str:  # Any: a TOML value
    if kind == "str":
        return "" if isinstance(value, str) else f"must be text, not {value!r}"
    if kind.startswith("bool"):
        return "" if isinstance(value, bool) else f"must be true or false, not {value!r}"
    if kind == "int":
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return "" if good else "must be a whole number of bytes a second, 0 for no limit"
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 86400
    return "" if good else "must be a number of seconds above 0, and at most a day"


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
