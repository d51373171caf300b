from __future__ import annotations

import json
import pickle

import pytest

from zlayer.model.certificate import Account, AcmeSettings, Order, Pair, StoredCertificate
from zlayer.model.secret import Secret


def test_a_secret_is_not_seen() -> None:
    secret = Secret("hunter2")
    assert (repr(secret), str(secret), f"{secret}") == ("***",) * 3
    assert "hunter2" not in repr(Pair("chain", secret)) + repr(AcmeSettings("a@b.test", eab_key=secret))
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_equal_by_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_sealed_keys_are_not_in_a_repr() -> None:
    sealed = "v1:SEALED"
    documents = (
        StoredCertificate(name="a", source="acme", key=sealed),
        Account(directory="https://ca.test", key=sealed),
        Order(name="a", names=("a",), directory="d", url="u", key=sealed, started_at=0),
    )
    assert all("SEALED" not in repr(document) for document in documents)
