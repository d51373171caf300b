"""Every route of the registry, by every method, for every role, in every repository: who is let in, and who is not."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from zlayer.registry.access import NOBODY, Access, Asker, right_for
from zlayer.registry.app import RegistryApp
from zlayer.registry.grants import Grant, parse_grant
from zlayer.registry.names import Target, target_of
from zlayer.registry.repositories import Repositories
from zlayer.registry.shelf import Shelf
from zlayer.registry.uploads import Uploads
from zlayer.registry.users import Users
from zlayer.testing.asgi import AsgiClient, Reply

OCI = "application/vnd.oci.image.manifest.v1+json"
BODY = b"{}"
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
IMAGE = json.dumps({
    "schemaVersion": 2, "mediaType": OCI, "layers": [], "config": {"mediaType": "a/b", "digest": DIGEST, "size": 2},
}).encode()  # fmt: skip
REPOSITORIES = ("team/app", "team", "team2/app", "base/os", "other")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW")
ROLES = {
    "admin": ["*:pull,push,delete"],
    "reader": ["*:pull"],
    "web": ["team/*:pull,push", "base/*:pull"],
    "exact": ["team:pull,push,delete"],
    "writer": ["team/*:push"],
    "cleaner": ["*:delete"],
    "suffix": ["*/app:pull"],
}
UPLOAD = "00000000-0000-0000-0000-000000000000"
PATHS = {
    "ping": "/v2/",
    "catalog": "/v2/_catalog",
    "tags": "/v2/NAME/tags/list",
    "referrers": f"/v2/NAME/referrers/{DIGEST}",
    "manifest": "/v2/NAME/manifests/nothere",
    "blob": f"/v2/NAME/blobs/sha256:{'0' * 64}",
    "begin": "/v2/NAME/blobs/uploads/",
    "upload": f"/v2/NAME/blobs/uploads/{UPLOAD}",
}
NEEDS = {  # written out apart from the program: read, write, delete by the specification's table of endpoints
    "begin": dict.fromkeys(METHODS, "push"),
    "upload": dict.fromkeys(METHODS, "push"),
}
USUAL = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
MAY = {
    "admin": {name: {"pull", "push", "delete"} for name in REPOSITORIES},
    "reader": {name: {"pull"} for name in REPOSITORIES},
    "web": {"team/app": {"pull", "push"}, "base/os": {"pull"}},
    "exact": {"team": {"pull", "push", "delete"}},
    "writer": {"team/app": {"push"}},
    "cleaner": {name: {"delete"} for name in REPOSITORIES},
    "suffix": {"team/app": {"pull"}, "team2/app": {"pull"}},
}


class Site:
    def __init__(self, root: Path, tasks: anyio.abc.TaskGroup, *, anonymous_pull: bool = False) -> None:
        repositories, users = Repositories(root), Users(root / "users.json")
        if not users.all():
            for name, grants in ROLES.items():
                users.add(name, f"password of {name}", [parse_grant(text) for text in grants])
        self.access = Access(users, anonymous_pull=anonymous_pull)
        self.app = RegistryApp(Shelf(repositories), Uploads(repositories), self.access, [], tasks)
        self.client = AsgiClient(self.app)

    async def ask(self, role: str, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        login = base64.b64encode(f"{role}:password of {role}".encode()).decode()
        sent = {"content-length": str(len(body)), **({"authorization": f"Basic {login}"} if role else {}), **headers}
        return await self.client.request(method, path, body, headers=sent)

    async def push(self, name: str) -> None:
        assert (await self.ask("admin", "POST", f"/v2/{name}/blobs/uploads/?digest={DIGEST}", BODY)).status == 201
        sent = {"content-type": OCI}
        assert (await self.ask("admin", "PUT", f"/v2/{name}/manifests/1", IMAGE, **sent)).status == 201

    async def catalog(self, role: str, query: str = "") -> list[str]:
        reply = await self.ask(role, "GET", f"/v2/_catalog{query}")
        assert reply.status == 200
        return list(reply.json()["repositories"])


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with anyio.create_task_group() as tasks:
        yield Site(tmp_path, tasks)


def needed(kind: str, method: str) -> str:
    return NEEDS.get(kind, USUAL).get(method, "push")


@pytest.mark.anyio
async def test_every_route_and_method_for_every_role_in_every_repository(site: Site) -> None:
    assert set(PATHS) == set(site.app._routes), "a new route says here who may use it"
    seen = {200: 0, 401: 0, 403: 0}
    for kind, path in PATHS.items():
        assert target_of(path.replace("NAME", "a")).kind == kind
        for method in METHODS:
            for name in REPOSITORIES if "NAME" in path else ("",):
                where = path.replace("NAME", name)
                reply = await site.ask("", method, where)
                assert (reply.status, "www-authenticate" in reply.headers) == (401, True)
                seen[401] += 1
                for role, rights in MAY.items():
                    right = needed(kind, method)
                    everywhere = set[str]().union(*rights.values())
                    may = kind == "ping" or right in (rights.get(name, set()) if name else everywhere)
                    reply = await site.ask(role, method, where)
                    assert (reply.status not in (401, 403)) == may, (role, method, where, reply.status)
                    assert may or reply.status == 403, (role, method, where)
                    seen[200 if may else 403] += 1
    assert min(seen.values()) > 200, seen


@pytest.mark.anyio
async def test_what_may_not_be_asked_is_the_same_there_or_not(site: Site) -> None:
    await site.push("other")
    answers = [await site.ask("web", "GET", f"/v2/other/manifests/{tag}") for tag in ("1", "2")]
    answers += [await site.ask("web", "GET", f"/v2/{name}/tags/list") for name in ("other",)]
    assert {(reply.status, reply.body) for reply in answers} == {(403, answers[0].body)}


@pytest.mark.anyio
async def test_the_catalog_lists_what_one_may_pull_and_its_pages_count_nothing_else(site: Site) -> None:
    for name in REPOSITORIES:
        await site.push(name)
    assert await site.catalog("admin") == sorted(REPOSITORIES)
    assert await site.catalog("web") == ["base/os", "team/app"]
    assert await site.catalog("exact") == ["team"]
    assert await site.catalog("suffix") == ["team/app", "team2/app"]
    assert (await site.ask("writer", "GET", "/v2/_catalog")).status == 403, "who may pull nothing has no list"
    first = await site.ask("web", "GET", "/v2/_catalog?n=1")
    assert (first.json()["repositories"], "last=base%2Fos" in first.headers["link"]) == (["base/os"], True)
    last = await site.ask("web", "GET", "/v2/_catalog?n=1&last=base/os")
    assert (last.json()["repositories"], "link" in last.headers) == (["team/app"], False)


@pytest.mark.anyio
async def test_a_mount_needs_pull_where_the_blob_comes_from(site: Site) -> None:
    for name in ("other", "base/os", "team"):
        await site.push(name)
    begin = f"/v2/team/app/blobs/uploads/?mount={DIGEST}"

    async def mount(role: str, rest: str) -> int:
        return (await site.ask(role, "POST", begin + rest)).status

    refused = [await mount("web", f"&from={name}") for name in ("other", "team", "nothere", "team2/app")]
    assert refused == [202] * 4, "an upload is begun, whether the source has it or not"
    assert await mount("web", "&from=base/os&from=other") == 202, "the one that is looked at is the one that is used"
    assert await mount("web", "&from=team/../other") == 400
    assert await mount("web", "&from=team%2f..%2fother") == 400
    assert await mount("web", "&from=base/os%00") == 400
    assert await mount("web", "&from=BASE/os") == 202
    assert await mount("web", "&from=*") == 202
    assert await mount("writer", "&from=base/os") == 202, "to push there is no right to read here"
    assert (await site.ask("admin", "HEAD", f"/v2/team/app/blobs/{DIGEST}")).status == 404
    assert await mount("web", "&from=base/os") == 201
    assert (await site.ask("reader", "POST", begin + "&from=base/os")).status == 403


@pytest.mark.anyio
async def test_an_upload_is_gone_on_with_in_its_own_repository_only(site: Site) -> None:
    place = (await site.ask("exact", "POST", "/v2/team/blobs/uploads/")).headers["location"]
    assert (await site.ask("web", "PATCH", place, b"x")).status == 403
    stolen = place.replace("/v2/team/", "/v2/team/app/")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert (await site.ask("web", method, f"{stolen}?digest={DIGEST}")).status == 404
    assert (await site.ask("exact", "PUT", f"{place}?digest={DIGEST}", BODY)).status == 201


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name",
    ["team/../other", "team/..", "../other", "team/app/../../other", "Team/app", "team//app", "team/app\n", "team/*"],
)
async def test_a_hostile_name_is_no_name_whoever_asks(site: Site, name: str) -> None:
    await site.push("other")
    for role in ("web", "admin"):
        assert (await site.ask(role, "GET", f"/v2/{name}/manifests/1")).status == 400
    assert (await site.ask("", "GET", f"/v2/{name}/manifests/1")).status == 401, "strangers learn nothing of names"


@pytest.mark.anyio
async def test_pulls_for_everybody_add_to_what_a_user_has(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        site = Site(tmp_path, tasks, anonymous_pull=True)
        await site.push("other")
        for role in ("", "web", "writer", "cleaner"):
            assert (await site.ask(role, "GET", "/v2/other/manifests/1")).status == 200
            assert await site.catalog(role) == ["other"]
        assert (await site.ask("web", "POST", f"/v2/team/app/blobs/uploads/?mount={DIGEST}&from=other")).status == 201
        assert (await site.ask("web", "POST", "/v2/other/blobs/uploads/")).status == 403
        assert (await site.ask("", "DELETE", "/v2/other/manifests/1")).status == 401
        assert (await site.ask("web", "DELETE", "/v2/other/manifests/1")).status == 403


@pytest.mark.anyio
async def test_what_a_user_may_changes_with_the_next_request(site: Site, tmp_path: Path) -> None:
    assert (await site.ask("web", "GET", "/v2/base/os/tags/list")).status == 404
    Users(tmp_path / "users.json").add("web", "password of web", [parse_grant("team/*:pull")])
    assert (await site.ask("web", "GET", "/v2/base/os/tags/list")).status == 403


def test_who_has_no_grant_may_nothing() -> None:
    for asker in (NOBODY, Asker("ann"), Asker("ann", (Grant("*", frozenset()),))):
        for kind, path in PATHS.items():
            target = target_of(path.replace("NAME", "a"))
            assert kind == "ping" or not asker.may_ask(right_for("GET", target), target)
    assert not Asker("ann", (parse_grant("team/*:pull"),)).may_ask("pull", Target("manifest"))
