from __future__ import annotations

from datetime import timedelta

import pytest

from zlayer.image.keyless_der import read
from zlayer.image.keyless_time import MAX_TOKEN, time_of
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import root_of
from zlayer.testing.sigstore import MADE, Sigstore


def test_no_byte_of_an_answer_can_be_changed_unseen() -> None:
    """But for those nobody signs: the versions, and who the signer is by number."""
    sigstore = Sigstore()
    root, later = root_of(sigstore.root()), MADE + timedelta(minutes=3)
    token = sigstore.stamp(b"signature", later)
    assert time_of(token, b"signature", root) == later
    passed = []
    for at in range(len(token)):
        spoilt = token[:at] + bytes((token[at] ^ 4,)) + token[at + 1 :]
        try:
            assert time_of(spoilt, b"signature", root) == later, at
        except Unproven:
            continue
        passed.append(at)
    _, content = read(token).parts()
    signed_data = content.parts()[1].parts()[0].parts()
    signer = signed_data[3].parts()[0].parts()
    for signed in (signed_data[2].whole, signer[3].whole, signer[5].whole):
        start = token.index(signed)
        assert not set(range(start, start + len(signed))) & set(passed)


def test_each_beginning_of_an_answer_is_none() -> None:
    sigstore = Sigstore()
    root, token = root_of(sigstore.root()), sigstore.stamp(b"signature")
    for end in range(len(token)):
        with pytest.raises(Unproven):
            time_of(token[:end], b"signature", root)
    with pytest.raises(Unproven, match="more than"):
        time_of(token + bytes(MAX_TOKEN), b"signature", root)
