from __future__ import annotations

import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from zlayer.proxy.certs import pem
from zlayer.proxy.certs.authority import LocalAuthority


def test_one_file_to_trust_and_leaves_that_verify_by_it(tmp_path: Path) -> None:
    pair = LocalAuthority(tmp_path, "n1").sign(["a.test", "127.0.0.1", "::1"])
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(pair.chain)
    ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    argv = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(tmp_path / "ca.pem")]
    for host in (["-verify_hostname", "a.test"], ["-verify_ip", "::1"]):
        done = subprocess.run([*argv, *host, str(leaf)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_ca_stays_and_its_key_is_its_owners(tmp_path: Path) -> None:
    first = LocalAuthority(tmp_path, "n1").id()
    assert LocalAuthority(tmp_path, "n1").id() == first
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca.pem").stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.key", "ca.pem"]


@pytest.mark.parametrize("lost", ["ca.key", "ca.pem"])
def test_half_a_ca_is_made_anew(tmp_path: Path, lost: str) -> None:
    first = LocalAuthority(tmp_path, "n1").id()
    (tmp_path / lost).unlink()
    assert LocalAuthority(tmp_path, "n1").id() != first
    other = LocalAuthority(tmp_path / "other", "n1")
    other.id()
    (tmp_path / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    second = LocalAuthority(tmp_path, "n1")
    assert second.id() == second.id()
    pem.check(second.sign(["a.test"]), ["a.test"], __import__("time").time())


def test_a_ca_near_its_end_is_followed_by_another(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    first = LocalAuthority(tmp_path, "n1", clock=lambda: now).id()
    assert LocalAuthority(tmp_path, "n1", clock=lambda: now + 3500 * 86400).id() == first
    assert LocalAuthority(tmp_path, "n1", clock=lambda: now + 3600 * 86400).id() != first
