"""The protocol as a state machine: any order of pushes, mounts, tags and deletions, against a model; no sockets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlayer.registry.access import Access
from zlayer.registry.app import RegistryApp
from zlayer.registry.pulling import Pulling
from zlayer.registry.pushing import Pushing
from zlayer.registry.repositories import Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.uploads import Uploads
from zlayer.registry.users import Users
from zlayer.testing.asgi import AsgiClient, Reply
from zlayer.testing.netns import short_directory

OCI = "application/vnd.oci.image.manifest.v1+json"
NAMES = ("a", "a/b", "c")
CONTENTS = (b"", b"one", b"two")
STEP = st.tuples(
    st.sampled_from(["push", "upload", "patch", "finish", "mount", "manifest", "untag", "delete", "drop", "restart"]),
    st.sampled_from(NAMES),
    st.sampled_from(CONTENTS),
    st.sampled_from(["x", "y"]),
)


def sha(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def manifest(config: bytes) -> bytes:
    part = {"mediaType": "application/octet-stream", "digest": sha(config), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": part, "layers": []}).encode()


class Model:
    """What the registry must say, in plain sets; and the registry beside it."""

    def __init__(self, root: Path, tasks: anyio.abc.TaskGroup) -> None:
        self.root, self.tasks = root, tasks
        self.blobs: set[tuple[str, bytes]] = set()
        self.manifests: set[tuple[str, bytes]] = set()
        self.tags: dict[tuple[str, str], bytes] = {}
        self.upload: tuple[str, str, bytes] | None = None
        self.restart()

    def restart(self) -> None:
        repositories = Repositories(self.root)
        access = Access(Users(self.root / "users.json"), anonymous=True)
        app = RegistryApp(Shelf(repositories), Uploads(repositories), access, [], self.tasks)
        self.client = AsgiClient(app)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        sent = {
            "host": "localhost",
            "content-length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.client.request(method, path, body, headers=sent)

    async def step(self, what: str, name: str, body: bytes, tag: str) -> None:
        if what == "restart":
            self.restart()
        elif what == "push":
            reply = await self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={sha(body)}", body)
            assert reply.status == 201
            self.blobs.add((name, body))
        elif what == "upload":
            place = (await self.ask("POST", f"/v2/{name}/blobs/uploads/")).headers["location"]
            self.upload = (name, place, b"")
        elif what in ("patch", "finish"):
            await self._go_on(what, body)
        elif what == "mount":
            await self._mount(name, body)
        else:
            await self._manifest(what, name, body, tag)

    async def _go_on(self, what: str, body: bytes) -> None:
        if self.upload is None:
            return
        name, place, so_far = self.upload
        if what == "patch":
            reply = await self.ask("PATCH", place, body)
            assert reply.status == 202
            whole = so_far + body
            assert reply.headers["range"] == f"0-{max(0, len(whole) - 1)}"
            self.upload = (name, place, whole)
            return
        wrong = len(so_far) % 2 == 1
        digest = sha(b"else") if wrong else sha(so_far + body)
        reply = await self.ask("PUT", f"{place}?digest={digest}", body)
        assert reply.status == (400 if wrong else 201)
        if not wrong:
            self.blobs.add((name, so_far + body))
        assert (await self.ask("GET", place)).status == 404
        self.upload = None

    async def _mount(self, name: str, body: bytes) -> None:
        there = (NAMES[0], body) in self.blobs
        reply = await self.ask("POST", f"/v2/{name}/blobs/uploads/?mount={sha(body)}&from={NAMES[0]}")
        assert reply.status == (201 if there else 202)
        if there:
            self.blobs.add((name, body))

    async def _manifest(self, what: str, name: str, body: bytes, tag: str) -> None:
        document = manifest(body)
        if what == "manifest":
            there = (name, body) in self.blobs
            reply = await self.ask("PUT", f"/v2/{name}/manifests/{tag}", document, content_type=OCI)
            assert reply.status == (201 if there else 400)
            if there:
                self.manifests.add((name, body))
                self.tags[name, tag] = body
        elif what == "untag":
            reply = await self.ask("DELETE", f"/v2/{name}/manifests/{tag}")
            assert reply.status == (202 if self.tags.pop((name, tag), None) is not None else 404)
        elif what == "delete":
            there = (name, body) in self.manifests
            reply = await self.ask("DELETE", f"/v2/{name}/manifests/{sha(document)}")
            assert reply.status == (202 if there else 404)
            self.manifests.discard((name, body))
            self.tags = {key: one for key, one in self.tags.items() if (key[0], one) != (name, body)}
        else:
            reply = await self.ask("DELETE", f"/v2/{name}/blobs/{sha(body)}")
            assert reply.status == (202 if (name, body) in self.blobs else 404)
            self.blobs.discard((name, body))

    async def agree(self) -> None:
        for name in NAMES:
            for body in CONTENTS:
                reply = await self.ask("GET", f"/v2/{name}/blobs/{sha(body)}")
                assert reply.status == (200 if (name, body) in self.blobs else 404)
                assert reply.status == 404 or reply.body == body
                reply = await self.ask("HEAD", f"/v2/{name}/manifests/{sha(manifest(body))}")
                assert reply.status == (200 if (name, body) in self.manifests else 404)
            for tag in ("x", "y"):
                reply = await self.ask("GET", f"/v2/{name}/manifests/{tag}")
                wanted = self.tags.get((name, tag))
                assert (reply.status == 404) == (wanted is None)
                assert wanted is None or reply.body == manifest(wanted)


@settings(max_examples=40)
@given(st.lists(STEP, max_size=14))
def test_it_agrees_with_the_model(steps: list[tuple[str, str, bytes, str]]) -> None:
    async def play() -> None:
        with short_directory() as directory:
            async with anyio.create_task_group() as tasks:
                model = Model(directory, tasks)
                for step in steps:
                    await model.step(*step)
                await model.agree()

    anyio.run(play)


def test_its_two_halves_answer_for_all_endpoints() -> None:
    """The reading and the writing side; what is asked of each stands in `RegistryApp`."""
    assert {"manifest", "blob"} <= set(dir(Pulling))
    assert {"begin", "status", "extend", "end", "cancel"} <= set(dir(Pushing))


@pytest.mark.anyio
async def test_a_disk_that_fails_is_told_without_its_paths(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        model = Model(tmp_path, tasks)
        await model.step("push", "a", b"one", "x")
        (tmp_path / "uploads").rmdir()
        (tmp_path / "uploads").write_text("in the way")
        reply = await model.ask("POST", "/v2/a/blobs/uploads/")
        assert reply.status >= 500
        assert str(tmp_path) not in reply.body.decode()
        assert reply.json()["errors"][0]["code"] == "UNKNOWN"
