"""`source_policy` of an image, on a node with a bucket."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistrySettings
from zlayer.model.errors import NotFound
from zlayer.testing.front import Front
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry
from zlayer.testing.registry import missing as no_registry
from zlayer.testing.s3_swift import Swift, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(no_registry()), reason=no_registry() or "there is one"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]


async def test_each_source_asks_whom_it_says(tmp_path: Path) -> None:
    made = image([layer(Tar().file("f", os.urandom(5000)))])
    with (
        Swift(tmp_path / "swift") as swift,
        Registry(tmp_path) as registry,
        Front(registry.address) as counted,
        swift.front() as s3,
    ):
        push(registry.target, "app", "1", made)
        reference = f"{counted.address}/app:1"
        settings = RegistrySettings(s3=swift.impatient(s3.address))

        nobody = LocalImages(tmp_path / "nobody", settings)
        with pytest.raises(NotFound, match="local_only"):
            await nobody.pull(reference, source="local_only")
        assert counted.passed == s3.passed == []

        remote = LocalImages(tmp_path / "remote", settings)
        assert (await remote.pull(reference, source="remote_only")).digest == made.digest
        assert remote.keeper is not None
        assert (await remote.keeper.standing()).waiting == 0
        assert s3.passed == []
        assert counted.count("/blobs/", "GET") == 2
        assert (await remote.pull(reference, source="local_only", policy="always")).digest == made.digest

        for blob in (*made.blobs(), made.manifest):
            swift.write(blob.digest, blob.read())
        counted.passed.clear()
        first = LocalImages(tmp_path / "first", settings)
        assert (await first.pull(reference, source="s3_first")).digest == made.digest
        assert counted.count("/blobs/", "GET") == 0
