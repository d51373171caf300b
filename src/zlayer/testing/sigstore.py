"""A Sigstore of one's own for tests: a CA, a CT log, Rekor, a timestamp authority, and signatures by all of them.

It answers no requests: what its services would have given is made here, and each part can be made wrong by an argument.
Sources: Fulcio's certificate specification, RFC 6962 (SCTs, Merkle trees), Rekor's entry types, RFC 3161.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from zlayer.testing.signing import enveloped
from zlayer.testing.sigstore_der import node, octets
from zlayer.testing.sigstore_time import token

Json = dict[str, Any]  # Any: a JSON document
MADE = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
"""When signatures are made unless said otherwise."""
SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
Version = Literal["0.1", "0.2", "0.3"]
_USAGE = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
          "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")  # fmt: skip


def fresh() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _USAGE})


@dataclass(frozen=True, slots=True)
class Authority:
    """An intermediate under a root; `start` and `end` are of both."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def make(
        cls, name: str, start: datetime = MADE - timedelta(365), end: datetime = MADE + timedelta(365)
    ) -> Authority:
        top, key = fresh(), fresh()
        first, second = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {one}")]) for one in ("root", "ca")
        )
        made = [
            x509.CertificateBuilder(issuer, subject, own.public_key(), x509.random_serial_number(), start, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
            .add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(top.public_key()), critical=False)
            .sign(top, SHA256())
            for issuer, subject, own, depth in ((first, second, key, 0), (first, first, top, 1))
        ]
        return cls(key, tuple(made))


@dataclass(frozen=True, slots=True)
class Wish:
    """What the certificate shall be like; the defaults make a good one."""

    subject: str = "dev@example.com"
    issuer: str = "https://issuer.example"
    issuer_v1: str | None = None
    start: datetime = MADE - timedelta(minutes=1)
    end: datetime = MADE + timedelta(minutes=9)
    code_signing: bool = True
    sct: Literal["good", "none", "stranger", "another"] = "good"
    names: tuple[x509.GeneralName, ...] = ()
    critical: str = ""
    ca: bool = False
    key: Any = None  # Any: a private key of whatever sort


@dataclass(slots=True)
class Sigstore:
    """One instance, with all its keys."""

    ca: Authority = field(default_factory=lambda: Authority.make("fulcio"))
    tsa: Authority = field(default_factory=lambda: Authority.make("tsa"))
    ct: ec.EllipticCurvePrivateKey = field(default_factory=fresh)
    rekor: ec.EllipticCurvePrivateKey = field(default_factory=fresh)
    stamper: ec.EllipticCurvePrivateKey = field(default_factory=fresh)
    stamper_uses: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.TIME_STAMPING,)

    def root(self, change: Callable[[Json], object] = lambda _root: None) -> str:
        """The `trusted_root.json`, after `change` has had it."""
        start = {"start": "2023-01-01T00:00:00Z"}

        def log(name: str, key: ec.EllipticCurvePrivateKey) -> Json:
            held = {"rawBytes": text(spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": dict(start)}
            log_id = {"keyId": text(hashlib.sha256(spki(key)).digest())}
            return {"baseUrl": name, "hashAlgorithm": "SHA2_256", "publicKey": held, "logId": log_id}

        def authority(name: str, chain: tuple[x509.Certificate, ...]) -> Json:
            held = [{"rawBytes": text(one.public_bytes(Encoding.DER))} for one in chain]
            subject = {"organization": "example", "commonName": name}
            return {"uri": name, "subject": subject, "certChain": {"certificates": held}, "validFor": dict(start)}

        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("https://rekor.example", self.rekor)],
            "certificateAuthorities": [authority("https://fulcio.example", self.ca.chain)],
            "ctlogs": [log("https://ct.example", self.ct)],
            "timestampAuthorities": [authority("https://tsa.example", (self.stamping(), *self.tsa.chain))],
        }
        change(document)
        return json.dumps(document)

    def stamping(self) -> x509.Certificate:
        """The certificate of the timestamp authority's key: the same each time."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tsa")])
        start, end = MADE - timedelta(300), MADE + timedelta(300)
        issuer = self.tsa.chain[0].subject
        builder = x509.CertificateBuilder(issuer, subject, self.stamper.public_key(), 7, start, end)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.tsa.key.public_key())
        builder = builder.add_extension(usage("digital_signature"), critical=True).add_extension(above, critical=False)
        if self.stamper_uses:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.stamper_uses), critical=True)
        return builder.sign(self.tsa.key, SHA256(), ecdsa_deterministic=True)

    def signer(self, wish: Wish | None = None) -> Keyless:
        """A key and its certificate."""
        wish = wish or Wish()
        key = wish.key or fresh()
        builder = self._builder(wish, key)
        if wish.sct != "none":
            log = fresh() if wish.sct == "stranger" else self.ct
            body = builder.sign(self.ca.key, SHA256()).tbs_certificate_bytes
            body = body[:-1] + b"\0" if wish.sct == "another" else body
            promise = self._promise(log, body, wish.start)
            builder = builder.add_extension(x509.UnrecognizedExtension(SCTS, octets(promise)), critical=False)
        return Keyless(self, key, builder.sign(self.ca.key, SHA256()))

    def _builder(self, wish: Wish, key: Any) -> x509.CertificateBuilder:  # Any: a private key of whatever sort
        uri = "://" in wish.subject
        made = (
            x509.UniformResourceIdentifier(wish.subject)
            if uri
            else x509.RFC822Name._init_without_validation(wish.subject)
        )  # a hostile name must come to be
        names = wish.names or (made,)
        builder = (
            x509.CertificateBuilder(
                self.ca.chain[0].subject, x509.Name([]), key.public_key(), x509.random_serial_number(),
                wish.start, wish.end,
            )
            .add_extension(usage("digital_signature"), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.key.public_key()), critical=False
            )
        )  # fmt: skip
        if wish.code_signing:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        if wish.ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        arc = "1.3.6.1.4.1.57264.1"
        extra = {f"{arc}.8": node(0x0C, wish.issuer.encode())} if wish.issuer else {}
        if wish.issuer_v1 is not None:
            extra[f"{arc}.1"] = wish.issuer_v1.encode()
        if wish.critical:
            extra[wish.critical] = b"\5\0"
        for name, value in extra.items():
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(name), value)
            builder = builder.add_extension(unknown, critical=name == wish.critical)
        return builder

    def _promise(self, log: ec.EllipticCurvePrivateKey, body: bytes, made: datetime) -> bytes:
        stamp = (int(made.timestamp()) * 1000 + 321).to_bytes(8)
        issuer = self.ca.chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        entry = b"\0\1" + hashlib.sha256(issuer).digest() + len(body).to_bytes(3) + body
        signature = log.sign(b"\0\0" + stamp + entry + b"\0\0", ec.ECDSA(SHA256()))
        sct = b"\0" + hashlib.sha256(spki(log)).digest() + stamp + b"\0\0" + b"\4\3" + len(signature).to_bytes(2)
        sct += signature
        listed = len(sct).to_bytes(2) + sct
        return len(listed).to_bytes(2) + listed

    def promise(self, body: bytes, made: datetime, index: int) -> bytes:
        """Rekor's SET."""
        log_id = hashlib.sha256(spki(self.rekor)).hexdigest()
        document = {"body": text(body), "integratedTime": int(made.timestamp()), "logID": log_id, "logIndex": index}
        message = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return self.rekor.sign(message, ec.ECDSA(SHA256()))

    def proof(self, body: bytes, *, before: int = 5, after: int = 6) -> Json:
        """Of inclusion, in a tree with other entries before and after it; the checkpoint too."""
        others = [f"entry {at}".encode() for at in range(before + after)]
        leaves = [hashlib.sha256(b"\0" + one).digest() for one in (*others[:before], body, *others[before:])]
        top, path = _tree(leaves, before)
        origin = "rekor.example - 1"
        note = f"{origin}\n{len(leaves)}\n{text(top)}\n"
        hint = hashlib.sha256(spki(self.rekor)).digest()[:4]
        signature = text(hint + self.rekor.sign(note.encode(), ec.ECDSA(SHA256())))
        return {
            "logIndex": str(before), "treeSize": str(len(leaves)), "rootHash": text(top),
            "hashes": [text(one) for one in path],
            "checkpoint": {"envelope": f"{note}\n\N{EM DASH} rekor.example {signature}\n"},
        }  # fmt: skip

    def stamp(self, signature: bytes, made: datetime = MADE, **wrong: bytes) -> bytes:
        """An RFC 3161 answer; `wrong` as `sigstore_time.token` has it."""
        return token(self.stamper, self.stamping(), signature, made, **wrong)


