from __future__ import annotations

import json
from pathlib import Path

from zlayer.image.artifact_order import ArtifactOrder
from zlayer.image.registry_referrers import fallback_tag
from zlayer.image.settings import RegistrySettings


def test_the_fallback_tag_fits_a_tag() -> None:
    assert fallback_tag("sha256:" + "a" * 64) == "sha256-" + "a" * 64
    assert fallback_tag("sha512:" + "b" * 128) == "sha512-" + "b" * 64


def test_orders_survive_the_pipe(tmp_path: Path) -> None:
    sent = ArtifactOrder("attach", tmp_path, "h/a:1", "text/x", RegistrySettings(), 5, "f")
    assert ArtifactOrder.read(json.loads(json.dumps(sent.document()))) == sent
