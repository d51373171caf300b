"""Names, paths and words of one-offs and execs (zlayer.api.wellformed): refused before anything is made of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from zlayer.api.bodies import ExecBody, RunBody
from zlayer.api.wellformed import MAX_WORD, check_exec, check_run
from zlayer.model.errors import Invalid

from .conftest import StackFactory

IMAGE = "example.test/app:1"
BAD: dict[str, list[dict[str, Any]]] = {
    "name": [{"name": name} for name in ("../../x", "a/b", "..", "x y", "a\0b", "\x1b[31m", "é", "a" * 64)],
    "hostname": [{"hostname": name} for name in ("a\nb", "../..", "a\0", "x" * 65)],
    "workdir": [{"workdir": path} for path in ("../..", "/a/../..", "/a\0b", "x")],
    "user": [{"user": user} for user in ("0:0:0", "-1", "a\n", "a b")],
    "command.1": [{"command": ["ls", word]} for word in ("a\0b", "x" * (MAX_WORD + 1))],
    "entrypoint.0": [{"entrypoint": ["\0"]}],
    "env.A": [{"env": {"A": value}} for value in ("a\0b", "x" * MAX_WORD)],
    "env.": [{"env": {"": "x"}}],
    "env.A=B": [{"env": {"A=B": "x"}}],
    "mounts.0.source": [
        {"mounts": [{"target": "/m", "source": source}]} for source in ("..", "../../../etc", "a/b", "a\0", "/x\0")
    ]
    + [{"mounts": [{"type": "bind", "target": "/m", "source": source}]} for source in ("x", "")],
    "mounts.0.target": [{"mounts": [{"target": target}]} for target in ("/", "m", "/m/../..", "/a\0")],
    "tty": [{"tty": True}],
}


@pytest.mark.parametrize(("path", "fields"), [(path, fields) for path, each in BAD.items() for fields in each])
def test_what_cannot_be_is_named_by_its_path(path: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refusal:
        check_run(RunBody(image=IMAGE, **fields), live=False)
    assert [problem.path for problem in refusal.value.problems] == [path]


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refusal:
        check_run(RunBody(image=IMAGE, name="..", user="a b", detach=True), live=True)
    assert {problem.path for problem in refusal.value.problems} == {"detach", "name", "user"}


def test_what_people_write_passes() -> None:
    mounts = [
        {"source": "/srv/data", "target": "/data", "readonly": True},
        {"source": "pgdata", "target": "/var/lib/postgresql/data"},
        {"target": "/scratch"},
        {"target": "/tmp", "type": "tmpfs"},
    ]
    fields: dict[str, Any] = {"name": "queue-1", "hostname": "db.example", "user": "1000:www-data", "workdir": "/app"}
    fields |= {"command": ["sh", "-c", "echo 'ä'"], "env": {"A.B": "x=y", "EMPTY": ""}, "mounts": mounts}
    check_run(RunBody(image=IMAGE, **fields), live=False)
    check_run(RunBody(image=IMAGE, tty=True, stdin=True, user="", workdir=""), live=True)


@pytest.mark.parametrize("fields", [{"workdir": ".."}, {"env": {"A=": ""}}, {"user": "\n"}, {"command": ["a\0b"]}])
def test_exec_has_the_same_rules(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        check_exec(ExecBody(**{"command": ["true"], **fields}))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../../x"},
        {"env": {"A": "\ud800"}},
        {"\udcff": 1},
        {"cpu": math.inf},
        {"cpu": 1e308},
        {"memory": 2**63},
        {"mounts": [{"type": "volume", "source": "../../etc", "target": "/m"}]},
    ],
)
async def test_over_the_api_nothing_is_made(stack: StackFactory, fields: dict[str, Any]) -> None:
    async with stack() as s:
        reply = await s.client.request("POST", "/api/v1/run", {"image": IMAGE, **fields})
        assert reply.status == 422
        assert not s.views.instances()
        assert not s.machine.containers
