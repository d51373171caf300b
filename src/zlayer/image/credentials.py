"""Which user name, password or token goes to a registry: the sources other container tools keep, in their order.

Order: ZLayer's own settings; what `zlayer login` was given; `$REGISTRY_AUTH_FILE`;
`$XDG_RUNTIME_DIR/containers/auth.json`; `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. In a file,
`credHelpers`, then `auths`, then `credsStore`.
Formats: docker/cli config file and docker-credential-helpers protocol; containers-auth.json(5).
Secrets never appear in a repr or an error.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zlayer.image.reference import DOCKER_HUB
from zlayer.image.settings import RegistryHost
from zlayer.model.errors import Denied, Invalid

HUB_KEY = "https://index.docker.io/v1/"
HELPER_DEADLINE = 30.0
_REFRESH_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Credential:
    """What to send. Either a user name and password, an `identity_token` (OAuth2 refresh), or a ready bearer token."""

    source: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """The first credential that fits, or None, and the sources looked at, for the hint of a `Denied`."""

    credential: Credential | None
    tried: tuple[str, ...]


def find(domain: str, path: str, host: RegistryHost, environ: Mapping[str, str], own: str = "") -> Found:
    """The credential for a repository; `own` is the file of `zlayer login`.

    Errors: `Denied` (a helper failed), `Invalid` (a config file is broken).
    """
    tried = ["settings"]
    if host.username:
        return Found(_own(domain, host), tuple(tried))
    for file in (*([Path(own)] if own else []), *_files(environ)):
        if not file.is_file():
            continue
        tried.append(str(file))
        config = _load(file)
        for credential in _in_file(config, domain, path, file, environ):
            return Found(credential, tuple(tried))
    return Found(None, tuple(tried))


def _own(domain: str, host: RegistryHost) -> Credential:
    password = host.password
    if host.password_file:
        try:
            password = Path(host.password_file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as fault:
            raise Denied(
                f"cannot read the password file of registry {domain}: {host.password_file}",
                hint="make the file readable for the daemon, or mend password_file",
            ) from fault
    return Credential(source="settings", username=host.username, password=password)


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    if given := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(given)
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers", "auth.json")
    if home := environ.get("DOCKER_CONFIG"):
        yield Path(home, "config.json")
    elif home := environ.get("HOME"):
        yield Path(home, ".docker", "config.json")


def _load(file: Path) -> dict[str, Any]:  # Any: a JSON document
    try:
        config = json.loads(file.read_bytes())
    except PermissionError as fault:
        raise Denied(f"cannot read {file}", hint="make the file readable for the daemon") from fault
    except (OSError, ValueError, RecursionError) as fault:
        raise Invalid(f"{file} is not valid JSON", hint="log in again with your container tool") from fault
    return config if isinstance(config, dict) else {}


def _in_file(
    config: dict[str, Any], domain: str, path: str, file: Path, environ: Mapping[str, str]
) -> Iterator[Credential]:
    """Credentials of one file, best first. Any: a JSON document."""
    helpers = _dict(config.get("credHelpers"))
    for key in _keys(domain, path):
        if key in helpers and (credential := _ask_helper(str(helpers[key]), key, environ)):
            yield credential
    auths = {_bare(name): entry for name, entry in _dict(config.get("auths")).items()}
    for key in _keys(domain, path):
        if credential := _entry(auths.get(_bare(key)), file):
            yield credential
    if store := config.get("credsStore"):
        asked = HUB_KEY if domain == DOCKER_HUB else domain
        if credential := _ask_helper(str(store), asked, environ):
            yield credential


def _keys(domain: str, path: str) -> Iterator[str]:
    """Keys that may name a repository, longest first: `host/a/b`, `host/a`, `host` (containers-auth.json(5))."""
    parts = path.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([domain, *parts[:count]])
    yield domain
    if domain == DOCKER_HUB:
        yield HUB_KEY
        yield "index.docker.io"


def _bare(key: str) -> str:
    """docker writes keys as `host`, `https://host` or `https://host/v1/`; all mean the host."""
    key = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return key.removesuffix("/v1").removesuffix("/v2")


def _dict(value: Any) -> dict[str, Any]:  # Any: JSON
    return value if isinstance(value, dict) else {}


def _entry(entry: Any, file: Path) -> Credential | None:  # Any: JSON
    entry = _dict(entry)
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if encoded := entry.get("auth"):
        try:
            text = base64.b64decode(str(encoded), validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError) as fault:
            raise Invalid(
                f"{file} holds an unreadable auth entry", hint="log in again with your container tool"
            ) from fault
        username, _, password = text.partition(":")
    credential = Credential(
        source=str(file),
        username=username,
        password=password,
        identity_token=str(entry.get("identitytoken") or ""),
        registry_token=str(entry.get("registrytoken") or ""),
    )
    empty = not (username or credential.identity_token or credential.registry_token)
    return None if empty else credential


def _ask_helper(name: str, server: str, environ: Mapping[str, str]) -> Credential | None:
    """Ask `docker-credential-NAME get`; the server goes in by stdin, the answer is JSON with Username and Secret."""
    program = f"docker-credential-{name}"
    hint = f"run `echo {server} | {program} get` by hand, or remove it from the config file"
    if "/" in name:
        raise Invalid(f"credential helper {name!r} is not a plain name", hint="mend the config file")
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=HELPER_DEADLINE,
            env=dict(environ), check=False,
        )  # fmt: skip
    except FileNotFoundError as fault:
        raise Denied(f"credential helper {program} is not installed", hint=hint) from fault
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Denied(f"credential helper {program} did not answer", hint=hint) from fault
    if done.returncode != 0:
        # The protocol tells "nothing stored" by this text on stdout; anything else is a real fault.
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        raise Denied(f"credential helper {program} failed with code {done.returncode}", hint=hint)
    try:
        answer = _dict(json.loads(done.stdout))
    except ValueError as fault:
        raise Denied(f"credential helper {program} did not answer with JSON", hint=hint) from fault
    username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    if username == _REFRESH_USER:
        return Credential(source=program, identity_token=secret)
    return Credential(source=program, username=username, password=secret) if secret else None
