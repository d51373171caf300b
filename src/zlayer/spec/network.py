"""`network_mode` and `network`: whose network a service has, and what of others it may reach."""

from __future__ import annotations

import re

from zlayer.spec.nodes import Listing, Node, Scalar, Table, kind, shorten
from zlayer.spec.records import Field, ListOf, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Json, Text
from zlayer.spec.syntax import DEPLOYMENT_PATTERN, check_deployment
from zlayer.spec.traffic import NetworkSpec

SHARED = "container:"
_WORDS = {"default": "bridge", "bridge": "bridge", "host": "host", "none": "none"}
_PAYLOADS = ("container", "bridge", "service")
_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}"
INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*-[0-9]+-[a-z2-7]{8}")
"""What ids of instances look like: deployment, service, slot, eight letters (`plan.naming`)."""


def shares(mode: str) -> str:
    """The ID of `container:ID`, empty for every other mode."""
    return mode.removeprefix(SHARED) if mode.startswith(SHARED) else ""


class NetworkMode:
    """A word, or `container:ID`, also as `{container: {id: ID}}` and `!container ID`."""

    about = "Its own address on the deployment's network (default), the host's network, none, or another container's."

    def read(self, node: Node, at: At) -> str | None:
        if node.tag:
            return self._payload(node.tag.removeprefix("!"), node, at)
        if isinstance(node, Table) and len(node.entries) == 1:
            name = next(iter(node.entries))
            return self._payload(name, node.entries[name][1], at / name)
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            at.refuse(node, f"expected one of {', '.join(_WORDS)} or container:ID, not {kind(node)}", kind="WrongType")
            return None
        if node.text in _WORDS:
            return _WORDS[node.text]
        name, colon, text = node.text.partition(":")
        if colon or name in _PAYLOADS:
            return self._payload(name, Scalar(node.line, node.column, text, text), at)
        self._unknown(name, node, at)
        return None

    def _payload(self, name: str, node: Node, at: At) -> str | None:
        if name == "bridge":
            at.not_yet(node, "network_mode: bridge with a name")
            return None
        found = _id(node)
        if name == "service":
            message = "a service's network is shared as container:SERVICE"
            at.refuse(node, message, suggestion=f"{SHARED}{found}" if found else "")
            return None
        if name != "container":
            self._unknown(name, node, at)
            return None
        if not re.fullmatch(_ID, found):
            at.refuse(node, "container: needs the name of a service here, or the id of an instance", kind="InvalidName")
            return None
        return SHARED + found

    def _unknown(self, name: str, node: Node, at: At) -> None:
        at.unknown(node, "network_mode", name, (*_WORDS, "container:ID"))

    def schema(self) -> Json:
        shared: Json = {"type": "string", "pattern": f"^{SHARED}{_ID}$"}
        inner: Json = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"id": {"type": "string"}}}]}
        table: Json = {
            "type": "object", "properties": {"container": inner}, "required": ["container"],
            "additionalProperties": False,
        }  # fmt: skip
        return {"anyOf": [{"enum": list(_WORDS)}, shared, table], "description": self.about}


def _id(node: Node) -> str:
    """The payload as text: a scalar, or `{id: …}`."""
    if isinstance(node, Table) and list(node.entries) == ["id"]:
        node = node.entries["id"][1]
    return node.text if isinstance(node, Scalar) and node.value is not None else ""


def _twice(items: tuple[tuple[int, str], ...], found: Listing, at: At) -> None:
    seen: set[str] = set()
    for i, name in items:
        if name in seen:
            (at / i).refuse(found.items[i], f"{shorten(name)!r} is named twice", kind="Conflict")
        seen.add(name)


NETWORK_MODE = NetworkMode()
NETWORK = Record(
    NetworkSpec,
    {
        "reach": Field(
            ListOf(
                Text("A deployment.", check_deployment, DEPLOYMENT_PATTERN),
                "Other deployments whose services it may open connections to. Default: none.",
                _twice,
            )
        )
    },
    "What of other deployments it may reach.",
    later={"overlays": None, "join": None},
    synonyms={"allow": "reach", "deployments": "reach", "egress": "reach", "connects": "reach", "overlay": "overlays"},
)
