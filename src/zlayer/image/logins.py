"""What `zlayer login` was given, in one file of docker's config format that only its owner may read."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zlayer.image.blobs import disk_error, sync_directory
from zlayer.image.reference import parse
from zlayer.model.errors import Invalid, NotFound, ZlayerError

Json = dict[str, Any]  # Any: a JSON document


def domain_of(registry: str) -> str:
    """The name references use for a registry, however a person writes it. Errors: `Invalid`."""
    text = registry.removeprefix("https://").removeprefix("http://").rstrip("/").removesuffix("/v1").removesuffix("/v2")
    try:
        reference = parse(f"{text}/login")
    except ZlayerError:
        reference = None
    given = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}.get(text, text)
    if reference is None or reference.domain != given:
        raise Invalid(f"{registry!r} is not a registry", hint="write HOST or HOST:PORT, such as ghcr.io")
    return reference.domain


class Logins:
    """The logins below one file. Blocks; not for threads."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def list(self) -> Mapping[str, str]:
        """User names by registry."""
        return {name: _user(entry) for name, entry in sorted(self._auths().items())}

    def put(self, domain: str, username: str, password: str) -> None:
        """Durable when this returns. Errors: `Exhausted`, `Failed`."""
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._write({**self._auths(), domain: {"auth": pair}})

    def drop(self, domain: str) -> None:
        """Errors: `NotFound` when nobody is logged in there."""
        auths = self._auths()
        if domain not in auths:
            known = ", ".join(sorted(auths)) or "none"
            raise NotFound(f"not logged in to {domain}", hint=f"logins of this daemon: {known}")
        del auths[domain]
        self._write(auths)

    def _auths(self) -> Json:
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as fault:
            raise Invalid(f"{self._file} is not readable JSON", hint="delete it and log in again") from fault
        auths = found.get("auths") if isinstance(found, dict) else None
        return dict(auths) if isinstance(auths, dict) else {}

    def _write(self, auths: Json) -> None:
        temporary = self._file.with_name(f".{self._file.name}-{secrets.token_hex(6)}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"auths": auths}, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._file)
            sync_directory(self._file.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise disk_error(error, self._file) from error


def _user(entry: object) -> str:
    auth = entry.get("auth") if isinstance(entry, dict) else None
    try:
        return base64.b64decode(str(auth or "")).decode().partition(":")[0]
    except ValueError:
        return ""
