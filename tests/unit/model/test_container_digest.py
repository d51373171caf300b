"""A container's digest is what it says, however often it is asked and whatever it was copied from."""

from __future__ import annotations

import gc

from zlayer.model import container as module
from zlayer.testing.builders import container


def test_a_copy_with_changes_has_a_digest_of_its_own() -> None:
    one = container(env={"A": "1"})
    assert one.digest() == container(env={"A": "1"}).digest() == one.model_copy().digest()
    other = one.model_copy(update={"env": {"A": "2"}})
    assert other.digest() == container(env={"A": "2"}).digest() != one.digest()


def test_nothing_is_kept_of_those_that_are_gone() -> None:
    gc.collect()
    before = len(module._DIGESTS)
    made = [container(env={"N": str(n)}) for n in range(50)]
    assert len({one.digest() for one in made}) == 50
    del made
    gc.collect()
    assert len(module._DIGESTS) <= before
