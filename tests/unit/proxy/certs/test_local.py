from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zlayer.model.errors import Exhausted, Failed, Invalid
from zlayer.proxy.certs.local import LocalCertifier, read_pem

pytestmark = pytest.mark.anyio


async def test_a_certifier_signs_reads_and_checks(tmp_path: Path) -> None:
    certifier = LocalCertifier(tmp_path / "certs", "n1")
    pair = await certifier.self_signed(["a.test"])
    (tmp_path / "a.pem").write_text(pair.chain)
    (tmp_path / "a.key").write_text(pair.key.reveal())
    read = await certifier.read_files(str(tmp_path / "a.pem"), str(tmp_path / "a.key"))
    assert read == pair
    assert (await certifier.check(read, ["a.test"], time.time())).names == ("a.test",)
    assert await certifier.authority() == await certifier.authority()
    assert await certifier.request(["a.test"], await certifier.new_key())


async def test_a_full_or_forbidden_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "certs").write_text("a file where the directory should be")
    with pytest.raises((Exhausted, Failed)):
        await LocalCertifier(tmp_path / "certs", "n1").authority()


@pytest.mark.parametrize("path", ["relative.pem", "", "/no/such/file.pem", "/", "/dev/zero", "/dev/null", "/\0"])
def test_what_is_no_pem_file_is_refused_with_its_path(path: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_pem(path)
    assert path in caught.value.message or repr(path) in caught.value.message


def test_a_pipe_does_not_hold_us_and_binary_and_huge_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"a" * (2 << 20))
    for name in ("pipe", "binary", "huge"):
        with pytest.raises(Invalid):
            read_pem(str(tmp_path / name))
