from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from zlayer.image.trust_config import KEYS, read_key, read_rules
from zlayer.image.trust_rules import REQUIREMENTS
from zlayer.testing.signing import Kind, Signer
from zlayer.testing.sigstore import Sigstore


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519", "rsa"])
def test_a_key_of_each_sort(tmp_path: Path, kind: Kind) -> None:
    signer = Signer.make(kind)
    (tmp_path / "cosign.pub").write_bytes(signer.pem)
    rules, problems = read_rules(
        {"policy": [{"match": "r.example/team/*", "require": "signature", "keys": ["cosign.pub"],
                     "signed_as": ["up.example/*"]}]}, tmp_path,
    )  # fmt: skip
    assert problems == []
    assert rules[0].match == "r.example/team/*"
    assert rules[0].keys[0].fingerprint == signer.fingerprint
    assert rules[0].signed_as == ("up.example/*",)


def test_keys_that_are_none(tmp_path: Path) -> None:
    good = Signer.make()
    assert isinstance(good.key, ec.EllipticCurvePrivateKey)
    public = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = good.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    weak = rsa.generate_private_key(65537, 1024).public_key().public_bytes(*public)
    other = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(*public)
    for words, content in {
        "a private key": private,
        "exactly one": good.pem * 2,
        "exactly one public key in PEM": b"",
        "is no public key": good.pem.replace(b"MF", b"!!"),
        "at least 2048": weak,
        "wants ECDSA P-256": other,
    }.items():
        file = tmp_path / "key"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_key(file)


def test_every_problem_at_once(tmp_path: Path) -> None:
    text = """
    polcy = 1
    [[policy]]
    match = "r.example/team/*"
    requires = "signature"
    [[policy]]
    match = "team/*"
    require = "signed"
    [[policy]]
    match = "r.example/*/app"
    require = "signature"
    [[policy]]
    match = "r.example/app:1"
    require = "signature"
    keys = ["missing.pub", "key.pem"]
    identities = [{issuer = "https://issuer.example", subject = "me"}]
    trusted_root = "missing.json"
    [[policy]]
    match = "r.example"
    require = "refuse"
    keys = ["missing.pub"]
    [[policy]]
    match = "r.example/UPPER"
    require = "nothing"
    signed_as = "x"
    [[policy]]
    match = "*"
    require = "refuse"
    [[policy]]
    match = "*"
    require = "nothing"
    [[policy]]
    require = "nothing"
    """
    (tmp_path / "key.pem").write_text("nothing")
    _, problems = read_rules(tomllib.loads(text), tmp_path)
    told = {(p.path.removeprefix("image.policy."), p.message.partition(":")[0], p.suggestion) for p in problems}
    assert told == {
        ("image.polcy", "unknown key 'polcy'", "policy"),
        ("0.requires", "unknown key 'requires'", "require"),
        ("0.require", "the key 'require' is missing", ""),
        ("1.require", "'signed' is none of the requirements", "signature"),
        ("1.match", "'team/*' names no registry", "docker.io/team/*"),
        ("2.match", "'r.example/*/app' is no pattern", ""),
        ("2.keys", 'require = "signature" wants keys or identities', ""),
        ("3.match", "'r.example/app", "r.example/app"),
        ("3.identities", "identity 1", ""),
        ("3.keys", f"key 1, {tmp_path}/missing.pub", ""),
        ("3.keys", f"key 2, {tmp_path}/key.pem", ""),
        ("3.trusted_root", f"{tmp_path}/missing.json", ""),
        ("4.match", "'r.example' is a registry alone", "r.example/*"),
        ("4.keys", 'only goes with require = "signature", not with "refuse"', ""),
        ("4.keys", f"key 1, {tmp_path}/missing.pub", ""),
        ("5.match", "'r.example/UPPER' is no pattern", ""),
        ("5.signed_as", "wants a list of texts, not 'x'", ""),
        ("5.signed_as", 'only goes with require = "signature", not with "nothing"', ""),
        ("7.match", '"*" has a policy already', ""),
        ("8.match", "wants text", ""),
    }


def test_identities_and_their_root(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text(Sigstore().root())
    (tmp_path / "bad.json").write_text("{}")
    who = {"issuer": "https://issuer.example", "subject": "dev@example.com"}
    policy = {"match": "r.example/*", "require": "signature", "identities": [who], "trusted_root": "root.json"}
    rules, problems = read_rules({"policy": [policy]}, tmp_path)
    assert problems == []
    assert rules[0].root is not None
    assert (rules[0].identities[0].subject, rules[0].root.file) == ("dev@example.com", f"{tmp_path}/root.json")
    wrong: list[tuple[dict[str, object], str]] = [
        ({"trusted_root": "bad.json"}, "is no trusted root: its mediaType"),
        ({"trusted_root": 3}, "wants the name of a file"),
        ({"identities": who}, "wants tables"),
        ({"identities": [{**who, "subject": "*"}]}, "identity 1: wants a subject"),
        ({"identities": [], "keys": []}, "only goes with identities"),
        ({"require": "digest"}, 'only goes with require = "signature"'),
    ]
    for change, why in wrong:
        _, problems = read_rules({"policy": [{**policy, **change}]}, tmp_path)
        assert why in " ".join(one.message for one in problems), change
    _, problems = read_rules({"policy": [{k: v for k, v in policy.items() if k != "trusted_root"}]}, tmp_path)
    assert "identities want a trusted_root" in problems[0].message


@pytest.mark.parametrize("table", [3, {"policy": {"match": "*"}}, {"policy": ["*"]}])
def test_what_is_no_table(table: object, tmp_path: Path) -> None:
    rules, problems = read_rules(table, tmp_path)
    assert (rules, len(problems)) == ([], 1)


def test_the_page_about_trust_shows_policies_that_are_some(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "trust.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "cosign.pub").write_bytes(Signer.make().pem)
    (tmp_path / "trusted_root.json").write_text(Sigstore().root())
    rules, problems = read_rules(tomllib.loads(example)["image"], tmp_path)
    assert (len(rules), problems) == (3, [])
    assert all(f"| `{key}` |" in page for key in KEYS)
    assert all(f"`{word}`" in page for word in REQUIREMENTS)
