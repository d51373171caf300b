from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.envrefs import check_key, check_value, resolve


@pytest.mark.parametrize("text", ["", "plain", "$HOME", "$E:HOME", "$", "${X}", "a$S:b"])
def test_values_that_pass_as_they_are(text: str) -> None:
    assert check_value(text) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [("$E:", "InvalidEnvVar"), ("$E:A-B", "InvalidEnvVar"), ("$S:", "InvalidEnvVar"), ("$S:1a", "InvalidEnvVar"),
     ("$S:@a", "InvalidEnvVar"), ("$S:@a/b/c", "InvalidEnvVar"), ("$S:a/b", "InvalidEnvVar"), ("$S:ok", "Unsupported"),
     ("$S:@web/ok", "Unsupported"), ("$secret://", "InvalidEnvVar"), ("$secret://a/b/", "InvalidEnvVar"),
     ("$secret://prod/KEY", "Unsupported"), ("$secret://prod/KEY/field", "Unsupported"), ("a\0b", "InvalidEnvVar")],
)  # fmt: skip
def test_references_are_checked_before_they_are_refused(text: str, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_value(text)
    assert caught.value.problems[0].kind == kind


@pytest.mark.parametrize("text", ["", "A=B", "A\0"])
def test_keys_that_no_process_can_have(text: str) -> None:
    with pytest.raises(Invalid):
        check_key(text)


def test_a_host_variable_is_looked_up() -> None:
    assert resolve("$E:REGION", {"REGION": "eu"}) == "eu"
    assert resolve("$E:EMPTY", {"EMPTY": ""}) == ""
    assert resolve("REGION", {"REGION": "eu"}) == "REGION"


def test_a_missing_host_variable_offers_the_nearest() -> None:
    with pytest.raises(Invalid, match="REGON is not set") as caught:
        resolve("$E:REGON", {"REGION": "eu"})
    assert caught.value.problems[0].suggestion == "$E:REGION"
