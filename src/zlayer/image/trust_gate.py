"""The one gate every image passes before it runs: by name before a pull, by signature before it is unpacked, and again
each time an instance is made of it, with what the policy is then.

A signature that was found is kept below `root`, and verified anew at each start: that takes no network, and a policy
that has become stricter is met by the same bytes. What is kept is never a verdict.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio import to_thread

from zlayer.image.blobs import write_whole
from zlayer.image.contract import OnProgress
from zlayer.image.flights import Flights
from zlayer.image.pull_process import run_job
from zlayer.image.reference import Reference
from zlayer.image.settings import RegistrySettings
from zlayer.image.trust_contract import Trust, TrustIdentity, TrustPolicy, TrustVerified
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_order import TrustOrder
from zlayer.image.trust_proof import Proof, Verified, verify
from zlayer.image.trust_rules import Rule, choose, is_refusal, refusal
from zlayer.model.errors import Denied

log = structlog.get_logger()
_TOLD = 1000


class Gate:
    """`tell(kind, message)` hears of a refusal, once for each reason. For one event loop."""

    def __init__(
        self, rules: Sequence[Rule], root: Path, settings: RegistrySettings, workers: anyio.CapacityLimiter
    ) -> None:
        self._rules = rules
        self._root = root
        self._settings = settings
        self._workers = workers
        self._told: set[str] = set()
        self._flights: Flights[tuple[tuple[str, ...], Verified]] = Flights()
        self.tell: Callable[[str, str], None] = lambda _kind, _message: None

    def sweep(self, digests: Collection[str]) -> None:
        """Forget what was kept of images that are not here any more. Blocks."""
        names = {_file(digest) for digest in digests}
        for file in self._root.glob("*/*.json"):
            if file.name not in names:
                file.unlink(missing_ok=True)

    def signed(self, reference: Reference) -> Rule | None:
        """The rule of the image, when it wants a signature."""
        rule = choose(self._rules, reference.name)
        return rule if rule is not None and rule.require == "signature" else None

    def name(self, reference: Reference) -> None:
        """What can be said by the name alone. Errors: `Denied`."""
        rule = choose(self._rules, reference.name)
        if rule is None:
            return
        with self.telling():
            if rule.require == "refuse":
                raise refusal(
                    rule, reference.familiar, "the policy refuses it",
                    hint="use an image that is allowed, or add a policy for this one and restart the daemon",
                )  # fmt: skip
            if rule.require == "digest" and not reference.digest:
                raise refusal(
                    rule, reference.familiar, "the policy wants a digest, and this names a tag",
                    hint=f"write {reference.name}@sha256:…, as `zlayer image inspect` shows it",
                )  # fmt: skip

    async def admit(self, reference: Reference, digests: Sequence[str]) -> Verified | None:
        """The image with these digests, index first, may run under this name; by which signature, if one is wanted.

        Errors: `Denied`; `Unavailable` and others of the registry when no kept signature suffices and it must be asked.
        """
        self.name(reference)
        rule = self.signed(reference)
        if rule is None:
            return None
        wanted = tuple(filter(None, digests))
        kept = await to_thread.run_sync(self._kept, reference, rule, wanted)
        if kept is not None:
            return kept
        search = partial(self._search, reference, rule, wanted, None)
        return (await self._flights.share((reference.name, wanted), search, None))[1]

    async def keep(self, reference: Reference, proof: Mapping[str, Any] | None, digests: Sequence[str]) -> None:
        """Keep what a pull found. Any: a `Proof` as JSON."""
        rule = self.signed(reference)
        if proof is None or rule is None:
            return
        await self._keep(reference, rule, Proof(**proof), tuple(filter(None, digests)))

    async def report(self, reference: Reference, digests: Sequence[str], platform: str | None) -> Trust:
        """Which policy applies and whether it lets the image run; without `digests`, what the registry has is asked."""
        wanted = tuple(filter(None, digests))
        rule, reason, found = choose(self._rules, reference.name), "", None
        try:
            self.name(reference)
            if (signed := self.signed(reference)) is not None and wanted:
                found = await self.admit(reference, wanted)
            elif signed is not None:
                wanted, found = await self._search(reference, signed, (), platform, lambda _progress: None)
        except Denied as error:
            if not is_refusal(error):
                raise
            reason = error.problems[0].message
        return Trust(
            reference=str(reference),
            digest=found.digest if found else next(iter(wanted), reference.digest),
            local=bool(digests),
            allowed=not reason,
            reason=reason,
            policy=_policy(rule) if rule else None,
            verified=_verified(found) if found else None,
        )

    @contextmanager
    def telling(self) -> Iterator[None]:
        """A refusal that passes is told."""
        try:
            yield
        except Denied as error:
            if is_refusal(error) and error.message not in self._told:
                if len(self._told) >= _TOLD:
                    self._told.clear()
                self._told.add(error.message)
                log.warning("image.refused", reason=error.message)
                self.tell("image.refused", error.message)
            raise

    async def _search(
        self, reference: Reference, rule: Rule, digests: tuple[str, ...], platform: str | None, report: OnProgress
    ) -> tuple[tuple[str, ...], Verified]:
        order = TrustOrder(str(reference), digests, platform, rule, self._settings)
        with self.telling():
            async with self._workers:
                answer = await run_job(order.document(), report)
        found = tuple(answer["digests"])
        return found, await self._keep(reference, rule, Proof(**answer["proof"]), digests or found)

    async def _keep(self, reference: Reference, rule: Rule, proof: Proof, digests: tuple[str, ...]) -> Verified:
        try:
            verified = await to_thread.run_sync(verify, proof, rule, reference.name, digests)
        except Unproven as why:  # a worker found it good: this cannot be, and must not pass
            raise refusal(rule, reference.familiar, f"{proof.found} {why}", hint="pull it again") from None
        body = json.dumps(asdict(proof)).encode()
        await to_thread.run_sync(write_whole, self._path(reference, verified.digest), body, self._root / "tmp")
        return verified

    def _kept(self, reference: Reference, rule: Rule, digests: tuple[str, ...]) -> Verified | None:
        for digest in digests:
            try:
                proof = Proof(**json.loads(self._path(reference, digest).read_bytes()))
                return verify(proof, rule, reference.name, digests)
            except (OSError, ValueError, TypeError, Unproven):
                continue  # not there, not readable, not enough any more: the registry is asked
        return None

    def _path(self, reference: Reference, digest: str) -> Path:
        return self._root / hashlib.sha256(reference.name.encode()).hexdigest() / _file(digest)


def _file(digest: str) -> str:
    return f"{digest.replace(':', '-')}.json"


def _policy(rule: Rule) -> TrustPolicy:
    keys = {key.file: key.fingerprint for key in rule.keys}
    identities = tuple(TrustIdentity(one.issuer, one.subject) for one in rule.identities)
    root = rule.root.file if rule.root else ""
    return TrustPolicy(rule.match, rule.require, rule.file, rule.line, keys, rule.signed_as, identities, root)


def _verified(found: Verified) -> TrustVerified:
    key, file = (found.key.fingerprint, found.key.file) if found.key else ("", "")
    made = TrustVerified(found.kind, found.digest, key, file, found.found)
    if (by := found.signed) is None:
        return made
    return replace(made, issuer=by.issuer, subject=by.subject, log=by.log, log_index=by.log_index, signed_at=by.time)
