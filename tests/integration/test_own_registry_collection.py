"""Collections of garbage, one behind the other, beside many pushes into a real server: every image is whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from zlayer.registry.garbage import LEASE, Collector
from zlayer.registry.repositories import Repositories
from zlayer.testing.own_registry import OwnRegistry

OCI = "application/vnd.oci.image.manifest.v1+json"
REPOSITORIES = ("team/app", "team/job", "other")
LAYERS = [bytes([number]) * 3000 for number in range(6)]
"""Few, so that pushes find, mount and make anew what collections take away."""
SECONDS = 6.0


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def bring(registry: OwnRegistry, name: str, layer: bytes, dice: random.Random) -> str:
    """Put a layer into a repository as clients do; how."""
    if registry.ask("HEAD", f"/v2/{name}/blobs/{sha(layer)}").status == 200:
        return "found"
    source = dice.choice(REPOSITORIES)
    told = registry.ask("POST", f"/v2/{name}/blobs/uploads/?mount={sha(layer)}&from={source}", b"")
    if told.status == 201:
        return "mounted"
    assert registry.ask("PUT", f"{told.headers['location']}?digest={sha(layer)}", layer).status == 201
    return "uploaded"


class Uses:
    """Which layers of which repositories a push is at work with: those must not look older than they are."""

    def __init__(self) -> None:
        self._lock, self._held = threading.Lock(), Counter[tuple[str, str]]()

    @contextmanager
    def of(self, name: str, layers: list[bytes]) -> Iterator[None]:
        held = Counter((name, sha(layer)) for layer in layers)
        with self._lock:
            self._held += held
        yield
        with self._lock:
            self._held -= held

    def grow_old(self, root: Path) -> None:
        """Make all others so old that neither the grace nor a push into their repository keeps them."""
        then = time.time() - LEASE - 3600
        for content in (root / "blobs" / "sha256").glob("*"):
            with suppress(FileNotFoundError):
                os.utime(content, (then, then))
        for name in REPOSITORIES:
            for layer in LAYERS:
                link = root / "repositories" / name / "_blobs" / sha(layer).replace(":", "/")
                with self._lock, suppress(FileNotFoundError):
                    if not self._held[name, sha(layer)]:
                        os.utime(link, (then, then))


def push(registry: OwnRegistry, uses: Uses, stop: threading.Event, seed: int) -> Counter[str]:
    """Images until `stop`, each pushed, read back, deleted; how often a layer was found, mounted, uploaded."""
    dice, done = random.Random(seed), Counter[str]()
    while not stop.is_set():
        name, layers = dice.choice(REPOSITORIES), dice.sample(LAYERS, 3)
        described = [{"mediaType": "x/y", "digest": sha(layer), "size": len(layer)} for layer in layers]
        image = {"schemaVersion": 2, "config": described[0], "layers": described[1:], "annotations": {"n": str(seed)}}
        body = json.dumps(image).encode()
        with uses.of(name, layers):
            done.update(bring(registry, name, layer, dice) for layer in layers)
            told = registry.ask("PUT", f"/v2/{name}/manifests/t{seed}", body, {"Content-Type": OCI})
        assert told.status == 201, told.body
        for layer in layers:
            assert registry.ask("GET", f"/v2/{name}/blobs/{sha(layer)}").body == layer
        registry.ask("DELETE", f"/v2/{name}/manifests/{sha(body)}")
        done["images"] += 1
    return done


def test_no_push_loses_a_blob_to_a_collection(tmp_path: Path) -> None:
    stop, uses, collected = threading.Event(), Uses(), 0
    with OwnRegistry(tmp_path) as registry, ThreadPoolExecutor(4) as pool:
        pushing = [pool.submit(push, registry, uses, stop, seed) for seed in range(4)]
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end and not any(one.done() for one in pushing):
                uses.grow_old(registry.root)
                collected += Collector(Repositories(registry.root)).run(untagged=True).links
        finally:
            stop.set()
        done = sum((one.result() for one in pushing), Counter[str]())
    assert collected > 5, "collections took something, or this shows nothing"
    assert min(done[what] for what in ("found", "mounted", "uploaded", "images")) > 5, done
