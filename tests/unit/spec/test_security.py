from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.model import ServiceSpec
from zlayer.spec.security import check_security

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


def service(text: str) -> ServiceSpec:
    return load(f"{HEAD}    {text}").services["web"]


@pytest.mark.parametrize(
    ("text", "normal"),
    [("no-new-privileges", "no-new-privileges:true"), ("no-new-privileges=false", "no-new-privileges:false"),
     ("seccomp:unconfined", "seccomp=unconfined"), ("seccomp=default", "seccomp=default")],
)  # fmt: skip
def test_security_options_have_one_form(text: str, normal: str) -> None:
    assert check_security(text) == normal
    assert check_security(normal) == normal


@pytest.mark.parametrize(
    ("text", "kind"),
    [("label=disable", "Unsupported"), ("seccomp=/p.json", "Unsupported"), ("seccomp=", "InvalidValue"),
     ("no-new-privileges:maybe", "InvalidValue"), ("privileged", "InvalidValue")],
)  # fmt: skip
def test_other_security_options(text: str, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_security(text)
    assert caught.value.problems[0].kind == kind


@pytest.mark.parametrize(
    ("text", "mode"),
    [("tty: false", "bridge"), ("network_mode: default", "bridge"), ("network_mode: bridge", "bridge"),
     ("network_mode: host", "host"), ("host_network: true", "host"), ("network_mode: none", "none"),
     ("host_network: false", "bridge")],
)  # fmt: skip
def test_network_modes(text: str, mode: str) -> None:
    assert service(text).network_mode == mode


@pytest.mark.parametrize("text", ["container:web", "{container: {id: web}}", "!container web", "bridge:n", "!bridge n"])
def test_every_form_of_a_payload_is_known_and_comes_later(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        service(f"network_mode: {text}")
    assert [p.kind for p in caught.value.problems] == ["Unsupported"]


@pytest.mark.parametrize("text", ["5", "[host]", "{a: 1, b: 2}", "!hots x"])
def test_no_mode_at_all(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        service(f"network_mode: {text}")
    assert caught.value.problems[0].kind in {"WrongType", "InvalidValue"}
