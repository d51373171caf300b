"""Collection of garbage against a model: what a tag reaches stays, the rest goes; and what stops it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from zlayer.model.errors import Corrupt
from zlayer.registry.garbage import Collector
from zlayer.registry.inventory import inventory
from zlayer.registry.repositories import Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.uploads import Uploads

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Stock:
    """A registry to fill. Everything in it is older than an hour, as its collector sees it."""

    def __init__(self, root: Path) -> None:
        self.repositories = Repositories(root)
        self.shelf = Shelf(self.repositories)

    def blob(self, content: str, name: str = "a/b") -> dict[str, Any]:
        uploads = Uploads(self.repositories)
        upload = uploads.begin(name)
        uploads.append(upload, [content.encode()])
        digest = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
        uploads.finish(upload, digest)
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def image(self, content: str, tag: str = "", name: str = "a/b", **more: Any) -> dict[str, Any]:
        document = {"schemaVersion": 2, "config": self.blob(content, name), "layers": [], **more}
        return self.put(document, OCI, tag, name)

    def put(self, document: Any, kind: str, tag: str, name: str = "a/b") -> dict[str, Any]:
        body = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.shelf.put(name, tag or digest, body, kind)
        return {"mediaType": kind, "digest": digest, "size": len(body)}

    def collect(self, grace: float = 0, **options: bool) -> set[str]:
        swept = Collector(self.repositories, grace=grace, clock=lambda: 4e9).run(**options)
        return set(swept.blobs)

    def left(self) -> set[str]:
        return set(self.repositories.blobs.list())


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    return Stock(tmp_path)


def test_what_no_manifest_names_goes(stock: Stock) -> None:
    image, loose = stock.image("config", "1"), stock.blob("loose")
    shared = stock.blob("config", "other/name")
    assert stock.collect(dry=True) == {loose["digest"]}
    assert loose["digest"] in stock.left()
    assert stock.collect() == {loose["digest"]}
    assert stock.left() == {image["digest"], shared["digest"]}
    assert stock.repositories.has_blob("a/b", shared["digest"])
    assert not stock.repositories.has_blob("other/name", shared["digest"]), "nothing of it names it there"
    assert stock.collect() == set()


def test_what_is_young_stays(stock: Stock) -> None:
    loose = stock.blob("loose")
    assert stock.collect(grace=4e9) == set()
    collector = Collector(stock.repositories, grace=3600)
    assert collector.run().blobs == ()
    path = stock.repositories.blobs.path(loose["digest"])
    os.utime(path, (1e9, 1e9))
    assert collector.run().blobs == (), "it is old, but its repository got it lately"


def test_a_look_at_a_blob_keeps_it_a_while(stock: Stock) -> None:
    loose = stock.blob("loose")
    link = stock.repositories.root / "repositories/a/b/_blobs" / loose["digest"].replace(":", "/")
    for path in (link, stock.repositories.blobs.path(loose["digest"])):
        os.utime(path, (1e9, 1e9))
    assert stock.repositories.has_blob("a/b", loose["digest"])
    assert Collector(stock.repositories).run().blobs == ()


def test_untagged_manifests_go_when_asked(stock: Stock) -> None:
    tagged, loose, child = stock.image("1", "t"), stock.image("2"), stock.image("3")
    index = stock.put({"schemaVersion": 2, "manifests": [child]}, INDEX, "multi")
    signature = stock.image("4", subject=tagged)
    attached_to_nothing = stock.image("5", subject=loose)
    assert stock.collect() == set()
    listed = {(one.tag, one.digest) for one in inventory(stock.repositories.root)}
    assert listed == {("t", tagged["digest"]), ("multi", index["digest"]), ("", loose["digest"])}
    gone = stock.collect(untagged=True)
    assert {loose["digest"], attached_to_nothing["digest"]} <= gone
    assert gone.isdisjoint({one["digest"] for one in (tagged, child, index, signature)})
    assert stock.repositories.referrers("a/b", loose["digest"]) == []
    assert stock.repositories.referrers("a/b", tagged["digest"]) == [signature["digest"]]
    assert len(stock.left()) == 7


def test_a_damaged_manifest_stops_it(stock: Stock) -> None:
    image, loose = stock.image("config", "1"), stock.blob("loose")
    path = stock.repositories.blobs.path(image["digest"])
    path.write_bytes(path.read_bytes().replace(b"config", b"c0nfig"))
    with pytest.raises(Corrupt, match="nothing was deleted"):
        stock.collect()
    assert loose["digest"] in stock.left()
    assert stock.shelf.delete("a/b", image["digest"]), "as the hint says"
    assert loose["digest"] in stock.collect()
