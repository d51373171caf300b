"""The error tree is whole, and survives the wire."""

from __future__ import annotations

from typing import Any

import pytest

from zlayer.model import keys
from zlayer.model.base import Document
from zlayer.model.container import (
    BindMount,
    CommandCheck,
    ContainerSpec,
    Health,
    HttpCheck,
    Resources,
    TcpCheck,
    TmpfsMount,
    VolumeMount,
)
from zlayer.model.errors import BY_CODE, Failed, Invalid, Problem, ZlayerError, from_document, json_pointer
from zlayer.model.instance import State
from zlayer.model.paths import ENV_DATA_DIR, Paths, default_data_dir


def test_every_error_is_in_the_table() -> None:
    assert set(BY_CODE.values()) == set(ZlayerError.__subclasses__())


@pytest.mark.parametrize("cls", BY_CODE.values())
def test_an_error_survives_the_wire(cls: type[ZlayerError]) -> None:
    problems = (Problem("bad", path="a.b", file="a.yml", line=3, column=5, suggestion="c", kind="K", pointer="/a.b"),)
    error = cls("what happened", hint="what to do", problems=problems, retry_after=2.5)
    back = from_document(error.document("/api/v1/x"))
    assert type(back) is cls
    assert (back.message, back.hint, back.problems, back.retry_after) == ("what happened", "what to do", problems, 2.5)


def test_a_document_is_a_problem_document() -> None:
    document = Invalid("no", problems=(Problem("bad", path="services.web.env"),)).document("/x")
    assert document["status"] == 422
    assert document["type"] == "urn:zlayer:error:invalid"
    assert document["instance"] == "/x"
    assert document["errors"][0]["pointer"] == "/services/web/env"
    assert type(from_document({"title": "?"})) is Failed


def test_pointers_are_exact_where_keys_have_dots_slashes_or_tildes() -> None:
    assert json_pointer(("env", "a.b", 0, "c/d~e")) == "/env/a.b/0/c~1d~0e"  # RFC 6901, section 3
    exact = Invalid("no", problems=(Problem("bad", path="env.a.b", pointer="/env/a.b"),)).document()
    assert exact["errors"][0]["pointer"] == "/env/a.b"
    assert Invalid("no", problems=(Problem("bad"),)).document()["errors"][0]["pointer"] == ""


def test_a_problem_reads_like_a_compiler_message() -> None:
    whole = Problem("unknown key 'prots'", "services.api", "shop.yml", 14, 7, "ports")
    assert str(whole) == "shop.yml:14:7: services.api: unknown key 'prots' (did you mean 'ports'?)"
    assert str(Problem("empty", file="shop.yml")) == "shop.yml: empty"
    assert str(Problem("bad")) == "bad"


def test_digests_tell_containers_apart_and_defaults_do_not_matter() -> None:
    one = ContainerSpec(image="a:1")
    assert one.digest() == ContainerSpec(image="a:1", resources=Resources(), env={}).digest()
    assert one.digest() == ContainerSpec.model_validate_json(one.model_dump_json()).digest()
    assert len({one.digest(), ContainerSpec(image="a:2").digest(), ContainerSpec(image="a:1", user="x").digest()}) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"mounts": (BindMount(source="/a", target="/b"), VolumeMount(name=None, target="/c"), TmpfsMount(target="/d"))},
        {"health": Health(check=TcpCheck(port=80))},
        {"health": Health(check=HttpCheck(port=80))},
        {"health": Health(check=CommandCheck(command="true"))},
    ],
)
def test_members_of_unions_survive_the_store(fields: dict[str, Any]) -> None:
    one = ContainerSpec(image="a:1", **fields)
    assert ContainerSpec.model_validate_json(one.model_dump_json(exclude_defaults=True)) == one


def test_checks_of_different_kinds_have_different_digests() -> None:
    kinds = (TcpCheck(port=80), HttpCheck(port=80))
    assert len({ContainerSpec(image="a:1", health=Health(check=kind)).digest() for kind in kinds}) == 2


def test_documents_are_frozen_and_closed() -> None:
    class Sample(Document):
        a: int = 1

    with pytest.raises(ValueError, match="frozen"):
        Sample().a = 2  # type: ignore[misc]
    with pytest.raises(ValueError, match="Extra inputs"):
        Sample.model_validate({"b": 1})


def test_states_only_grow_and_all_have_a_public_word() -> None:
    assert sorted(State) == list(State)
    assert {state.public for state in State} == {
        "pending", "initializing", "running", "stopping", "exited", "failed", "lost",
    }  # fmt: skip
    assert [state for state in State if state.ended] == [State.EXITED, State.FAILED, State.LOST]


def test_two_spellings_of_a_directory_are_one_daemon(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    root = Path(str(tmp_path))
    (root / "d").mkdir()
    (root / "link").symlink_to(root / "d")
    assert Paths.of(root / "link").id == Paths.of(root / "d" / ".." / "d").id
    assert Paths.of(root / "d").id != Paths.of(root).id
    monkeypatch.setenv(ENV_DATA_DIR, "/somewhere")
    assert default_data_dir() == Path("/somewhere")


def test_keys_nest_below_their_prefix() -> None:
    assert keys.instance("a").startswith(keys.INSTANCES)
    assert keys.address("n1", "10.0.0.2") == "/addresses/n1/10.0.0.2"
    assert keys.revision("shop", 2) < keys.revision("shop", 10)
