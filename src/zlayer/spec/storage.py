"""`storage` and `devices`: what of the host a container sees."""

from __future__ import annotations

from typing import Any

from zlayer.spec.model import AnonymousSpec, BindSpec, DeviceSpec, NamedSpec, StorageSpec, TmpfsSpec
from zlayer.spec.nodes import Listing, Node, Table
from zlayer.spec.records import Field, ListOf, Record, table
from zlayer.spec.report import At
from zlayer.spec.shapes import Choice, Flag, Json, Number, Quantity, Text
from zlayer.spec.syntax import VOLUME_PATTERN, check_absolute, check_source, check_target, check_volume
from zlayer.spec.units import MEMORY_PATTERN, parse_memory

TYPES = ("bind", "named", "anonymous", "tmpfs")


def memory(about: str) -> Quantity:
    written: Json = {
        "anyOf": [{"type": "string", "pattern": MEMORY_PATTERN}, {"type": "number", "exclusiveMinimum": 0}]
    }
    return Quantity(about, parse_memory, written, "a size such as 512Mi")


_TARGET = Field(Text("Absolute path in the container.", check_target, "^/."), required=True)
_READONLY = Field(Flag("Default false."))
_TIER = Field(Choice("Where it is kept. Only `local` so far.", ("local",), ("cached", "network")))
_SYNONYMS = {
    "path": "target", "mount": "target", "destination": "target", "dest": "target", "src": "source",
    "host_path": "source", "read_only": "readonly", "ro": "readonly", "volume": "name",
}  # fmt: skip


_WORDS = {"volume": "named", "mount": "bind", "host": "bind", "memory": "tmpfs", "emptyDir": "anonymous"}


def _type(name: str) -> Field:
    return Field(Choice("", (name,)), required=True)


_KINDS: dict[str, Record[Any]] = {
    "bind": Record(
        BindSpec,
        {
            "type": _type("bind"),
            "source": Field(Text("Host path; relative to this file.", check_source, empty=False), required=True),
            "target": _TARGET,
            "readonly": _READONLY,
        },
        "A host directory or file.",
        synonyms=_SYNONYMS,
    ),
    "named": Record(
        NamedSpec,
        {
            "type": _type("named"),
            "name": Field(Text("Shared by all that name it.", check_volume, VOLUME_PATTERN), required=True),
            "target": _TARGET,
            "readonly": _READONLY,
            "tier": _TIER,
        },
        "A volume that outlives the deployment.",
        later={"size": memory("")},
        synonyms=_SYNONYMS,
    ),
    "anonymous": Record(
        AnonymousSpec,
        {"type": _type("anonymous"), "target": _TARGET, "tier": _TIER},
        "A volume that ends with its instance.",
        later={"size": memory("")},
        synonyms=_SYNONYMS,
    ),
    "tmpfs": Record(
        TmpfsSpec,
        {
            "type": _type("tmpfs"),
            "target": _TARGET,
            "size": Field(memory("At most so much memory.")),
            "mode": Field(Number("Permission bits, as 0o1777 or 1023.", 0, 0o7777)),
        },
        "Kept in memory.",
        synonyms=_SYNONYMS,
    ),
}


class Mount:
    """One entry of `storage`, told apart by `type`."""

    def read(self, node: Node, at: At) -> StorageSpec | None:
        found = table(node, at, "a map with 'type'")
        if found is None:
            return None
        tag = found.get("type")
        if tag is None:
            at.refuse(found, "the key 'type' is missing: bind, named, anonymous or tmpfs", kind="MissingKey")
            return None
        name = Choice("", TYPES, ("s3",), _WORDS).read(tag, at / "type")
        if name is None:
            return None
        made: StorageSpec | None = _KINDS[name].read(found, at)
        return made

    def schema(self) -> Json:
        return {"oneOf": [record.schema() for record in _KINDS.values()]}


def _distinct(items: tuple[tuple[int, StorageSpec], ...], found: Listing, at: At) -> None:
    targets: dict[str, int] = {}
    for i, item in items:
        if item.target in targets:
            message = f"{item.target} is mounted twice: entry {targets[item.target] + 1} has it too"
            (at / i).refuse(found.items[i], message, kind="DuplicateMount")
        targets.setdefault(item.target, i)


STORAGE: ListOf[StorageSpec] = ListOf(Mount(), "What is mounted into the container.", _distinct)


def _access(made: DeviceSpec, found: Table, at: At) -> None:
    if not (made.read or made.write or made.mknod):
        at.refuse(found, "a device without read, write and mknod is no use")


_DEVICE: Record[DeviceSpec] = Record(
    DeviceSpec,
    {
        "path": Field(Text("Device node on the host.", check_absolute, "^/"), required=True),
        "read": Field(Flag("Default true.")),
        "write": Field(Flag("Default true.")),
        "mknod": Field(Flag("Default false.")),
    },
    synonyms={"name": "path", "source": "path"},
    check=_access,
)

DEVICES = ListOf(_DEVICE, "Host device nodes.")
