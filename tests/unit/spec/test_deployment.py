from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.deployment import DEPLOYMENT
from zlayer.spec.load import load


def test_the_top_has_what_the_reference_has() -> None:
    assert set(DEPLOYMENT.fields) == {"version", "deployment", "services"}
    assert set(DEPLOYMENT.later) == {"externals", "tunnels", "api"}


def test_another_version_is_refused() -> None:
    with pytest.raises(Invalid, match="version must be v1"):
        load("version: v2\ndeployment: shop\n")
