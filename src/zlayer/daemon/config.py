"""`config.toml` of a data directory: read whole, checked whole, every problem told at once with its line.

Keys (all optional): `default_registry`; `[daemon] bind group node_name runtime log_level log_format tls_cert tls_key`;
`[network] subnet ipv6`; `[acme] email agree directory ca_file
dns_hook eab_kid eab_key_file preferred_chain challenge http_port
tls_port`; `[registries."HOST[:PORT]"]` and `[pull]` as
`image.settings` has them; `[[image.policy]]` as `image.trust_config` has it; `[image.s3]` as `image.s3.settings` has
it, with the variables that win over it.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zlayer.daemon.listen import Bind, parse_bind
from zlayer.image.rootfs import DRIVERS as ROOTFS
from zlayer.image.s3.settings import S3Settings
from zlayer.image.s3.settings import read as read_s3
from zlayer.image.settings import RegistrySettings
from zlayer.image.trust_config import read_rules
from zlayer.image.trust_rules import Rule
from zlayer.model.certificate import LETSENCRYPT, STAGING, AcmeSettings, Way
from zlayer.model.errors import Invalid, Problem
from zlayer.model.secret import Secret

RUNTIMES = ("auto", "crun", "runc", "youki")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "text")
ACME: Mapping[str, type] = {
    **dict.fromkeys(("email", "directory", "ca_file", "dns_hook", "eab_kid", "eab_key_file", "preferred_chain"), str),
    "agree": bool,
    "challenge": str,
    "http_port": int,
    "tls_port": int,
}
CHALLENGES: Mapping[str, Way] = {"http-01": "http-01", "tls-alpn-01": "tls-alpn-01"}
DIRECTORIES = {"production": LETSENCRYPT, "staging": STAGING}
"""Words for the directories of Let's Encrypt; anything else is a URL."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one daemon; None means "decide at start" (the bind, the node's name, the subnet)."""

    bind: Bind | None = None
    group: str | None = None
    node_name: str | None = None
    runtime: str = "auto"
    rootfs: str = "auto"
    log_level: str = "info"
    log_format: str = "json"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    subnet: str | None = None
    ipv6: bool = True
    acme: AcmeSettings | None = None
    acme_port: int = 80
    """Where names are proved by http-01; a CA asks on port 80, so another one is for tests and port forwards."""
    acme_tls_port: int = 443
    """The same for tls-alpn-01, which a CA asks for on port 443."""
    registries: RegistrySettings = field(default_factory=RegistrySettings)
    rules: tuple[Rule, ...] = ()
    """Which images may run."""


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration at `path`; defaults when there is no such file. Raises `Invalid` with every problem.

    `environ`, or else this process's environment, may name the bucket of the S3 tier.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}", problems=(Problem(str(error), file=str(path)),)) from None
    return parse(text, file=str(path), environ=os.environ if environ is None else environ)


def parse(text: str, *, file: str, environ: Mapping[str, str] = MappingProxyType({})) -> Config:
    """As `load`, from text. Relative paths in it are taken from the file's own directory."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(found[1]), int(found[2])) if found else (0, 0)
        words = re.sub(r" \(at .*\)$", "", str(error))
        problem = Problem(words, file=file, line=line, column=column)
        raise Invalid(str(problem), problems=(problem,)) from None
    reader = _Reader(file, _lines(text), environ)
    config = reader.config(document)
    if reader.problems:
        count = len(reader.problems)
        raise Invalid(
            str(reader.problems[0]) if count == 1 else f"{count} problems in {file}",
            hint="see docs/reference-api.md for every key of config.toml",
            problems=tuple(reader.problems),
        )
    return config


