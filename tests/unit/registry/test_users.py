"""Users and rights: hashes, changes by others, files that are wrong; and who is let in."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import anyio
import pytest

from zlayer.model.errors import Corrupt, Denied, Invalid, NotFound
from zlayer.registry.access import Access, right_for
from zlayer.registry.faults import Refusal
from zlayer.registry.grants import ALL, Grant, allows, grant
from zlayer.registry.names import Target
from zlayer.registry.users import Users

PULL = [grant("*", ["pull"])]


def test_a_user_is_who_knows_the_password(tmp_path: Path) -> None:
    users, seen_by_another = Users(tmp_path / "users.json"), Users(tmp_path / "users.json")
    assert users.add("ann", "correct horse", PULL)
    for _ in range(2):
        found = seen_by_another.check("ann", "correct horse")
        assert found is not None
        assert found.grants == tuple(PULL)
    assert users.check("ann", "correct hors") is None
    assert users.check("bob", "correct horse") is None
    assert users.check("ann", "x" * 5000) is None
    assert not users.add("ann", "battery staple", [Grant("*", ALL)])
    assert seen_by_another.check("ann", "correct horse") is None, "though it was right a moment ago"
    assert "battery" not in (tmp_path / "users.json").read_text()
    assert "hash" not in repr(users.all())
    users.remove("ann")
    assert seen_by_another.check("ann", "battery staple") is None
    with pytest.raises(NotFound):
        users.remove("ann")


def test_what_is_no_user(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    for name, password, grants in (
        ("a:b", "long enough", PULL), ("", "long enough", PULL), ("ann", "short", PULL), ("ann", "long\nenough", PULL),
        ("ann", "long enough", []),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            users.add(name, password, grants)
    assert users.all() == []


WRONG: tuple[dict[str, object], ...] = (
    {"rights": ["fly"]}, {"rights": "pull"}, {"rights": [1]}, {"grants": {"team/*": ["fly"]}},
    {"grants": {"team/*": []}},
    {"grants": {"../*": ["pull"]}}, {"grants": ["team/*"]}, {"grants": {"team/*": "pull"}}, {"grants": None},
)  # fmt: skip
"""What no program of ours writes: a grant that cannot be understood must not be read as a wider or no one."""


def test_rights_in_some_repositories_are_kept_and_older_programs_give_no_more(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    given = [grant("team/*", ["pull"]), grant("*", ["pull"]), grant("team/*", ["push"])]
    Users(file).add("ann", "long enough", given)
    [ann] = Users(file).all()
    assert ann.grants == (grant("*", ["pull"]), grant("team/*", ["pull", "push"]))
    raw = json.loads(file.read_text())["users"]["ann"]
    assert (raw["rights"], raw["grants"]) == (["pull"], {"team/*": ["pull", "push"]})
    Users(file).add("ann", "long enough", [grant("team/*", ["delete"])])
    assert json.loads(file.read_text())["users"]["ann"]["rights"] == [], "what there is without a pattern: nothing"


def test_a_file_from_before_there_were_grants_is_read_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    Users(file).add("old", "long enough", [grant("*", ["pull", "push"])])
    document = json.loads(file.read_text())
    del document["users"]["old"]["grants"]
    file.write_text(json.dumps(document))
    users = Users(file)
    found = users.check("old", "long enough")
    assert found is not None
    assert allows(found.grants, "push", "any/thing")
    assert not allows(found.grants, "delete", "any/thing")
    users.add("new", "long enough", [grant("team/*", ["pull"])])
    assert Users(file).check("old", "long enough") == found


def test_files_that_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    users = Users(file)
    users.add("ann", "long enough", PULL)
    good = json.loads(file.read_text())
    file.chmod(0o640)
    with pytest.raises(Denied, match="0640"):
        users.all()
    for text in (
        "",
        "[]",
        "{}",
        json.dumps({**good, "schema": 2}),
        json.dumps({**good, "users": {"a": {"rights": 3}}}),
        *(json.dumps({**good, "users": {"ann": {**good["users"]["ann"], **wrong}}}) for wrong in WRONG),
    ):
        file.unlink()
        file.touch(mode=0o600)
        file.write_text(text)
        with pytest.raises(Corrupt):
            Users(file).all()


BLOB = Target("blob", "a", "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("method", "target", "right"),
    [
        ("GET", BLOB, "pull"),
        ("HEAD", Target("tags", "a"), "pull"),
        ("DELETE", BLOB, "delete"),
        ("PUT", Target("manifest", "a", "x"), "push"),
        ("GET", Target("upload", "a", "x"), "push"),
        ("DELETE", Target("upload", "a", "x"), "push"),
        ("POST", Target("begin", "a"), "push"),
        ("BREW", BLOB, "push"),
    ],
)
def test_the_right_of_each_request(method: str, target: Target, right: str) -> None:
    assert right_for(method, target) == right


def test_who_is_let_in(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    users.add("ann", "long enough", PULL)
    basic = {"authorization": "Basic " + base64.b64encode(b"ann:long enough").decode()}
    empty = {"authorization": "Basic Og=="}

    def admit(access: Access, method: str, headers: dict[str, str]) -> str:
        try:
            return anyio.run(access.admit, method, BLOB, headers).name
        except Refusal as refusal:
            return str(refusal.status)

    closed, open_ = Access(users), Access(users, anonymous_pull=True)
    assert [admit(closed, "GET", one) for one in ({}, empty, basic)] == ["401", "401", "ann"]
    assert [admit(open_, "GET", one) for one in ({}, empty, basic)] == ["-", "-", "ann"]
    assert [admit(open_, "DELETE", one) for one in ({}, empty, basic)] == ["401", "401", "403"]
    everybody = Access(users, anonymous=True)
    assert admit(everybody, "DELETE", {"host": "127.0.0.1:5000"}) == "-"
    assert admit(everybody, "GET", {"host": "[::1]:5000"}) == "-"
    assert admit(everybody, "GET", {"host": "evil.example:5000"}) == "403"
    assert admit(everybody, "PUT", {"host": "localhost", "origin": "null"}) == "403"


@pytest.mark.anyio
async def test_a_damaged_file_of_users_lets_nobody_in_and_is_not_described(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    users.add("ann", "long enough", PULL)
    (tmp_path / "users.json").chmod(0o644)
    basic = {"authorization": "Basic " + base64.b64encode(b"ann:long enough").decode()}
    with pytest.raises(Refusal) as told:
        await Access(users).admit("GET", BLOB, basic)
    assert (told.value.status, str(tmp_path) in told.value.message) == (500, False)
