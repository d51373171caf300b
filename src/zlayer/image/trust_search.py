"""The signatures a registry has of an image: cosign's tag, and Sigstore bundles among its referrers.

In the worker process. All that comes is a stranger's: bounded, checked, and one that is broken hides none that is good.
Sources: cosign's SIGNATURE_SPEC.md and BUNDLE_SPEC.md, OCI distribution-spec 1.1 "Listing Referrers".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from urllib.parse import urljoin

from zlayer.image import manifest as formats
from zlayer.image import platform as platforms
from zlayer.image.manifest import Index
from zlayer.image.mirrors import registry_of
from zlayer.image.reference import is_digest, parse
from zlayer.image.registry import MAX_MANIFEST, Registry
from zlayer.image.trust_json import Json, Unproven, listed, strict_json
from zlayer.image.trust_material import BUNDLES, envelope_of, of_bundle, of_notes
from zlayer.image.trust_order import TrustOrder
from zlayer.image.trust_proof import SIGN_PREDICATE, Proof, verify
from zlayer.image.trust_rules import Rule, refusal
from zlayer.model.errors import Corrupt, Failed, NotFound, ZlayerError

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
EMPTY = "application/vnd.oci.empty.v1+json"
PREDICATE = "dev.sigstore.bundle.predicateType"
MOST = 64
"""Signatures, and referrers, of one digest that are looked at."""
MAX_PAYLOAD = 64 * 1024
MAX_BUNDLE = 1024 * 1024
_PAGES = 8
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_BROKEN = (NotFound, Corrupt, Failed)
"""Faults of one signature. A registry that cannot be reached or wants a login is an error of its own."""


def search(order: TrustOrder, environ: Mapping[str, str]) -> Json:
    """For an order: its digests, or those its reference stands for now, and the proof. Errors: as `prove`."""
    registry = registry_of(parse(order.reference), order.settings, environ, lambda _name, _did: None)
    try:
        digests = order.digests or _served(registry, order.platform)
        return {"digests": list(digests), "proof": asdict(prove(registry, order.rule, digests))}
    finally:
        registry.close()


def prove(registry: Registry, rule: Rule, digests: Sequence[str]) -> Proof:
    """The first signature that the rule takes for one of the digests: an index, and the manifest it has for a platform.

    Mirrors are asked first, in their order; a signature there is for the registry's repository like any other.
    Errors: `Denied`, saying what was found instead; those of the registry itself, not of mirrors.
    """
    name, told = registry.reference.name, list[str]()
    for mirror, place in registry.places():
        try:
            proof = _good(place, rule, name, digests, _Told(told, mirror))
        except ZlayerError as error:
            if not mirror:
                raise
            told.append(f"mirror {mirror} failed: {error.message}")
        else:
            if proof is not None:
                return proof
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    found = f"no good signature was found: {'; '.join(told[:3])}{more}" if told else "it has no signature"
    raise refusal(
        rule, f"{registry.reference.familiar} ({digests[0]})", found,
        hint=f"sign it ({_command(rule)} {name}@{digests[0]}), or change the policy and restart the daemon",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said of signatures that do not count, and where they are."""

    lines: list[str]
    mirror: str

    def append(self, line: str) -> None:
        self.lines.append(f"{line} (mirror {self.mirror})" if self.mirror else line)


def _good(place: Registry, rule: Rule, name: str, digests: Sequence[str], told: _Told) -> Proof | None:
    for digest in digests:
        for proof in chain(_simple(place, digest, told), _bundles(place, digest, told)):
            try:
                verify(proof, rule, name, digests)
            except Unproven as why:
                told.append(f"{proof.found} {why}")
            else:
                return replace(proof, found=f"{proof.found} at mirror {told.mirror}") if told.mirror else proof
    return None


def _command(rule: Rule) -> str:
    return (
        "cosign sign --key KEY"
        if rule.keys
        else f"cosign sign, as {rule.identities[0].subject}:"
        if rule.identities
        else "cosign sign"
    )


def _served(registry: Registry, platform: str | None) -> tuple[str, ...]:
    """The digest of what the reference stands for, and of an index also that of its manifest for the platform."""
    fetched = registry.manifest(registry.reference.locator)
    document = formats.read_manifest(fetched.body, fetched.media_type, registry.reference.familiar)
    if not isinstance(document, Index):
        return (fetched.digest,)
    wanted = platforms.parse(platform) if platform else platforms.own()
    return fetched.digest, formats.choose(document, wanted, registry.reference.familiar).digest


