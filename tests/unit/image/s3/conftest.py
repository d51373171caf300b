"""Shared by the tests of the S3 tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zlayer.testing.s3_scripted import Scripted
from zlayer.testing.s3_scripted import scripted as serving


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with serving() as script:
        yield script
