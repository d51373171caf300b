"""The registry suite over our own registry and, to know that the suite is fair, over Debian's docker-registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zlayer.testing.contracts.registry import RegistryBench, RegistryContract
from zlayer.testing.own_registry import OwnRegistry
from zlayer.testing.registry import Registry, missing

_NONE = "2.8 has no referrers: 404 for the whole endpoint"
DEPARTURES = {
    "end_2_a_part_of_a_blob": "2.8 answers 416 with the length of a body that never comes",
    "end_5_and_13_chunks_in_order_only": "2.8 appends a chunk whatever its Content-Range says",
    "end_7_a_layer_kept_elsewhere_need_not_be_here": "2.8 takes no URLs that its configuration does not allow",
    "end_8_tags_in_order_and_in_pages": "2.8 lists all tags, as they come from the directory",
    "end_8_no_tag_for_a_page_of_none": "2.8 has no pages of tags",
    "end_9_a_tag_deleted": "2.8 deletes by digest only; the specification allows that, with this 400",
    "end_12_referrers_also_of_what_is_not_here": _NONE,
    "end_12_referrers_of_an_index_by_type": _NONE,
    "end_12_referrers_of_what_is_no_digest": _NONE,
}
"""Where docker-registry 2.8 is known to go its own way. One that is gone fails the suite, to be struck off here."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with OwnRegistry(tmp_path_factory.mktemp("own")) as running:
        yield running.address


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Registry(tmp_path_factory.mktemp("debian")) as running:
        yield running.address


class TestOwn(RegistryContract):
    @pytest.fixture
    def bench(self, own: str) -> RegistryBench:
        return RegistryBench(own)


@pytest.mark.skipif(bool(missing()), reason=missing())
class TestDebian(RegistryContract):
    @pytest.fixture
    def bench(self, debian: str, request: pytest.FixtureRequest) -> RegistryBench:
        name = request.node.name.partition("[")[0].removeprefix("test_")
        if why := DEPARTURES.get(name):
            request.applymarker(pytest.mark.xfail(strict=True, reason=why))
        return RegistryBench(debian)


def test_departures_are_of_tests_that_there_are() -> None:
    assert all(hasattr(RegistryContract, f"test_{name}") for name in DEPARTURES)
