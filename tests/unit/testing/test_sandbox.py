"""The sandbox sees what a test left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zlayer.testing.sandbox import busybox, sandbox


@pytest.mark.skipif(busybox() is None, reason="busybox-static is not installed")
def test_a_request_has_a_root_of_its_own() -> None:
    with sandbox() as box:
        one, two = box.request("true"), box.request("true")
        assert one.rootfs != two.rootfs
        assert (one.rootfs / "bin/sh").exists()
        assert box.processes() == {}
    assert not box.root.exists()


def _leak(made: list[subprocess.Popen[bytes]]) -> None:
    with sandbox() as box:
        argv = ["sh", "-c", "echo up; read x", str(box.root)]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        made.append(child)
        assert child.stdout
        assert child.stdout.readline() == b"up\n"


def test_a_process_left_behind_fails_the_test_and_is_ended() -> None:
    made: list[subprocess.Popen[bytes]] = []
    with pytest.raises(AssertionError, match="left behind"):
        _leak(made)
    with made[0] as child:
        assert child.wait(20) == -9


def _fail(roots: list[Path]) -> None:
    with sandbox() as box:
        roots.append(box.root)
        raise KeyError


def test_the_tests_own_failure_is_the_one_told() -> None:
    roots: list[Path] = []
    with pytest.raises(KeyError):
        _fail(roots)
    assert not roots[0].exists()
