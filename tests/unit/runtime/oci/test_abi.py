"""Which images may use the 32-bit system calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.runtime.oci.abi import runs_32_bit

ELF64, ELF32 = b"\x7fELF\x02" + b"\0" * 20, b"\x7fELF\x01" + b"\0" * 20
SEARCH = "/usr/bin:/bin"


def put(root: Path, path: str, data: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)


@pytest.mark.parametrize(
    ("path", "data", "program", "expected"),
    [
        ("bin/app", ELF64, "app", False),
        ("bin/app", ELF32, "app", True),
        ("bin/app", ELF32, "/bin/app", True),
        ("srv/app", ELF32, "./app", True),
        ("bin/app", b"#!/bin/app\n", "app", False),
        ("lib/ld-linux.so.2", ELF32, "missing", True),
        ("lib/ld-musl-i386.so.1", ELF32, "missing", True),
        ("bin/app", b"", "app", False),
    ],
)
def test_by_program_and_loader(tmp_path: Path, path: str, data: bytes, program: str, expected: object) -> None:
    put(tmp_path, path, data)
    assert runs_32_bit(tmp_path, program, "/srv", SEARCH) is expected


def test_a_scripts_interpreter_counts(tmp_path: Path) -> None:
    put(tmp_path, "entry.sh", b"#! /bin/sh -e\necho\n")
    put(tmp_path, "bin/sh", ELF32)
    assert runs_32_bit(tmp_path, "/entry.sh", "/", SEARCH)


def test_links_and_pipes_of_the_image_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    put(tmp_path, "outside", ELF32)
    (tmp_path / "root/bin/app").symlink_to(tmp_path / "outside")
    (tmp_path / "root/bin/loop").symlink_to("loop")
    for program in ("app", "loop"):
        assert not runs_32_bit(tmp_path / "root", program, "/", SEARCH)
