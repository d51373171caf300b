"""What goes first, what never goes, and that no more goes than is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zlayer.image.contract import Want
from zlayer.image.reclaim import Held, Holdings, contents, plan
from zlayer.model.units import Bytes, Seconds, Timestamp

NOW = Timestamp(1_000_000)
DAY = 86_400


def held(name: str, *layers: str, age: float = 0, in_use: bool = False, superseded: bool = False) -> Held:
    packed = tuple(f"{layer}.gz" for layer in layers)
    return Held(name, layers, packed, (f"{name}.json",), Timestamp(NOW - age), in_use, superseded)


def holdings(*images: Held, orphans: tuple[str, ...] = ()) -> Holdings:
    names = {content for image in images for content in contents(image)} | set(orphans)
    return Holdings(
        images, {name: 1 if name.endswith("json") else 10 if name.endswith("gz") else 100 for name in names}, orphans
    )


def names(found: Holdings, want: Want) -> list[str]:
    return [piece.name for piece in plan(found, want, NOW)]


def test_by_itself_only_what_has_no_name_goes() -> None:
    there = holdings(held("old", "a", superseded=True), held("new", "b"), orphans=("left",))
    assert names(there, Want()) == ["left", "old"]


def test_what_runs_or_is_pinned_stays_whatever_is_asked() -> None:
    there = holdings(held("run", "a", in_use=True), held("kept", "b", in_use=True, superseded=True), held("idle", "c"))
    assert names(there, Want(unused=True)) == ["idle"]
    pieces = plan(there, Want(bytes=Bytes(10**9)), NOW)
    assert {piece.name for piece in pieces if piece.kind == "image"} == {"idle"}


def test_packed_layers_go_before_images_and_the_oldest_image_first() -> None:
    there = holdings(held("new", "a"), held("old", "b", age=9 * DAY), held("older", "c", age=20 * DAY))
    assert names(there, Want(bytes=Bytes(25))) == ["a.gz", "b.gz", "c.gz"]
    assert names(there, Want(bytes=Bytes(31)))[3:] == ["older"]
    assert names(there, Want(unused=True, older_than=Seconds(10 * DAY))) == ["older"]


def test_what_two_images_share_counts_with_the_last_of_them() -> None:
    there = holdings(held("one", "base", "a", age=5), held("two", "base", "b"))
    sizes = {piece.name: piece.size for piece in plan(there, Want(unused=True), NOW)}
    assert sizes == {"one": 111, "two": 221}
    assert sum(sizes.values()) == sum(there.sizes.values())


IMAGES = st.lists(
    st.builds(
        held,
        st.uuids().map(str),
        st.sampled_from("abcdef"),
        st.sampled_from("abcdef"),
        age=st.integers(0, 100 * DAY),
        in_use=st.booleans(),
        superseded=st.booleans(),
    ),
    max_size=12,
)


@given(images=IMAGES, wanted=st.none() | st.integers(0, 3000), unused=st.booleans())
def test_never_content_of_what_stays(images: list[Held], wanted: int | None, unused: bool) -> None:
    there = holdings(*images)
    want = Want(unused=unused, bytes=None if wanted is None else Bytes(wanted))
    pieces = plan(there, want, NOW)
    gone = {piece.name for piece in pieces if piece.kind == "image"}
    assert not {one.reference for one in images if one.in_use} & gone
    assert len(pieces) == len({(piece.kind, piece.name) for piece in pieces})
    assert wanted is None or sum(piece.size for piece in pieces[:-1]) < max(wanted, 1)
    freed = sum(piece.size for piece in pieces if piece.kind == "image")
    stays = {content for one in images if one.reference not in gone for content in contents(one)}
    assert freed <= sum(size for name, size in there.sizes.items() if name not in stays)