def _simple(registry: Registry, digest: str, told: _Told) -> Iterator[Proof]:
    """What `cosign sign` puts under the tag `sha256-HEX.sig`."""
    if not digest.startswith("sha256:"):
        return  # a tag is at most 128 characters, and cosign signs sha256 alone
    tag = f"{digest.replace(':', '-')}.sig"
    try:
        document = strict_json(registry.manifest(tag).body)
        layers = listed(document, "layers")
    except NotFound:
        return
    except (Corrupt, Failed, Unproven) as why:
        told.append(f"{tag} cannot be used: {why}")
        return
    if len(layers) > MOST:
        told.append(f"{tag} has {len(layers)} signatures, of which {MOST} were looked at")
    for at, layer in enumerate(layers[:MOST], start=1):
        found = f"signature {at} of {tag}"
        try:
            notes = layer.get("annotations")
            signature = notes.get(SIGNATURE) if isinstance(notes, dict) else None
            if layer.get("mediaType") != SIMPLE or not isinstance(signature, str):
                raise Unproven("is no cosign signature")
            payload = _content(registry, layer, MAX_PAYLOAD)
            encoded = base64.b64encode(payload).decode()
            yield Proof("simple-signing", encoded, signature, found, of_notes(notes or {}))
        except (*_BROKEN, Unproven) as why:
            told.append(f"{found} cannot be used: {why}")


def _bundles(registry: Registry, digest: str, told: _Told) -> Iterator[Proof]:
    """Sigstore bundles that refer to the digest."""
    try:
        there = _referrers(registry, digest)
    except (*_BROKEN, Unproven) as why:
        told.append(f"the referrers of {digest[:19]} cannot be used: {why}")
        return
    likely = [one for one in there if one.get("artifactType") in (*BUNDLES, EMPTY, "", None)]
    likely.sort(key=lambda one: not _is_signature(one))
    if len(likely) > MOST:
        told.append(f"{len(likely)} bundles refer to it, of which {MOST} were looked at")
    for entry in likely[:MOST]:
        found = f"bundle {str(entry.get('digest'))[:19]}"
        try:
            reference = entry.get("digest")
            if not isinstance(reference, str) or not is_digest(reference):
                raise Unproven("has no proper digest")
            layers = listed(strict_json(registry.manifest(reference).body), "layers")
            bundles = [layer for layer in layers if layer.get("mediaType") in BUNDLES]
            if len(bundles) == 1:  # what is none is some other artifact
                yield _proof(_content(registry, bundles[0], MAX_BUNDLE), found)
        except (*_BROKEN, Unproven) as why:
            told.append(f"{found} cannot be used: {why}")


def _proof(body: bytes, found: str) -> Proof:
    document, payload, signature = envelope_of(body)
    first, second = (base64.b64encode(one).decode() for one in (payload, signature))
    return Proof("bundle", first, second, found, of_bundle(document))


def _referrers(registry: Registry, digest: str) -> list[Json]:
    """What refers to the digest: by the API, else by the tag that stands in for it."""
    repository, rest, found = f"/v2/{registry.reference.path}/", f"referrers/{digest}", list[Json]()
    for page in range(_PAGES):
        try:
            link, body = registry.patience().call(registry.reference.domain, partial(_page, registry, rest))
        except (NotFound, Failed):
            if page:
                raise
            return _by_tag(registry, digest)
        found += listed(strict_json(body), "manifests")
        following = _NEXT.search(link)
        if following is None or len(found) > MOST:
            break
        rest = urljoin(f"{repository}{rest}", following[1]).removeprefix(repository)
    return found


def _page(registry: Registry, rest: str) -> tuple[str, bytes]:
    answer = registry.ask("GET", rest, {"Accept": formats.INDEXES[0]})
    return answer.header("Link"), answer.body(MAX_MANIFEST)


def _by_tag(registry: Registry, digest: str) -> list[Json]:
    algorithm, _, digits = digest.partition(":")
    try:
        return listed(strict_json(registry.manifest(f"{algorithm}-{digits[:64]}").body), "manifests")
    except NotFound:
        return []


def _is_signature(entry: Json) -> bool:
    notes = entry.get("annotations")
    return isinstance(notes, dict) and notes.get(PREDICATE) == SIGN_PREDICATE


def _content(registry: Registry, descriptor: Json, limit: int) -> bytes:
    """A small blob, its digest verified."""
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise Unproven("has no proper digest")
    if not isinstance(size, int) or not 0 <= size <= limit:
        raise Unproven(f"is larger than {limit} bytes")
    return registry.document(digest, limit)
