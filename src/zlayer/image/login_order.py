"""What passes between the daemon and an image worker that tries a login."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zlayer.image.settings import RegistrySettings


@dataclass(frozen=True, slots=True)
class LoginOrder:
    domain: str
    username: str
    password: str = field(repr=False)
    settings: RegistrySettings = field(repr=False)

    def document(self) -> dict[str, Any]:  # Any: a JSON document
        return {
            "job": "login", "domain": self.domain, "username": self.username, "password": self.password,
            "settings": self.settings.document(),
        }  # fmt: skip

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> LoginOrder:
        settings = RegistrySettings.of_document(document["settings"])
        return cls(document["domain"], document["username"], document["password"], settings)
