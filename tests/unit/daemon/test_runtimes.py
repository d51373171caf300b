from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.daemon.runtimes import probe_runtimes
from zlayer.model.paths import Paths
from zlayer.runtime.oci.site import ENGINES


@pytest.mark.anyio
async def test_engines_that_are_not_installed_say_so_and_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = await probe_runtimes(Paths.of(tmp_path), "zlayer-test", "crun")
    assert [one["name"] for one in found] == list(ENGINES)
    assert not any(one["ok"] for one in found)
    assert all(one["reason"] and one["fix"] for one in found)
    assert [one["name"] for one in found if one["selected"]] == ["crun"]
