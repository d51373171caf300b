"""`[[image.policy]]` as it is written: checked whole, every problem with the path of its key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zlayer.image.reference import parse
from zlayer.image.trust_identity import Identity, read_identity
from zlayer.image.trust_root import RootFile, read_root_file
from zlayer.image.trust_rules import ANY, REQUIREMENTS, Key, Rule, canonical
from zlayer.model.errors import Invalid, Problem

TABLES = ("policy", "s3")
"""What stands below `image`; the second is `s3.settings`' to read."""
KEYS = ("match", "require", "keys", "identities", "trusted_root", "signed_as")
_RSA_BITS = 2048


def read_rules(table: Any, here: Path) -> tuple[list[Rule], list[Problem]]:  # Any: TOML values
    """The rules of the table `image`, and what is wrong. Relative key files start at `here`.

    Key files are read now: one that changes later counts from the daemon's next start.
    """
    reader = _Reader(here)
    if not isinstance(table, Mapping):
        return [], [Problem("wants a table", path="image")]
    for key in table:
        if key not in TABLES:
            reader.unknown("image", key, TABLES)
    policies = table.get("policy", [])
    if not isinstance(policies, list) or not all(isinstance(one, Mapping) for one in policies):
        reader.wrong("image.policy", "wants tables: [[image.policy]]")
        return [], reader.problems
    rules = [reader.rule(one, f"image.policy.{at}") for at, one in enumerate(policies)]
    seen: dict[str, int] = {}
    for at, rule in enumerate(rules):
        if rule.match and seen.setdefault(rule.match, at) != at:
            reader.wrong(f"image.policy.{at}.match", f'"{rule.match}" has a policy already: keep one of the two')
    return rules, reader.problems


