"""config.json as a whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zlayer.model.errors import Invalid
from zlayer.runtime.contract import CreateRequest
from zlayer.runtime.oci.capabilities import DEFAULT, bounding
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies
from zlayer.runtime.oci.config import Place, config_of

PLACE = Place("/parent/x", Hierarchies())


@pytest.fixture
def request_(tmp_path: Path) -> CreateRequest:
    (tmp_path / "rootfs").mkdir()
    return CreateRequest(id="x", directory=tmp_path, rootfs=tmp_path / "rootfs", argv=("app", "-v"))


def of(request: CreateRequest, **changes: object) -> dict[str, Any]:
    return json.loads(json.dumps(config_of(replace(request, **changes), PLACE)))  # type: ignore[arg-type, no-any-return]


def test_safe_by_default(request_: CreateRequest) -> None:
    document = of(request_)
    process, linux = document["process"], document["linux"]
    assert document["ociVersion"] == "1.0.2"
    assert process["args"] == ["app", "-v"]
    assert process["noNewPrivileges"] is True
    assert set(process["capabilities"]["effective"]) == DEFAULT & bounding()
    assert "rlimits" not in process
    assert "oomScoreAdj" not in process
    assert {n["type"] for n in linux["namespaces"]} >= {"mount", "uts", "pid", "ipc"}
    assert linux["cgroupsPath"] == "/parent/x"
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]


def test_privileged_lifts_it_all(request_: CreateRequest) -> None:
    document = of(request_, privileged=True)
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & document["linux"].keys()
    assert document["process"]["noNewPrivileges"] is False
    assert set(document["process"]["capabilities"]["bounding"]) == bounding()


def test_a_user_has_nothing_effective(request_: CreateRequest) -> None:
    process = of(request_, user="5:6")["process"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [6]}
    assert process["capabilities"]["effective"] == process["capabilities"]["permitted"] == []


def test_network_by_path_or_the_hosts(request_: CreateRequest) -> None:
    kinds = {n["type"]: n.get("path") for n in of(request_, netns=Path("/run/netns/a"))["linux"]["namespaces"]}
    assert kinds["network"] == "/run/netns/a"
    assert "network" not in {n["type"] for n in of(request_)["linux"]["namespaces"]}


def test_environment_has_what_programs_count_on(request_: CreateRequest) -> None:
    env = of(request_, env={"A": "x=y", "PATH": "/p"}, hostname="h", tty=True)["process"]["env"]
    assert env == ["PATH=/p", "HOME=/", "HOSTNAME=h", "TERM=xterm", "A=x=y"]


def test_unconfined_has_no_filter(request_: CreateRequest) -> None:
    assert "seccomp" not in of(request_, seccomp="unconfined")["linux"]


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ()}, {"argv": ("",)}, {"argv": ("a\0b",)}, {"env": {"A=B": "1"}}, {"env": {"": "1"}},
        {"env": {"A": "\0"}}, {"cwd": "relative"}, {"hostname": "h" * 65}, {"rootfs": Path("/no/such")},
        {"user": "ghost"}, {"cap_add": ("NOPE",)}, {"sysctls": {"kernel.panic": "1"}},
    ],
)  # fmt: skip
def test_impossible_requests_are_refused_with_a_hint(request_: CreateRequest, changes: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        of(request_, **changes)
    assert caught.value.hint
