"""Shared fixtures."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")  # no test asserts how fast a machine is, least of all one that is busy


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