class _Reader:
    def __init__(self, here: Path) -> None:
        self.problems: list[Problem] = []
        self._here = here

    def wrong(self, path: str, message: str, suggestion: str = "") -> None:
        self.problems.append(Problem(message, path=path, suggestion=suggestion))

    def unknown(self, path: str, key: str, known: Sequence[str]) -> None:
        near = get_close_matches(key, known, 1)
        self.wrong(f"{path}.{key}", f"unknown key {key!r}", near[0] if near else "")

    def rule(self, table: Mapping[str, Any], path: str) -> Rule:  # Any: TOML values
        for key in table:
            if key not in KEYS:
                self.unknown(path, key, KEYS)
        require = table.get("require")
        if require not in REQUIREMENTS:
            told = "the key 'require' is missing" if require is None else f"{require!r} is none of the requirements"
            near = get_close_matches(str(require), REQUIREMENTS, 1)
            self.wrong(f"{path}.require", f"{told}: {', '.join(REQUIREMENTS)}", near[0] if near else "")
        match = self._match(table, path)
        files = self._texts(table, "keys", path)
        found = (self._key(file, f"{path}.keys", at) for at, file in enumerate(files))
        keys = tuple(key for key in found if key is not None)
        others = tuple(self._pattern(text, f"{path}.signed_as") for text in self._texts(table, "signed_as", path))
        identities, root = self._identities(table, path), self._root(table, path)
        if require == "signature" and not table.get("keys") and not table.get("identities"):
            self.wrong(
                f"{path}.keys",
                'require = "signature" wants keys or identities: files of public keys, or who may sign without one',
            )
        for only in ("keys", "identities", "trusted_root", "signed_as"):
            if only in table and require in REQUIREMENTS and require != "signature":
                self.wrong(f"{path}.{only}", f'only goes with require = "signature", not with "{require}"')
        chosen = next((one for one in REQUIREMENTS if one == require), "refuse")
        return Rule(match, chosen, keys, others, identities=identities, root=root)  # type: ignore[arg-type]  # a literal, by the line above

    def _match(self, table: Mapping[str, Any], path: str) -> str:
        match = table.get("match")
        if isinstance(match, str) and match:
            return self._pattern(match, f"{path}.match")
        self.wrong(f"{path}.match", 'wants text: the images it is for, such as "registry.example/team/*"')
        return ""

    def _pattern(self, text: str, path: str) -> str:
        """Its canonical form, empty when it is none."""
        if text == ANY:
            return ANY
        name = text.removesuffix("/*")
        domain, slash, rest = name.partition("/")
        if domain != "localhost" and not set(domain) & set(".:"):
            near = "" if ANY in name else canonical(f"docker.io/{text}")
            self.wrong(path, f"{text!r} names no registry", near)
            return ""
        try:
            if ANY in name:
                raise Invalid("* only stands alone, or last after a slash")
            read = parse(name if slash else f"{domain}/x")
        except Invalid as error:
            self.wrong(path, f"{text!r} is no pattern: {error.message}")
            return ""
        if slash and (read.path not in (rest, f"library/{rest}") or read.digest):
            self.wrong(
                path, f"{text!r} is no pattern: a policy is for whole repositories, without tag and digest", read.name
            )
            return ""
        if not slash and name == text:
            self.wrong(path, f"{text!r} is a registry alone", f"{text}/*")
            return ""
        return canonical(text)

    def _texts(self, table: Mapping[str, Any], key: str, path: str) -> list[str]:
        value = table.get(key, [])
        if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
            return value
        self.wrong(f"{path}.{key}", f"wants a list of texts, not {value!r}")
        return []

    def _identities(self, table: Mapping[str, Any], path: str) -> tuple[Identity, ...]:
        value, made = table.get("identities", []), []
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            self.wrong(f"{path}.identities", 'wants tables: identities = [{ issuer = "https://…", subject = "…" }]')
            return ()
        if "identities" in table and not value:
            self.wrong(f"{path}.identities", "names nobody: leave it out, or say who may sign")
        for at, one in enumerate(value, start=1):
            try:
                made.append(read_identity(one))
            except ValueError as error:
                self.wrong(f"{path}.identities", f"identity {at}: {error}")
        if value and "trusted_root" not in table:
            self.wrong(
                f"{path}.trusted_root", "identities want a trusted_root: a file of authorities and logs to believe"
            )
        return tuple(made)

    def _root(self, table: Mapping[str, Any], path: str) -> RootFile | None:
        text = table.get("trusted_root")
        if text is None:
            return None
        if not isinstance(text, str) or not text:
            self.wrong(f"{path}.trusted_root", f"wants the name of a file, not {text!r}")
            return None
        if not table.get("identities"):
            self.wrong(f"{path}.trusted_root", "only goes with identities: who may sign")
        file = self._here / Path(text).expanduser()
        try:
            return read_root_file(file)
        except OSError as error:
            self.wrong(f"{path}.trusted_root", f"{file}: {error.strerror or error}")
        except ValueError as error:
            self.wrong(f"{path}.trusted_root", f"{file}: {error}")
        return None

    def _key(self, text: str, path: str, at: int) -> Key | None:
        file = self._here / Path(text).expanduser()
        try:
            return read_key(file)
        except OSError as error:
            self.wrong(path, f"key {at + 1}, {file}: {error.strerror or error}")
        except ValueError as error:
            self.wrong(path, f"key {at + 1}, {file}: {error}")
        return None


def read_key(file: Path) -> Key:
    """The public key in a PEM file: ECDSA P-256, Ed25519, or RSA of 2048 bits at least. Errors: OSError, ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    pem = file.read_bytes()
    if b"PRIVATE KEY-----" in pem:
        raise ValueError("a private key: give the public half (cosign public-key), and keep this one elsewhere")
    if pem.count(b"-----BEGIN ") != 1:
        raise ValueError("wants exactly one public key in PEM (-----BEGIN PUBLIC KEY-----)")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    curve = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    long = isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS
    if not (curve or long or isinstance(key, ed25519.Ed25519PublicKey)):
        raise ValueError(f"wants ECDSA P-256, Ed25519, or RSA of at least {_RSA_BITS} bits")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Key(str(file), text, f"sha256:{hashlib.sha256(der).hexdigest()}")
