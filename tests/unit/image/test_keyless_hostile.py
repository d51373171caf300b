"""Material from strangers: whatever a registry serves, the answer is yes or `Unproven`, and never another exception."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zlayer.image.keyless import verify_keyless
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_material import envelope_of, of_bundle, of_notes
from zlayer.image.trust_root import root_of
from zlayer.testing.signing import encoded, message_of, payload
from zlayer.testing.sigstore import Json, Sigstore
from zlayer.testing.sigstore_image import bundle, notes_of

DIGEST = f"sha256:{'1' * 64}"
SIGSTORE = Sigstore()
ROOT = root_of(SIGSTORE.root())
BUNDLES: list[Json] = [
    json.loads(bundle(SIGSTORE.signer(), DIGEST, "0.2")), json.loads(bundle(SIGSTORE.signer(), DIGEST, stamped=True))
]  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=40).map(bytes.hex),
    st.just([]), st.just({}), st.just("AAAA"), st.lists(st.just({}), max_size=2),
)  # fmt: skip
SIGNER, CONTENT = SIGSTORE.signer(), payload(DIGEST, "r.example/a")
SIGNATURE = SIGNER.sign(CONTENT)
NOTES = notes_of(SIGNER, CONTENT, SIGNATURE)
ALLOWED = (Identity("https://issuer.example", "dev@example.com"),)


def paths(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # Any: JSON
    below = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [(*here, key) for key, _ in below] + [path for key, value in below for path in paths(value, (*here, key))]


def judge(document: Json) -> None:
    found, content, signature = envelope_of(encoded(document))
    material = of_bundle(found)
    if material is not None:
        verify_keyless(material, message_of(content), signature, content, root=ROOT, allowed=ALLOWED)


def test_the_good_ones_are() -> None:
    for document in BUNDLES:
        judge(document)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_bundle_with_a_part_replaced(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(BUNDLES)))
    *above, last = data.draw(st.sampled_from(paths(document)))
    place: Any = document  # Any: JSON
    for key in above:
        place = place[key]
    if data.draw(st.booleans()):
        place[last] = data.draw(VALUES)
    elif isinstance(place[last], str):
        at = data.draw(st.integers(0, max(len(place[last]) - 1, 0)))
        place[last] = place[last][:at] + data.draw(st.sampled_from("A9+/=\n é")) + place[last][at + 1 :]
    else:
        place.pop(last)
    try:
        judge(document)
    except Unproven:
        return


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_annotations_with_a_part_replaced(data: st.DataObject) -> None:
    notes = dict(NOTES)
    key = data.draw(st.sampled_from(sorted(notes)))
    at = data.draw(st.integers(0, len(notes[key]) - 1))
    changed = notes[key][:at] + data.draw(st.sampled_from('A9+/="\n}{ é')) + notes[key][at + 1 :]
    notes[key] = data.draw(st.one_of(VALUES, st.just(changed)))
    try:
        material = of_notes(notes)
        assert material is not None
        verify_keyless(material, CONTENT, SIGNATURE, None, root=ROOT, allowed=ALLOWED)
    except Unproven:
        return
    assert key.endswith(("/chain", "/bundle", "/certificate"))


def test_an_old_bundles_proof_without_a_checkpoint_counts_for_nothing() -> None:
    document = copy.deepcopy(BUNDLES[0])
    document["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    entry = document["verificationMaterial"]["tlogEntries"][0]
    entry["inclusionProof"].pop("checkpoint")
    judge(document)
    entry.pop("inclusionPromise")
    with pytest.raises(Unproven, match="has no object 'checkpoint'"):
        judge(document)
