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
