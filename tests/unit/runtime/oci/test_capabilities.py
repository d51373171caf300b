"""Docker's default set, and how add and drop change it."""

from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.runtime.oci.capabilities import DEFAULT, bounding, granted, named

EVERY = frozenset({*named(("ALL",), "x")})


def of(*, add: tuple[str, ...] = (), drop: tuple[str, ...] = (), privileged: bool = False) -> frozenset[str]:
    return granted(add, drop, privileged=privileged, available=EVERY)


def test_defaults_are_dockers_fourteen() -> None:
    assert of() == DEFAULT
    assert len(DEFAULT) == 14
    assert "CAP_SYS_ADMIN" not in DEFAULT


def test_names_with_and_without_prefix_in_any_case() -> None:
    assert of(add=("net_admin", "CAP_SYS_TIME")) == DEFAULT | {"CAP_NET_ADMIN", "CAP_SYS_TIME"}


def test_drop_wins_and_drop_all_comes_first() -> None:
    assert of(add=("CHOWN",), drop=("chown",)) == DEFAULT - {"CAP_CHOWN"}
    assert of(add=("CHOWN",), drop=("ALL",)) == {"CAP_CHOWN"}
    assert of(drop=("all",)) == frozenset()
    assert of(add=("ALL",), drop=("SYS_ADMIN",)) == EVERY - {"CAP_SYS_ADMIN"}


def test_privileged_has_all() -> None:
    assert of(privileged=True) == EVERY
    assert of(privileged=True, drop=("SYS_BOOT",)) == EVERY - {"CAP_SYS_BOOT"}


def test_unknown_and_unavailable_are_named() -> None:
    with pytest.raises(Invalid, match="NET_ADMN") as caught:
        of(add=("NET_ADMN",))
    assert "CAP_NET_ADMIN" in caught.value.hint
    with pytest.raises(Invalid, match="CAP_SYS_RESOURCE"):
        granted(("SYS_RESOURCE",), (), privileged=False, available=DEFAULT)


def test_all_takes_what_is_there() -> None:
    assert granted(("ALL",), (), privileged=False, available=DEFAULT) == DEFAULT


def test_bounding_is_read() -> None:
    assert bounding() <= EVERY
