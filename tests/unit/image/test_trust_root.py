from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import MAX_FILE, read_root_file, root_of
from zlayer.testing.sigstore import Json, Sigstore

PUBLIC = Path(__file__).parent / "sigstore_public" / "trusted_root.json"


def test_the_public_root() -> None:
    read = read_root_file(PUBLIC)
    root = root_of(read.text)
    assert [log.name for log in root.logs] == ["https://rekor.sigstore.dev", "https://log2025-1.rekor.sigstore.dev"]
    assert [len(one.chain) for one in root.authorities] == [1, 2]
    assert (len(root.ct_logs), len(root.timestampers)) == (2, 1)
    assert root.authorities[0].valid.end is not None
    assert read.fingerprint.startswith("sha256:")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda root: root.update(mediaType="text/plain"), "its mediaType is not"),
        (lambda root: root.update(tlogs=[]), "it wants certificateAuthorities, ctlogs and tlogs"),
        (lambda root: root.pop("ctlogs"), "it wants"),
        (lambda root: root.update(tlogs={}), "has no list 'tlogs'"),
        (lambda root: root["tlogs"][0]["publicKey"].pop("validFor"), "has no object 'validFor'"),
        (lambda root: root["tlogs"][0]["publicKey"]["validFor"].pop("start"), "does not say since when it is valid"),
        (lambda root: root["tlogs"][0]["publicKey"]["validFor"].update(start="soon"), "cannot be read"),
        (lambda root: root["tlogs"][0]["publicKey"]["validFor"].update(start="2024-01-01T00:00:00"), "no time zone"),
        (lambda root: root["tlogs"][0]["publicKey"].update(rawBytes="AAAA"), "cannot be read"),
        (lambda root: root["tlogs"][0].update(logId={"keyId": "AA=="}), "no proper logId"),
        (lambda root: root["certificateAuthorities"][0]["certChain"].update(certificates=[]), "has no certificates"),
        (lambda root: root["certificateAuthorities"][0]["certChain"]["certificates"][0].update(rawBytes="AAAA"),
         "cannot be read"),
    ],
)  # fmt: skip
def test_roots_that_are_none(change: Callable[[Json], object], why: str, tmp_path: Path) -> None:
    file = tmp_path / "root.json"
    file.write_text(Sigstore().root(change))
    with pytest.raises(ValueError, match=f"is no trusted root: .*{why}"):
        read_root_file(file)


def test_files_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "root.json"
    for content, why in ((b"{", "not JSON"), (b" " * (MAX_FILE + 1), "larger than"), (b"\xff", "codec")):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=why):
            read_root_file(file)
    with pytest.raises(Unproven, match="a key twice"):
        root_of('{"tlogs": [], "tlogs": []}')
    with pytest.raises(OSError, match="No such file"):
        read_root_file(tmp_path / "none")


def test_our_own_root_is_one() -> None:
    text = Sigstore().root()
    assert root_of(text).authorities[0].name == json.loads(text)["certificateAuthorities"][0]["uri"]