def _lines(text: str) -> dict[str, int]:
    """Line of each table and key, by dotted path: what tomllib does not tell. Good enough to point a person there."""
    found: dict[str, int] = {}
    table = ""
    repeated: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*(\[+)\s*(.+?)\s*\]+\s*(#.*)?$", line):
            table = _unquoted(header[2])
            if header[1] == "[[":
                found.setdefault(table, number)
                repeated[table] = repeated.get(table, -1) + 1
                table = f"{table}.{repeated[table]}"
            found.setdefault(table, number)
        elif key := re.match(r"""\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=""", line):
            path = _unquoted(key[1])
            found.setdefault(f"{table}.{path}" if table else path, number)
    return found


def _unquoted(path: str) -> str:
    return ".".join(part.strip("\"' ") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", path))


def _subnet(value: str) -> str:
    network = ipaddress.IPv4Network(value)
    if network.prefixlen > 29:
        raise ValueError(f"{value} has room for fewer than 5 containers")
    return value


def _choice(*allowed: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, 1)
            mend = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{value!r} is none of {', '.join(allowed)}{mend}")
        return value

    return check


class _Reader:
    """Walks the document once, collecting problems instead of stopping at the first."""

    def __init__(self, file: str, lines: Mapping[str, int], environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = lines
        self._environ = environ
        self._here = Path(file).parent

    def config(self, document: Mapping[str, Any]) -> Config:  # Any: TOML values of any type
        tables = dict.fromkeys(("daemon", "network", "acme", "registries", "pull", "image"), dict)
        top = self._table(document, "", {"default_registry": str, **tables})
        texts = ("bind", "group", "node_name", "runtime", "rootfs", "log_level", "log_format", "tls_cert", "tls_key")
        daemon = self._table(top.get("daemon", {}), "daemon", dict.fromkeys(texts, str))
        network = self._table(top.get("network", {}), "network", {"subnet": str, "ipv6": bool})
        if ("tls_cert" in daemon) != ("tls_key" in daemon):
            self._problem("daemon", "tls_cert and tls_key belong together: give both or neither")
        return Config(
            bind=self._value(daemon, "daemon.bind", parse_bind, None),
            group=daemon.get("group"),
            node_name=daemon.get("node_name"),
            runtime=self._value(daemon, "daemon.runtime", _choice(*RUNTIMES), "auto"),
            rootfs=self._value(daemon, "daemon.rootfs", _choice(*ROOTFS), "auto"),
            log_level=self._value(daemon, "daemon.log_level", _choice(*LOG_LEVELS), "info"),
            log_format=self._value(daemon, "daemon.log_format", _choice(*LOG_FORMATS), "json"),
            tls_cert=self._file_at(daemon, "daemon.tls_cert"),
            tls_key=self._file_at(daemon, "daemon.tls_key"),
            subnet=self._value(network, "network.subnet", _subnet, None),
            ipv6=network.get("ipv6", True),
            acme=self._acme(top),
            acme_port=self._table(top.get("acme", {}), "acme", ACME).get("http_port", 80),
            acme_tls_port=self._table(top.get("acme", {}), "acme", ACME).get("tls_port", 443),
            registries=replace(self._registries(top), s3=self._s3(top)),
            rules=self._rules(top),
        )

    def _acme(self, top: Mapping[str, Any]) -> AcmeSettings | None:
        """None without `[acme]`. The terms of service are the user's to agree to."""
        if "acme" not in top:
            return None
        given = self._table(top["acme"], "acme", ACME)
        before = len(self.problems)
        if not given.get("email"):
            self._problem("acme", "the key 'email' is missing: whom the CA tells about trouble")
        if given.get("agree") is not True:
            self._problem("acme.agree", "agree = true says that you agree to the CA's terms of service")
        directory = DIRECTORIES.get(given.get("directory", ""), given.get("directory", LETSENCRYPT))
        if not directory.startswith("https://"):
            self._problem("acme.directory", f"wants {', '.join(DIRECTORIES)} or an https:// URL, not {directory!r}")
        self._proving(given)
        if ("eab_kid" in given) != ("eab_key_file" in given):
            self._problem("acme", "eab_kid and eab_key_file belong together: give both or neither")
        key_file, hook = self._file_at(given, "acme.eab_key_file"), self._file_at(given, "acme.dns_hook")
        ca_file = self._file_at(given, "acme.ca_file")
        if hook is not None and not os.access(hook, os.X_OK):
            self._problem("acme.dns_hook", f"{hook} cannot be run: chmod +x")
        if len(self.problems) > before:
            return None
        return AcmeSettings(
            email=given["email"],
            directory=directory,
            ca_file=ca_file,
            challenge=CHALLENGES[given.get("challenge", "http-01")],
            dns_hook=hook,
            eab_kid=given.get("eab_kid", ""),
            eab_key=Secret(key_file.read_text().strip() if key_file is not None else ""),
            preferred_chain=given.get("preferred_chain", ""),
        )

    def _proving(self, given: Mapping[str, Any]) -> None:
        """How and where names are proved."""
        chosen, ports = given.get("challenge", "http-01"), (given.get("http_port", 80), given.get("tls_port", 443))
        if chosen == "dns-01":
            hint = "dns-01 is used for wildcards by itself, where dns_hook is set"
            self._problem("acme.challenge", f"wants {' or '.join(CHALLENGES)}, not 'dns-01'", hint)
        elif chosen not in CHALLENGES:
            near = difflib.get_close_matches(chosen, CHALLENGES, n=1)
            self._problem("acme.challenge", f"wants {' or '.join(CHALLENGES)}, not {chosen!r}", *near)
        for key, port in zip(("http_port", "tls_port"), ports, strict=True):
            if not 1 <= port <= 65535:
                self._problem(f"acme.{key}", "wants a port from 1 to 65535")
        if ports[0] == ports[1]:
            self._problem("acme.tls_port", f"http_port is {ports[0]} too: they cannot be one port")
        if "tls_port" in given and chosen == "http-01":
            self._problem("acme.tls_port", 'is for challenge = "tls-alpn-01"')

    def _registries(self, top: Mapping[str, Any]) -> RegistrySettings:
        try:
            return RegistrySettings.from_config(top, file=self._file)
        except Invalid as error:
            for problem in error.problems:
                self._problem(_unquoted(problem.path), problem.message, problem.suggestion)
            return RegistrySettings()

    def _s3(self, top: Mapping[str, Any]) -> S3Settings | None:
        settings, problems = read_s3(top.get("image", {}).get("s3", {}), self._environ, self._here)
        for problem in problems:
            self._problem(problem.path, problem.message, problem.suggestion)
        return settings

    def _rules(self, top: Mapping[str, Any]) -> tuple[Rule, ...]:
        rules, problems = read_rules(top.get("image", {}), self._here)
        for problem in problems:
            self._problem(problem.path, problem.message, problem.suggestion)
        lines = (self._lines.get(f"image.policy.{at}", self._line("image.policy")) for at in range(len(rules)))
        return tuple(replace(rule, file=self._file, line=line) for rule, line in zip(rules, lines, strict=True))

    def _table(self, table: Mapping[str, Any], path: str, keys: Mapping[str, type]) -> dict[str, Any]:
        """The known keys of the right type; a problem for every other one."""
        good: dict[str, Any] = {}
        for key, value in table.items():
            where = f"{path}.{key}" if path else key
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                self._problem(where, f"unknown key {key!r}", near[0] if near else "")
            elif not isinstance(value, keys[key]):
                self._problem(where, f"wants {_NAMES[keys[key]]}, not {value!r}")
            else:
                good[key] = value
        return good

    def _value(self, table: Mapping[str, Any], path: str, check: Callable[[str], Any], default: Any) -> Any:
        key = path.rpartition(".")[2]
        if key not in table:
            return default
        try:
            return check(table[key])
        except Invalid as error:
            self._problem(path, error.message)
        except ValueError as error:
            self._problem(path, str(error))
        return default

    def _file_at(self, table: Mapping[str, Any], path: str) -> Path | None:
        key = path.rpartition(".")[2]
        if key not in table:
            return None
        file = self._here / Path(table[key]).expanduser()
        if not file.is_file():
            self._problem(path, f"no such file: {file}")
        return file

    def _problem(self, path: str, message: str, suggestion: str = "") -> None:
        line = self._line(path)
        self.problems.append(
            Problem(message, path=path, file=self._file, line=line, column=1 if line else 0, suggestion=suggestion)
        )

    def _line(self, path: str) -> int:
        """Of the key, or of the table that lacks it; 0 when neither stands anywhere."""
        while path and path not in self._lines:
            path = path.rpartition(".")[0]
        return self._lines.get(path, 0)


_NAMES: dict[type, str] = {str: "text", dict: "a table", bool: "true or false", int: "a whole number"}