@dataclass(frozen=True, slots=True)
class Keyless:
    """A key that a certificate vouches for, as long as it lives."""

    sigstore: Sigstore
    key: Any  # Any: a private key of whatever sort
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(self, message: bytes) -> bytes:
        made: bytes = self.key.sign(message, ec.ECDSA(SHA256()))
        return made

    def record(self, message: bytes, signature: bytes) -> bytes:
        """The body of Rekor's entry, a hashedrekord."""
        return json.dumps({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(message).hexdigest()}},
                "signature": {"content": text(signature), "publicKey": {"content": text(self.pem)}},
            },
        }, separators=(",", ":")).encode()  # fmt: skip

    def envelope_record(self, payload: bytes, signature: bytes) -> bytes:
        """The same of kind dsse."""
        envelope = json.dumps(enveloped(payload, signature), sort_keys=True, separators=(",", ":")).encode()
        return json.dumps({
            "apiVersion": "0.0.1", "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(envelope).hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [{"signature": text(signature), "verifier": text(self.pem)}],
            },
        }, separators=(",", ":")).encode()  # fmt: skip

    def entry(
        self, body: bytes, made: datetime = MADE, index: int = 4321, *, set_: bool = True, proof: bool = True
    ) -> Json:
        """Of a bundle's `tlogEntries`."""
        record = json.loads(body)
        entry: Json = {
            "logIndex": str(index),
            "logId": {"keyId": text(hashlib.sha256(spki(self.sigstore.rekor)).digest())},
            "kindVersion": {"kind": record["kind"], "version": record["apiVersion"]},
            "canonicalizedBody": text(body),
        }
        if set_:
            entry["integratedTime"] = str(int(made.timestamp()))
            entry["inclusionPromise"] = {"signedEntryTimestamp": text(self.sigstore.promise(body, made, index))}
        if proof:
            entry["inclusionProof"] = self.sigstore.proof(body)
        return entry


def _tree(leaves: list[bytes], at: int) -> tuple[bytes, list[bytes]]:
    """RFC 6962 2.1 as it is defined: the root, and the path of the leaf `at`."""
    if len(leaves) == 1:
        return leaves[0], []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = leaves[:half], leaves[half:]
    if at < half:
        one, path = _tree(left, at)
        other, _ = _tree(right, 0)
        return hashlib.sha256(b"\1" + one + other).digest(), [*path, other]
    other, path = _tree(right, at - half)
    one, _ = _tree(left, 0)
    return hashlib.sha256(b"\1" + one + other).digest(), [*path, one]
