"""What passes between the daemon and an image worker that looks for signatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zlayer.image.settings import RegistrySettings
from zlayer.image.trust_rules import Rule


@dataclass(frozen=True, slots=True)
class TrustOrder:
    """Look for what `rule` takes. Without `digests`, of what the registry has under the reference for `platform`."""

    reference: str
    digests: tuple[str, ...]
    platform: str | None
    rule: Rule
    settings: RegistrySettings

    def document(self) -> dict[str, Any]:  # Any: a JSON document
        return {
            "job": "trust",
            "reference": self.reference,
            "digests": list(self.digests),
            "platform": self.platform,
            "rule": self.rule.document(),
            "settings": self.settings.document(),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> TrustOrder:
        return cls(
            document["reference"], tuple(document["digests"]), document["platform"],
            Rule.of_document(document["rule"]), RegistrySettings.of_document(document["settings"]),
        )  # fmt: skip
