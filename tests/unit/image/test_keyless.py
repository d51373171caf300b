"""Every check of a keyless signature, each made to fail by one change to a good one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from zlayer.image.keyless import Signed, verify_keyless
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_root import root_of
from zlayer.testing.sigstore import MADE, Authority, Json, Keyless, Sigstore, Wish, text

MESSAGE, PAYLOAD = b"what was signed", None
ALLOWED = (Identity("https://issuer.example", "dev@example.com"),)


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


class Made:
    """A signature of `MESSAGE` and what is beside it, to be spoilt."""

    def __init__(self, signer: Keyless, **entry: Any) -> None:  # Any: as `Keyless.entry`
        self.signer, self.sigstore = signer, signer.sigstore
        self.signature = signer.sign(MESSAGE)
        self.body = signer.record(MESSAGE, self.signature)
        self.material: Json = {
            "certificate": text(signer.der), "entries": [signer.entry(self.body, **entry)], "timestamps": [],
            "proof_wanted": True,
        }  # fmt: skip

    @property
    def entry(self) -> Json:
        entry: Json = self.material["entries"][0]
        return entry

    def verify(
        self,
        message: bytes = MESSAGE,
        root: str = "",
        allowed: tuple[Identity, ...] = ALLOWED,
        payload: bytes | None = None,
    ) -> Signed:
        trusted = root_of(root or self.sigstore.root())
        return verify_keyless(self.material, message, self.signature, payload, root=trusted, allowed=allowed)

    def refused(self, why: str, **given: Any) -> None:  # Any: as `verify`
        with pytest.raises(Unproven, match=why):
            self.verify(**given)


def test_who_signed_when_and_where_it_stands(sigstore: Sigstore) -> None:
    made = Made(sigstore.signer())
    assert made.verify() == Signed(
        "https://issuer.example", "dev@example.com", "https://rekor.example", 4321, "2024-05-06T12:00:00Z"
    )


@pytest.mark.parametrize("entry", [{"proof": False}, {"set_": False}])
def test_one_word_of_the_log_and_one_signed_time_are_enough(sigstore: Sigstore, entry: dict[str, bool]) -> None:
    made = Made(sigstore.signer(), **entry)
    if "proof" in entry:
        made.refused("has no proof that it is in the log, which its format demands")
        made.material["proof_wanted"] = False
    else:
        made.refused("has no signed time")
        made.material["timestamps"] = [text(sigstore.stamp(made.signature, MADE + timedelta(minutes=2)))]
    assert made.verify().subject == "dev@example.com"


def test_without_any_word_of_a_log(sigstore: Sigstore) -> None:
    made = Made(sigstore.signer(), set_=False, proof=False)
    made.refused("neither a promise of the log")
    made.material["entries"] = []
    made.refused("is in no transparency log")


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(issuer="https://evil.example"), "no identity of the policy"),
        (Wish(issuer="https://issuer.example/"), "no identity of the policy"),
        (Wish(subject="dev@example.com.evil.example"), "no identity of the policy"),
        (Wish(issuer_v1="https://issuer.example", issuer="https://evil.example"), "no OIDC issuer, or two"),
        (Wish(issuer=""), "no OIDC issuer, or two"),
        (Wish(code_signing=False), "not for code signing"),
        (Wish(sct="none"), r"without a proof of publication \(SCT\)"),
        (Wish(sct="stranger"), "is by no log of the trusted root"),
        (Wish(sct="another"), "is by no log of the trusted root, or for another"),
        (Wish(ca=True), "the certificate of an authority"),
        (Wish(critical="1.2.3.4"), "a critical extension nobody knows: 1.2.3.4"),
        (Wish(start=MADE - timedelta(hours=2), end=MADE - timedelta(hours=1)), "when its certificate was not valid"),
        (Wish(start=MADE + timedelta(minutes=1), end=MADE + timedelta(hours=1)), "when its certificate was not valid"),
        (Wish(names=(x509.RFC822Name("dev@example.com"), x509.RFC822Name("x@example.com"))), "exactly one e-mail"),
        (Wish(names=(x509.DNSName("example.com"),)), "exactly one e-mail"),
        (Wish(names=(x509.UniformResourceIdentifier("dev@example.com"),)), "a name that is none"),
        (Wish(subject="dev@example.com\n"), "a name that is none"),
        (Wish(subject="x@evil.example\ndev@example.com"), "a name that is none"),
        (Wish(subject="x@evil.example@example.com"), "a name that is none"),
        (Wish(key=ec.generate_private_key(ec.SECP192R1())), "whose key is weak"),
        (Wish(key=ec.generate_private_key(ec.SECP384R1())), "whose key is weak or of another sort"),
    ],
)
def test_certificates_that_will_not_do(sigstore: Sigstore, wish: Wish, why: str) -> None:
    Made(sigstore.signer(wish)).refused(why)


def test_an_old_certificate_names_its_issuer_the_old_way(sigstore: Sigstore) -> None:
    Made(sigstore.signer(Wish(issuer="", issuer_v1="https://issuer.example"))).verify()
    Made(sigstore.signer(Wish(issuer_v1="https://issuer.example"))).verify()


def test_another_authority_of_the_same_name(sigstore: Sigstore) -> None:
    other = Sigstore(ca=Authority.make("fulcio"), ct=sigstore.ct, rekor=sigstore.rekor)
    Made(other.signer()).refused("by no authority of the trusted root", root=sigstore.root())


def until(end: str, *path: str) -> Callable[[Json], object]:
    def change(root: Json) -> None:
        held = root[path[0]][0]
        for key in path[1:]:
            held = held[key]
        held["validFor"]["end"] = end

    return change


def test_outside_the_times_of_the_trusted_root(sigstore: Sigstore) -> None:
    made = Made(sigstore.signer())
    for path, why in {
        ("certificateAuthorities",): "when https://fulcio.example was not to be believed",
        ("ctlogs", "publicKey"): "is by no log of the trusted root",
        ("tlogs", "publicKey"): "is in the log https://rekor.example at a time when it is not to be believed",
    }.items():
        made.refused(why, root=sigstore.root(until("2024-05-06T11:00:00Z", *path)))
        made.verify(root=sigstore.root(until("2024-05-06T12:00:00Z", *path)))
    gone = Sigstore(ca=Authority.make("old", MADE - timedelta(9), MADE - timedelta(1)))
    Made(gone.signer()).refused("when the authority https://fulcio.example was not valid")


def test_a_chain_over_what_is_no_authority(sigstore: Sigstore) -> None:
    leaf = sigstore.signer()
    fake = Sigstore(
        ca=Authority(leaf.key, (leaf.certificate, *sigstore.ca.chain)), ct=sigstore.ct, rekor=sigstore.rekor
    )
    made = Made(fake.signer())
    made.refused("by no authority", root=sigstore.root())
    made.refused("over a certificate that is no authority")


def test_swapped_parts(sigstore: Sigstore) -> None:
    one, two = Made(sigstore.signer()), Made(sigstore.signer())
    one.refused("not by the key of its certificate, or is broken", message=b"another artifact")
    swapped = copy.deepcopy(one.material)
    one.material["certificate"] = two.material["certificate"]
    one.refused("not by the key of its certificate")
    one.material = {**swapped, "entries": two.material["entries"]}
    one.refused("a log entry about another signature")
    one.material = swapped
    body = one.signer.record(b"another artifact", one.signature)
    one.material["entries"] = [one.signer.entry(body)]
    one.refused("a log entry about another artifact")
    other = two.signer.record(MESSAGE, one.signature)
    one.material["entries"] = [one.signer.entry(other)]
    one.refused("a log entry about another certificate")


def test_the_promise_of_another_entry(sigstore: Sigstore) -> None:
    for key, value in {"logIndex": "4322", "integratedTime": str(int(MADE.timestamp()) + 1)}.items():
        made = Made(sigstore.signer())
        made.entry[key] = value
        made.refused(r"promise of the log \(SET\) that is broken, or for another entry")
    made = Made(sigstore.signer())
    made.entry["inclusionPromise"] = Made(sigstore.signer()).entry["inclusionPromise"]
    made.refused("broken, or for another entry")


def proof_of(made: Made) -> Json:
    proof: Json = made.entry["inclusionProof"]
    return proof


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda made: made.entry.update(inclusionProof=made.sigstore.proof(b"other")), "does not lead to the root"),
        (lambda made: proof_of(made).update(logIndex="4"), "does not lead to the root"),
        (lambda made: proof_of(made).update(logIndex="99"), "does not lead to the root"),
        (lambda made: proof_of(made).update(hashes=proof_of(made)["hashes"][:-1]), "does not lead to the root"),
        (lambda made: proof_of(made).update(hashes=[*proof_of(made)["hashes"], text(b"0" * 32)]), "does not lead"),
        (lambda made: proof_of(made).update(treeSize="13"), "another tree than its checkpoint"),
        (lambda made: proof_of(made).update(rootHash=text(b"0" * 32)), "another tree than its checkpoint"),
        (lambda made: proof_of(made).update(hashes=[text(b"0" * 32)] * 65), "is none"),
        (lambda made: proof_of(made).pop("checkpoint"), "has no object 'checkpoint'"),
        (lambda made: proof_of(made)["checkpoint"].update(envelope="x"), "a checkpoint that is none"),
        (lambda made: proof_of(made).update(checkpoint=Sigstore().proof(made.body)["checkpoint"]), "did not sign"),
        (lambda made: proof_of(made)["checkpoint"].update(
            envelope=proof_of(made)["checkpoint"]["envelope"].replace("\n12\n", "\n13\n")), "did not sign"),
        (lambda made: made.entry.update(inclusionProof=3), "an inclusion proof that is none"),
        (lambda made: made.entry.update(logId={"keyId": text(b"9" * 32)}), "a transparency log that the trusted root"),
        (lambda made: made.entry.update(kindVersion={"kind": "dsse", "version": "0.0.1"}), "another kind than it says"),
        (lambda made: made.entry.update(logIndex="-1"), "no proper log index"),
        (lambda made: made.entry.update(integratedTime=True), "no proper time of the log"),
        (lambda made: made.entry.update(canonicalizedBody="%"), "is not base64"),
    ],
)  # fmt: skip
def test_log_entries_that_will_not_do(sigstore: Sigstore, spoil: Callable[[Made], object], why: str) -> None:
    made = Made(sigstore.signer())
    spoil(made)
    made.refused(why)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 1), (1, 0), (0, 7), (7, 0), (4, 4), (8, 3), (20, 13)])
def test_proofs_in_trees_of_each_shape(sigstore: Sigstore, before: int, after: int) -> None:
    made = Made(sigstore.signer())
    made.entry["inclusionProof"] = sigstore.proof(made.body, before=before, after=after)
    made.verify()


def test_every_proven_time_must_fit(sigstore: Sigstore) -> None:
    made = Made(sigstore.signer())
    late = datetime(2024, 6, 1, tzinfo=UTC)
    made.material["timestamps"] = [text(sigstore.stamp(made.signature)), text(sigstore.stamp(made.signature, late))]
    made.refused("when its certificate was not valid")
    made.material["timestamps"].pop()
    made.verify()


def stamped(sigstore: Sigstore, stamp: Callable[[bytes], bytes]) -> Made:
    made = Made(sigstore.signer(), set_=False)
    made.material["timestamps"] = [text(stamp(made.signature))]
    return made


def test_timestamps_that_will_not_do(sigstore: Sigstore) -> None:
    other = Sigstore(ca=sigstore.ca, ct=sigstore.ct, rekor=sigstore.rekor)
    good = sigstore.stamp(b"x")
    stamped(sigstore, sigstore.stamp).verify()
    for stamp, why in (
        (lambda _: good, "a timestamp for another signature"),
        (other.stamp, "a timestamp by no authority of the trusted root"),
        (
            lambda s: sigstore.stamp(s, content=_info(sigstore.stamp(s, MADE + timedelta(1)))),
            "whose content was changed",
        ),
        (lambda s: sigstore.stamp(s, status=b"\2"), "refused to give"),
        (lambda s: sigstore.stamp(s)[:-1], "cannot be read"),
        (lambda s: sigstore.stamp(s) + b"\0", "cannot be read"),
        (lambda s: b"\x30\x84\xff\xff\xff\xff", "cannot be read"),
        (lambda s: b"", "cannot be read"),
        (lambda s: sigstore.stamp(s, datetime(2026, 1, 1, tzinfo=UTC)), "a timestamp that was made at 2026"),
        (lambda s: b"0" * 20_000, "cannot be read: more than"),
        (lambda s: _flipped(sigstore.stamp(s)), "a timestamp"),
    ):
        stamped(sigstore, stamp).refused(why)
    none = sigstore.root(lambda root: root.pop("timestampAuthorities"))
    stamped(sigstore, sigstore.stamp).refused("names no timestamp authority", root=none)
    for uses in ((), (ExtendedKeyUsageOID.CODE_SIGNING,)):
        wrong = Sigstore(stamper_uses=uses)
        stamped(wrong, wrong.stamp).refused("not for timestamps")


def _info(answer: bytes) -> bytes:
    """The TSTInfo of an answer."""
    from zlayer.image.keyless_der import read

    return read(answer).parts()[1].parts()[1].parts()[0].parts()[2].parts()[1].parts()[0].body


def _flipped(answer: bytes) -> bytes:
    return answer[:-1] + bytes((answer[-1] ^ 1,))


def test_a_weak_key_of_an_authority_is_refused_with_its_root(sigstore: Sigstore) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = weak.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(Unproven, match=r"the key of ctlogs\[0\] is weak"):
        root_of(sigstore.root(lambda root: root["ctlogs"][0]["publicKey"].update(rawBytes=text(der))))


def test_an_entry_of_an_envelope(sigstore: Sigstore) -> None:
    made = Made(sigstore.signer())
    body = made.signer.envelope_record(b"payload", made.signature)
    made.material["entries"] = [made.signer.entry(body)]
    made.verify(payload=b"payload")
    made.refused("about another artifact", payload=b"other")
    made.refused("of an envelope, and is none")


def test_hostile_material(sigstore: Sigstore) -> None:
    changes: tuple[Json, ...] = ({"certificate": None}, {"certificate": "AAAA"}, {"entries": {}}, {"entries": [1]},
               {"timestamps": {}}, {"timestamps": ["AA=="] * 9}, {"certificate": text(b"\x30\x80" * 50)})  # fmt: skip
    for change in changes:
        made = Made(sigstore.signer())
        made.material.update(change)
        with pytest.raises(Unproven):
            made.verify()
    made = Made(sigstore.signer())
    for cut in range(0, len(made.signer.der), 7):
        flipped = made.signer.der[:cut] + bytes((made.signer.der[cut] ^ 0x11,)) + made.signer.der[cut + 1 :]
        for der in (made.signer.der[:cut], flipped):
            made.material["certificate"] = text(der)
            with pytest.raises(Unproven):
                made.verify()


def test_material_is_json(sigstore: Sigstore) -> None:
    made = Made(sigstore.signer())
    made.material = json.loads(json.dumps(made.material))
    made.verify()
