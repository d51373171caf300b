"""Ports wanted by several deployments: who cannot have what, and because of whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zlayer.model.claims import Claim, Ground, claims, explain
from zlayer.model.instance import Service

Services = Mapping[str, Service]


@dataclass(frozen=True, slots=True)
class Clash:
    """`claim` came second. `str()` is a sentence for a person, which names both."""

    claim: Claim
    rival: Claim

    def __str__(self) -> str:
        owner = f"{self.rival.deployment}/{self.rival.service}"
        mine = f"{self.claim.deployment}/{self.claim.service}, {self.claim.what}"
        return f"{mine}: {explain(self.claim, self.rival, owner)}"


def clashes(deployments: Mapping[str, Services], of: str | None = None) -> list[Clash]:
    """Every claim that another came before to; deployments by name, services as written.

    `of` names one deployment: only its claims are looked at, as those that come last.
    """
    ground = Ground()
    others = (name for name in sorted(deployments) if name != of)
    found = list(_take(ground, deployments, others))
    return found if of is None else list(_take(ground, deployments, [of]))


def _take(ground: Ground, deployments: Mapping[str, Services], names: Iterable[str]) -> Iterable[Clash]:
    for name in names:
        for service, wanted in deployments[name].items():
            for claim in claims(name, service, wanted):
                if rival := ground.take(claim):
                    yield Clash(claim, rival)
