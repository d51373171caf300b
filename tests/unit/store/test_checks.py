from __future__ import annotations

import pytest

from zlayer.model.errors import Conflict, Invalid
from zlayer.store.checks import MAX_KEY, MAX_VALUE, check_prefix, checked, refuse_unexpected


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        checked({"a": b"1", "/b": b"\xff", "/c": b"x" * (MAX_VALUE + 1), "/d": b"1"}, ["/d"], {"é": 1}, None)
    assert len(refused.value.problems) == 5
    assert "MiB" in refused.value.hint


def test_text_is_refused_as_a_value() -> None:
    with pytest.raises(Invalid, match="str, not bytes"):
        checked({"/a": "1"}, [], None, None)  # type: ignore[dict-item]  # what the check is for


def test_a_batch_is_a_copy() -> None:
    puts, expect = {"/a": b"1"}, {"/a": 3}
    batch = checked(puts, ["/b", "/c", "/b"], expect, None)
    puts["/z"], expect["/z"] = b"1", 9
    assert (batch.puts, batch.deletes, batch.expect) == ({"/a": b"1"}, ("/b", "/c"), {"/a": 3})
    assert batch.touched() == {"/a", "/b", "/c"}


@pytest.mark.parametrize("prefix", ["/", "/a b~", "/" + "k" * (MAX_KEY - 1)])
def test_a_prefix_may_be(prefix: str) -> None:
    check_prefix(prefix)
    assert checked({prefix: b"1"}, [], None, None).puts == {prefix: b"1"}


@pytest.mark.parametrize("prefix", ["", "a", "/\x7f", "/\t", "/ü", "/a\n", "/" + "k" * MAX_KEY])
def test_a_prefix_may_not_be(prefix: str) -> None:
    with pytest.raises(Invalid):
        check_prefix(prefix)


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [(0, 4, "already exists"), (4, 0, "does not exist"), (4, 5, "is at revision 5, not at 4")],
)
def test_a_conflict_says_what_is_there(wanted: int, found: int, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        refuse_unexpected({"/fine": 1, "/a": wanted}, {"/fine": 1, "/a": found})


def test_what_is_expected_passes() -> None:
    refuse_unexpected({"/a": 0, "/b": 2}, {"/b": 2})
    with pytest.raises(Conflict):
        refuse_unexpected({"/a": 0, "/b": 1}, {"/b": 2})
