"""Looking up users in an image that may be hostile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zlayer.model.errors import Invalid
from zlayer.runtime.oci.users import User, open_in_root, read_in_root, resolve

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# a comment\nweb:x:33:34::/var/www:/bin/sh\nbroken\nx:y:z:w:q:r:s\n"
GROUP = "root:x:0:\nweb:x:34:\nadm:x:4:web,root\nlog:x:5:web\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text(PASSWD)
    (tmp_path / "root/etc/group").write_text(GROUP)
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", User(0, 0, (4,), "/root")),
        ("web", User(33, 34, (4, 5), "/var/www")),
        ("33", User(33, 34, (4, 5), "/var/www")),
        ("web:adm", User(33, 4, (), "/var/www")),
        ("33:7", User(33, 7, (), "/var/www")),
        ("1234", User(1234, 0, (), "/")),
        ("1234:5678", User(1234, 5678, (), "/")),
        (":adm", User(0, 4, (), "/root")),
    ],
)
def test_forms(root: Path, user: str, expected: User) -> None:
    assert resolve(root, user) == expected


def test_extra_groups_by_name_and_number_once_each(root: Path) -> None:
    assert resolve(root, "web", ("adm", "77", "log", "77")).groups == (4, 5, 77)


@pytest.mark.parametrize("user", ["nobody", "web:nogroup", "4294967295", "99999999999", "-1"])
def test_what_cannot_be_is_invalid(root: Path, user: str) -> None:
    with pytest.raises(Invalid):
        resolve(root, user)


def test_an_image_without_the_files_has_numbers(tmp_path: Path) -> None:
    assert resolve(tmp_path, "5:6") == User(5, 6)
    assert resolve(tmp_path, "") == User(0, 0)


def test_links_stay_inside(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("ghost:x:1:1::/:/bin/sh\n")
    (root / "etc/passwd").unlink()
    for target in (tmp_path / "secret", Path("../../secret"), Path("/secret")):
        (root / "etc/passwd").symlink_to(target)
        assert read_in_root(root, "/etc/passwd") == ""
        (root / "etc/passwd").unlink()
    (root / "real").write_text("in:x:9:9::/in:/bin/sh\n")
    (root / "etc/passwd").symlink_to("/real")
    assert resolve(root, "in").uid == 9


def test_a_pipe_does_not_block(root: Path) -> None:
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert read_in_root(root, "/etc/passwd") == ""


def test_a_link_to_our_own_process_is_refused(root: Path) -> None:
    (root / "p").symlink_to("/proc/self/exe")
    with pytest.raises(OSError, match="p"):
        os.close(open_in_root(root, "/p"))
