"""What a source policy leaves of a node's settings."""

from __future__ import annotations

import pytest

from zlayer.image.s3.settings import S3Settings
from zlayer.image.settings import RegistrySettings
from zlayer.image.sources import allowed
from zlayer.model.errors import Unavailable
from zlayer.model.units import Bytes

PLAIN = RegistrySettings()
TIERED = RegistrySettings(s3=S3Settings(bucket="images"))


def test_only_the_registry() -> None:
    assert allowed(TIERED, "remote_only", None, "a") == PLAIN


def test_s3_first_needs_a_bucket() -> None:
    assert allowed(TIERED, "s3_first", None, "a") == TIERED
    with pytest.raises(Unavailable, match="no bucket") as refused:
        allowed(PLAIN, "s3_first", None, "shop/web:1")
    assert "shop/web:1" in refused.value.message


def test_a_rate_is_the_pulls_own() -> None:
    assert allowed(TIERED, "local_first", Bytes(5), "a").limit_rate == 5
    assert allowed(TIERED, "local_first", None, "a") is TIERED
