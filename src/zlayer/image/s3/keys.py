"""The access key: from the environment, or from a file in the form of AWS's own. Never in argv, a log or an error.

Environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`. File: `aws_access_key_id`,
`aws_secret_access_key` and `aws_session_token` below `[PROFILE]`; readable for its owner alone. The file wins.
"""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from zlayer.image.s3.sign import Keys
from zlayer.model.errors import Denied

MAX_FILE = 64 * 1024


def find(file: str, profile: str, environ: Mapping[str, str]) -> Keys:
    """Read anew at each use, so a key that is changed counts at once. Errors: `Denied`, with what to do."""
    if file:
        found = _read(Path(file), profile)
        if isinstance(found, str):
            raise Denied(f"no access key for S3: {found}", hint="mend credentials_file below [image.s3] in config.toml")
        return found
    access, secret = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    if not access or not secret:
        raise Denied(
            "no access key for S3: neither credentials_file nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set",
            hint="set credentials_file below [image.s3] in config.toml, or both variables where the daemon starts",
        )
    return Keys(access, secret, environ.get("AWS_SESSION_TOKEN", ""))


def file_problem(file: Path, profile: str) -> str:
    """What is wrong with a file of keys; empty when it is good."""
    found = _read(file, profile)
    return found if isinstance(found, str) else ""


def _read(file: Path, profile: str) -> Keys | str:
    """The keys, or what is wrong. What the parser says is not told: it quotes the line."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                return f"{file} is no file"
            if stat.S_IMODE(status.st_mode) & 0o077:
                return f"others may read {file}: chmod 600 {file}"
            text = opened.read(MAX_FILE).decode()
    except FileNotFoundError:
        return f"no such file: {file}"
    except (OSError, UnicodeDecodeError) as fault:
        return f"{file} cannot be read: {type(fault).__name__}"
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return f"{file} is not in the form of AWS's credentials file"
    if not parser.has_section(profile):
        return f"{file} has no [{profile}]"
    values = dict(parser.items(profile))
    access, secret = values.get("aws_access_key_id", ""), values.get("aws_secret_access_key", "")
    if not access or not secret:
        return f"{file} lacks aws_access_key_id or aws_secret_access_key below [{profile}]"
    return Keys(access, secret, values.get("aws_session_token", ""))
