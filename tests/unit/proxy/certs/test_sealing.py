from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zlayer.model.errors import Corrupt, Failed, Invalid
from zlayer.model.secret import Secret
from zlayer.proxy.certs.sealing import FileSealer, ensure_key, private_file

TEXT = Secret("-----BEGIN PRIVATE KEY-----\nnot really\n")


def test_what_is_sealed_opens_for_its_own_document_only(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "certs" / "seal.key")
    sealed = sealer.seal(TEXT, "/certificates/a")
    assert sealer.unseal(sealed, "/certificates/a") == TEXT
    assert "PRIVATE" not in sealed
    assert sealer.seal(TEXT, "/certificates/a") != sealed
    with pytest.raises(Corrupt) as caught:
        sealer.unseal(sealed, "/certificates/b")
    assert "/certificates/b" in caught.value.message


@pytest.mark.parametrize("damage", ["", "v1:", "v1:!!!", "v1:AAAA", "words"])
def test_damage_is_told_as_such(tmp_path: Path, damage: str) -> None:
    with pytest.raises(Corrupt):
        FileSealer(tmp_path / "seal.key").unseal(damage, "x")


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "seal.key")
    sealed = sealer.seal(Secret("s"), "x")
    for at in range(3, len(sealed)):
        other = "A" if sealed[at] != "A" else "B"
        with pytest.raises(Corrupt):
            sealer.unseal(sealed[:at] + other + sealed[at + 1 :], "x")


def test_another_daemon_of_the_directory_opens_it_and_another_directory_does_not(tmp_path: Path) -> None:
    sealed = FileSealer(tmp_path / "seal.key").seal(TEXT, "x")
    assert FileSealer(tmp_path / "seal.key").unseal(sealed, "x") == TEXT
    with pytest.raises(Corrupt):
        FileSealer(tmp_path / "other.key").unseal(sealed, "x")


def test_the_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "seal.key"
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: ensure_key(path), range(32)))
    assert len(made) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seal.key").write_bytes(b"short")
    with pytest.raises(Invalid):
        ensure_key(tmp_path / "seal.key")


def test_a_key_file_that_others_may_read_is_its_owners_again(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "seal.key")
    sealed = sealer.seal(Secret("s"), "/a")
    (tmp_path / "seal.key").chmod(0o644)
    assert FileSealer(tmp_path / "seal.key").unseal(sealed, "/a") == Secret("s")
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600


def test_a_key_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "seal.key").mkdir()
    with pytest.raises(Failed, match=r"seal\.key"):
        FileSealer(tmp_path / "seal.key").seal(Secret("s"), "/a")
    with pytest.raises(Failed, match=r"seal\.key"):
        FileSealer(tmp_path / "seal.key").unseal("v1:AAAA", "/a")


def test_a_private_file_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    private_file(path, b"one")
    private_file(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    private_file(path, b"three", mode=0o644)
    assert path.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [path]
