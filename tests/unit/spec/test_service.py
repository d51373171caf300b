from __future__ import annotations

import re

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.model import ImageSpec, ServiceSpec
from zlayer.spec.service import LATER, SUPPORTED, SYNONYMS

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


def service(text: str) -> ServiceSpec:
    return load(f"{HEAD}    {text}").services["web"]


def test_an_image_is_enough() -> None:
    assert service("tty: false") == ServiceSpec(image=ImageSpec(name="a"))


@pytest.mark.parametrize("key", sorted(LATER))
def test_a_later_key_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        service(f"{key}: {{}}")
    first = min(caught.value.problems, key=lambda p: p.column)
    assert (first.kind, first.message, first.line) == ("Unsupported", f"not supported yet: {key}", 6)


def test_a_key_is_either_supported_or_later() -> None:
    assert SUPPORTED.keys() & LATER.keys() == set()


def test_every_supported_key_is_in_the_model_or_another_name() -> None:
    assert SUPPORTED.keys() - ServiceSpec.model_fields.keys() == {"cap_add", "host_network"}
    assert ServiceSpec.model_fields.keys() <= SUPPORTED.keys()


def test_words_from_elsewhere_lead_to_keys_that_exist() -> None:
    assert set(SYNONYMS.values()) <= SUPPORTED.keys() | LATER.keys()
    assert not SYNONYMS.keys() & (SUPPORTED.keys() | LATER.keys())


def test_cap_add_is_capabilities() -> None:
    assert service("cap_add: [net_raw]") == service("capabilities: [CAP_NET_RAW]")


def test_text_is_kept_as_written() -> None:
    made = service("env: {A: 010, B: 1.0, C: no, D: true, E: '', F: 0x1F, G: 2001-01-01}")
    assert made.env == {"A": "010", "B": "1.0", "C": "no", "D": "true", "E": "", "F": "0x1F", "G": "2001-01-01"}


def test_dump_of_a_default_service_names_no_other_key() -> None:
    assert not re.search(r"[A-Z]", "".join(ServiceSpec.model_fields))
