"""Frozen records read from JSON documents, for the price of a plain class.

The standard `dataclasses` module costs 13 to 18 ms to import (it loads `inspect`), a third of what `zlayer ps` may
take as a whole. A `Record` is checked by type checkers exactly as a frozen keyword-only dataclass is (PEP 681).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

R = TypeVar("R", bound="Record")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """Fields are the annotated names of the class. Equal when of one class with equal fields; hashable if they are.

    `parts` names the fields that hold tuples of other records, so that `of` can read them.
    """

    parts: ClassVar[Mapping[str, type[Record]]] = {}
    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls.fields = cls.fields + tuple(name for name, kind in own.items() if "ClassVar" not in str(kind))

    def __init__(self, **values: Any) -> None:  # Any: the transform gives each subclass its own typed signature
        for name in self.fields:
            if name in values:
                object.__setattr__(self, name, values.pop(name))
            elif not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs {name!r}")
        if values:
            raise TypeError(f"{type(self).__name__} has no {next(iter(values))!r}")

    @classmethod
    def of(cls: type[R], doc: Mapping[str, Any]) -> R:
        """The record of a JSON object. Unknown keys are ignored: a newer daemon may say more than we know.

        A field the daemon left out takes its default; null for a field of records is no records. `TypeError` when a
        field without a default is missing.
        """
        values: dict[str, Any] = {}
        for name in cls.fields:
            if name not in doc:
                continue
            value = doc[name]
            if part := cls.parts.get(name):
                value = part.all(value or ())
            elif isinstance(value, list):
                value = tuple(value)
            values[name] = value
        return cls(**values)

    @classmethod
    def all(cls: type[R], docs: Iterable[Mapping[str, Any]]) -> tuple[R, ...]:
        """`of` for each, in order."""
        return tuple(cls.of(doc) for doc in docs)

    def but(self: R, **changes: Any) -> R:
        """The same with these fields changed."""
        return type(self)(**({name: getattr(self, name) for name in self.fields} | changes))

    def document(self) -> dict[str, Any]:
        """The JSON object of this record, fields in the order they are declared."""
        return {name: _plain(getattr(self, name)) for name in self.fields}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.fields)})"

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.fields)


def _plain(value: Any) -> Any:  # Any: JSON in, JSON out
    if isinstance(value, Record):
        return value.document()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
