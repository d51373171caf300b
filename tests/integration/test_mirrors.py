"""A mirror before a registry, both real; told in the progress of a pull that the daemon's side makes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zlayer.image.contract import Progress
from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.units import Bytes
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.registry import Registry, missing

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]


async def test_a_mirror_serves_while_it_lives_and_the_registry_after_that(tmp_path: Path) -> None:
    made = image([layer(Tar().file("a", os.urandom(300_000)))], {"Cmd": ["a"]})
    with Registry(tmp_path / "origin", mode="tls_htpasswd") as origin:
        reference = push(origin.target, "team/app", "1", made)
        with Registry(tmp_path / "mirror") as mirror:
            push(mirror.target, "team/app", "1", made)
            hosts = {origin.address: RegistryHost(ca=str(origin.ca), mirrors=(mirror.address,))}
            settings = RegistrySettings(hosts=hosts, attempts=2, backoff=0.01)
            heard: list[Progress] = []
            images = LocalImages(tmp_path / "data", settings)
            pulled = await images.pull(reference, on_progress=heard.append)
            assert (pulled.digest, pulled.reference) == (made.digest, reference), "without the login it never needed"
            assert (f"mirror {mirror.address}", "answers") in {(one.digest, one.phase) for one in heard}
        heard.clear()
        username, password = origin.target.username, origin.target.password
        later = LocalImages(tmp_path / "later", settings)
        await later.login(origin.address, username, password)
        begun = time.monotonic()
        assert (await later.pull(reference, limit_rate=Bytes(300_000), on_progress=heard.append)).digest == made.digest
        assert time.monotonic() - begun > 0.8
        assert next(one.phase for one in heard if one.digest == f"mirror {mirror.address}").startswith("failed, asking")
