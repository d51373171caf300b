"""The jobs of artifacts against a fake registry: what an SBOM may not be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zlayer.image.artifact_order import ArtifactOrder
from zlayer.image.artifacts import MAX_SBOM, attend
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import Corrupt
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_push import Target, push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry_referrers import ReferrersRegistry, digest_of

SPDX = "application/spdx+json"


@pytest.mark.parametrize(
    "layers",
    [[], {}, [{"digest": "sha256:../../x", "size": 1}], [{"digest": "sha256:" + "a" * 64, "size": MAX_SBOM + 1}],
     [{"digest": "sha256:" + "a" * 64, "size": -1}], [5]],
)  # fmt: skip
def test_an_sbom_that_is_none_is_refused(tmp_path: Path, layers: object) -> None:
    made = image([layer(Tar().file("a", b"a"))])
    with ReferrersRegistry() as registry:
        name = push(Target(registry.address), "a", "1", made)
        body = json.dumps({"layers": layers}).encode()
        registry.content[f"/v2/a/manifests/{digest_of(body)}"] = (body, "x/y")
        entry = {"digest": digest_of(body), "size": len(body), "artifactType": SPDX}
        registry.referrers[made.digest] = [entry]
        order = ArtifactOrder("sbom", tmp_path, name, "", RegistrySettings(attempts=1))
        with pytest.raises(Corrupt, match="is no SBOM"):
            attend(order, {})
