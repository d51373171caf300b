"""The library's edges; the driver as a whole is held against pebble in tests/integration/test_acme.py."""

from __future__ import annotations

import json

from acme import client
from josepy.jwa import ES256

from zlayer.proxy.acme.library import _Empty, _jwk
from zlayer.proxy.certs import pem


def test_a_challenge_is_answered_with_an_empty_object_and_not_with_nothing() -> None:
    """POST-as-GET of a challenge asks how it is and starts nothing: an order would stay pending for ever."""
    network = client.ClientNetwork(key=_jwk(pem.new_key()), alg=ES256)
    nonce = b"nonce"
    signed = json.loads(network._wrap_in_jws(_Empty(), nonce, "https://ca.test/1"))  # type: ignore[arg-type] # not text
    assert signed["payload"] == "e30"
