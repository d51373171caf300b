"""Where the access key comes from (zlayer.image.s3.keys)."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.image.s3.keys import file_problem, find
from zlayer.image.s3.sign import Keys
from zlayer.model.errors import Denied

TEXT = """
[default]
aws_access_key_id = AKID
aws_secret_access_key = s%cret=
[other]
aws_access_key_id = AKID2
aws_secret_access_key = secret2
aws_session_token = token
[half]
aws_access_key_id = AKID3
"""


def file(tmp_path: Path, text: str = TEXT, mode: int = 0o600) -> Path:
    made = tmp_path / "keys"
    made.write_text(text)
    made.chmod(mode)
    return made


def test_from_a_file(tmp_path: Path) -> None:
    keys = str(file(tmp_path))
    environ = {"AWS_ACCESS_KEY_ID": "e", "AWS_SECRET_ACCESS_KEY": "e"}
    assert find(keys, "default", environ) == Keys("AKID", "s%cret=")
    assert find(keys, "other", {}) == Keys("AKID2", "secret2", "token")


def test_from_the_environment() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "s"}
    assert find("", "default", environ) == Keys("id", "s")
    assert find("", "default", {**environ, "AWS_SESSION_TOKEN": "t"}).token == "t"


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCESS_KEY_ID": "id"}, {"AWS_SECRET_ACCESS_KEY": "sesame"}])
def test_none_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(Denied, match="no access key") as caught:
        find("", "default", environ)
    assert "credentials_file" in caught.value.hint
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode", "profile", "words"),
    [
        (TEXT, 0o640, "default", "chmod 600"),
        (TEXT, 0o604, "default", "chmod 600"),
        (TEXT, 0o600, "missing", "has no [missing]"),
        (TEXT, 0o600, "half", "lacks"),
        ("sesame", 0o600, "default", "not in the form"),
        ("[default]\nsesame", 0o600, "default", "not in the form"),
        ("\x00\xff", 0o600, "default", "not in the form"),
    ],
)
def test_a_bad_file_is_told_without_what_is_in_it(
    tmp_path: Path, text: str, mode: int, profile: str, words: str
) -> None:
    bad = file(tmp_path, text, mode)
    problem = file_problem(bad, profile)
    assert words in problem
    assert "sesame" not in problem
    with pytest.raises(Denied):
        find(str(bad), profile, {})


def test_no_file_at_all(tmp_path: Path) -> None:
    assert "no such file" in file_problem(tmp_path / "none", "default")
    assert "is no file" in file_problem(Path("/dev/null"), "default")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "bytes").chmod(0o600)
    assert "cannot be read" in file_problem(tmp_path / "bytes", "default")
