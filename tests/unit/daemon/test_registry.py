"""What a registry does not start with; that it serves is for tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.daemon.registry import Serving, serve
from zlayer.model.errors import Denied, Invalid
from zlayer.model.paths import Paths


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({}, Denied),
        ({"anonymous": True, "bind": "0.0.0.0:0"}, Denied),
        ({"anonymous_pull": True, "bind": "[::]:0"}, Denied),
        ({"anonymous": True, "bind": "nowhere"}, Invalid),
        ({"anonymous": True, "tls_key": Path("/nowhere")}, Invalid),
        ({"anonymous": True, "proxies": ("a=r.example", "a=s.example")}, Invalid),
    ],
)
def test_it_does_not_start(tmp_path: Path, wanted: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        serve(Paths.of(tmp_path), Serving(root=tmp_path / "r", **wanted))  # type: ignore[arg-type]  # a table of fields
    assert not (tmp_path / "r" / "registry.log").exists()
