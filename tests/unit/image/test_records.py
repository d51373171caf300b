from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zlayer.image.contract import Image, ImageConfig
from zlayer.image.records import Record, Records, image_config
from zlayer.image.reference import parse
from zlayer.model.units import Bytes, Timestamp

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
IMAGE = Image(
    reference="docker.io/library/app:1",
    digest=A,
    config=ImageConfig(entrypoint=("/e",), env={"K": "v"}, exposed_ports=("80/tcp",), labels={"l": "x"}),
    layers=(C,),
    platform="linux/amd64",
    size=Bytes(5),
    pulled_at=Timestamp(12.5),
    index_digest=B,
)
RECORD = Record(IMAGE, (A, B))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "images")


def test_a_record_survives_the_disk(records: Records) -> None:
    other = replace(RECORD, asked_platform="linux/arm64", superseded=True)
    records.put(RECORD)
    records.put(other)
    again = Records(records.root)
    again.load()
    assert again.all() == [RECORD, other]
    assert (again.layers(), again.blobs()) == ({C}, {A, B})


def test_drop(records: Records) -> None:
    records.put(RECORD)
    records.drop(RECORD)
    records.drop(RECORD)
    assert records.all() == []
    assert list(records.root.glob("*.json")) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema": 99, "image": {}}', '{"schema": 1, "image": {"x": 1}}']
)
def test_what_is_no_record_is_left_alone(records: Records, text: str) -> None:
    records.put(RECORD)
    (records.root / "bad.json").write_text(text)
    again = Records(records.root)
    again.load()
    assert again.all() == [RECORD]
    assert (records.root / "bad.json").exists()


def test_lookups(records: Records) -> None:
    records.put(RECORD)
    assert records.get(IMAGE.reference, "") == RECORD
    assert records.get(IMAGE.reference, "linux/arm64") is None
    assert records.named(IMAGE.reference) == [RECORD]
    for digest, found in ((A, [RECORD]), (B, [RECORD]), (C, [])):
        assert records.digested(parse(f"app@{digest}"), "") == found
    assert records.digested(parse(f"other@{A}"), "") == []
    assert records.digested(parse(f"app@{A}"), "linux/arm64") == []
    assert records.digested(parse(f"app@{A}"), None) == [RECORD]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a" * 8, True),
        ("b" * 12, True),
        ("sha256:" + "a" * 8, True),
        ("sha512:" + "a" * 8, False),
        (A, True),
        ("a" * 7, False),
        ("c" * 8, False),
    ],
)
def test_prefixes(records: Records, text: str, found: bool) -> None:
    records.put(RECORD)
    assert (records.by_prefix(text) == [RECORD]) is found


def test_a_config_of_an_image() -> None:
    assert image_config(
        {
            "Entrypoint": ["/e"], "Cmd": ["a"], "Env": ["A=1", "B=x=y", "broken"], "WorkingDir": "/w", "User": "u",
            "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
            "Labels": {"k": "v", "bad": 5},
        }
    ) == ImageConfig(
        ("/e",), ("a",), {"A": "1", "B": "x=y"}, "/w", "u", "SIGQUIT", ("53/udp", "80/tcp"), ("/data",), {"k": "v"}
    )  # fmt: skip


def test_a_config_of_a_stranger() -> None:
    bad = dict.fromkeys(
        ("Entrypoint", "Env", "WorkingDir", "User", "StopSignal", "ExposedPorts", "Volumes", "Labels"), 5
    )
    assert image_config(bad) == ImageConfig()
    assert image_config({"Cmd": "echo hi", "WorkingDir": ""}).cmd == ("/bin/sh", "-c", "echo hi")


def test_what_was_half_written_goes_at_the_next_start(records: Records) -> None:
    records.put(RECORD)
    half = records.root / "tmp" / "4242-abcdef"
    half.write_bytes(b"{")
    again = Records(records.root)
    again.load()
    assert again.all() == [RECORD]
    assert not half.exists()
