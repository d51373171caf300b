from __future__ import annotations

import json
from typing import Any

import pytest

from zlayer.model.base import Document
from zlayer.model.errors import Corrupt
from zlayer.model.instance import InstanceStatus, State
from zlayer.store.contract import Item
from zlayer.store.documents import decoder, encode, read


class Cup(Document):
    schema_version: int = 3
    name: str
    size: int = 1


def from_1(fields: dict[str, Any]) -> dict[str, Any]:
    return {"name": fields["label"]}


def from_2(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "size": 10}


def test_a_document_comes_back() -> None:
    status = InstanceStatus(id="web-1", node="n", state=State.READY, reason="größer", exit_code=None)
    assert decoder(InstanceStatus)(encode(status)) == status


def test_an_older_one_is_upgraded_step_by_step() -> None:
    decode = decoder(Cup, {1: from_1, 2: from_2})
    assert decode(b'{"schema_version": 1, "label": "old"}') == Cup(name="old", size=10)
    assert decode(b'{"schema_version": 2, "name": "mid"}') == Cup(name="mid", size=10)
    assert decode(b'{"schema_version": 3, "name": "new"}') == Cup(name="new", size=1)


def test_an_older_one_without_upgrades_gets_defaults() -> None:
    assert decoder(Cup)(b'{"schema_version": 2, "name": "mid"}').size == 1


@pytest.mark.parametrize("extra", ["", ', "colour": "red"'])
def test_a_newer_one_is_refused_with_a_way_out(extra: str) -> None:
    with pytest.raises(Corrupt, match="schema version 4, this zlayer knows 3") as refused:
        decoder(Cup)(b'{"schema_version": 4, "name": "x"%s}' % extra.encode())
    assert "newer zlayer" in refused.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"schema_version": "x"}',
        b'{"schema_version": 3}',
        b'{"name": 1, "schema_version": 3}',
        b'{"schema_version": 0, "name": "x", "lid": 1}',
        b'{"schema_version": 1, "no": "label"}',
    ],
)
def test_damage_is_corrupt(raw: bytes) -> None:
    with pytest.raises(Corrupt, match="Cup") as refused:
        decoder(Cup, {1: from_1, 2: from_2})(raw)
    assert refused.value.hint


def test_an_upgrade_that_does_not_fit_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        decoder(Cup, {2: lambda fields: {"size": "many"}})(b'{"schema_version": 2, "name": "x", "lid": 1}')


@pytest.mark.parametrize("decode", [decoder(Cup), json.loads])
def test_damage_is_told_with_its_key_in_one_line(decode: Any) -> None:
    assert read(json.loads, Item("/cups/a", b"1", 1, 1)) == 1
    with pytest.raises(Corrupt, match="/cups/a") as refused:
        read(decode, Item("/cups/a", b"{", 1, 1))
    assert refused.value.hint
    with pytest.raises(Corrupt) as refused:
        read(decoder(Cup), Item("/cups/a", b'{"name": 1, "lid": 2, "a": 1, "b": 2}', 1, 1))
    assert "\n" not in refused.value.message
    assert refused.value.message.endswith("and 1 more")
