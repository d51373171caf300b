"""What passes between the daemon and an image worker: the order and its outcome.

Light on purpose: the daemon loads this, and never the HTTP client and decompressors its workers use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zlayer.image.settings import RegistrySettings

if TYPE_CHECKING:
    from zlayer.image.trust_rules import Rule


@dataclass(frozen=True, slots=True)
class PullOrder:
    """What to pull where. `known`: digests of the local image; when the registry still says so, nothing is done.

    `resolve_only`: nothing is pulled, only the digest the registry serves is asked for.
    """

    root: Path
    reference: str
    platform: str | None
    settings: RegistrySettings
    known: tuple[str, ...] = ()
    resolve_only: bool = False
    packed: bool = False
    """Compressed layers that are not here any more are wanted too, though their layers are unpacked."""
    offline: bool = False
    """Everything is here already, and only unpacked; what is not is an error."""
    rule: Rule | None = None
    """A policy that wants a signature: looked for before anything of the image but its manifest is fetched."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The outcome, as it goes back to the daemon. `unchanged`: the local image is what the registry has."""

    digest: str = ""
    index_digest: str = ""
    media_type: str = ""
    platform: str = ""
    size: int = 0
    layers: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None  # Any: a JSON document
    unchanged: bool = False
    proof: Mapping[str, Any] | None = None
    """The `trust_proof.Proof` the order's rule took."""


def order_document(order: PullOrder) -> dict[str, Any]:  # Any: a JSON document
    """What goes into stdin for an order."""
    return {
        "job": "pull",
        "root": str(order.root),
        "reference": order.reference,
        "platform": order.platform,
        "settings": order.settings.document(),
        "known": list(order.known),
        "resolve_only": order.resolve_only,
        "packed": order.packed,
        "offline": order.offline,
        "rule": order.rule.document() if order.rule else None,
    }


def read_order(document: Mapping[str, Any]) -> PullOrder:
    return PullOrder(
        root=Path(document["root"]),
        reference=document["reference"],
        platform=document["platform"],
        settings=RegistrySettings.of_document(document["settings"]),
        known=tuple(document["known"]),
        resolve_only=document["resolve_only"],
        packed=document["packed"],
        offline=document["offline"],
        rule=_rule(document["rule"]) if document["rule"] else None,
    )


def _rule(document: Mapping[str, Any]) -> Rule:
    from zlayer.image.trust_rules import Rule

    return Rule.of_document(document)
