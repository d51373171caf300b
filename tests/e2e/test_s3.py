"""Two daemons with a bucket in common: the second pulls no blob from the registry."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.front import Front
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.s3_swift import NAME, REGION, SECRET, Swift, missing
from zlayer.testing.site import CONFIG, Site

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]
Json = dict[str, Any]  # Any: JSON documents


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


def config(swift: Swift, s3: Front) -> str:
    settings = swift.settings(s3.address)
    return (
        f'{CONFIG}[image.s3]\nbucket = "{NAME}"\nregion = "{REGION}"\nendpoint = "{settings.endpoint}"\n'
        f'credentials_file = "{settings.credentials_file}"\n'
    )


def tier(site: Site) -> Json:
    [found] = json.loads(site.cli("system", "df", "--format", "json").stdout)["s3"]
    return dict(found)


def all_up(site: Site) -> Json:
    deadline = time.monotonic() + 60
    while (found := tier(site))["waiting"] and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_second_daemon_takes_no_blob_from_the_registry(registries: Any, swift: Swift, tmp_path: Path) -> None:
    """Any: see conftest."""
    made = image([layer(Tar().file("f", os.urandom(3_000_000)))], {"Cmd": ["f"]})
    push(registries.plain.target, "shared", "1", made)
    with (
        Front(registries.plain.address) as counted,
        swift.front() as s3,
        Site(config(swift, s3)) as one,
        Site(config(swift, s3)) as two,
    ):
        reference = f"{counted.address}/shared:1"
        one.start()
        one.cli("pull", reference)
        assert counted.count("/blobs/", "GET") == 2
        found = all_up(one)
        assert (found["state"], found["waiting"], found["held_up"]) == ("ok", 0, "")
        assert "answers" in one.cli("system", "df").stdout
        doctor = json.loads(one.cli("doctor", "--format", "json", check=False).stdout)
        assert [finding["level"] for finding in doctor if finding["name"] == "s3"] == ["ok"]
        counted.passed.clear()
        two.start()
        told = two.cli("pull", reference)
        assert f"s3 {NAME} answers" in told.stderr + told.stdout
        assert counted.count("/blobs/") == 0
        assert counted.count("/manifests/sha256") == 0
        one_image, two_image = (json.loads(s.cli("image", "ls", "--format", "json").stdout)[0] for s in (one, two))
        assert one_image["digest"] == two_image["digest"] == made.digest
        for site in (one, two):
            assert SECRET not in site.log()
            assert not [line for line in site.census().processes if SECRET in line]


def test_a_daemon_without_a_key_says_so(swift: Swift) -> None:
    text = f'{CONFIG}[image.s3]\nbucket = "{NAME}"\nendpoint = "http://{swift.address}"\n'
    with Site(text) as site:
        refused = site.cli("serve", check=False, timeout=30)
        assert refused.returncode != 0
        assert "no access key for S3" in refused.stderr
        (site.data / "config.toml").write_text(f'{CONFIG}[image.s3]\nbucket = "B"\nregoin = "x"\n')
        both = site.cli("serve", check=False, timeout=30)
        assert "no bucket's name" in both.stderr
        assert "did you mean" in both.stderr
        (site.data / "config.toml").write_text(CONFIG)
