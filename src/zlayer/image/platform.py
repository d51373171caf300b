"""Platforms `os/arch[/variant]`: normal forms, this machine's own, and which image fits which."""

from __future__ import annotations

import os
from dataclasses import dataclass

from zlayer.model.errors import Invalid

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386",
    "armhf": "arm/v7", "armv7l": "arm/v7", "armel": "arm/v6", "armv6l": "arm/v6",
}  # fmt: skip
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_OLDER = {"arm": ("v8", "v7", "v6", "v5"), "amd64": ("v4", "v3", "v2", "v1"), "arm64": ("v9", "v8")}


@dataclass(frozen=True, slots=True)
class Platform:
    """Normal form: the variant is empty when it is the architecture's default (as containerd writes it)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def acceptable(self) -> list[Platform]:
        """Platforms whose images run here, best first: a newer variant also runs what is built for older ones."""
        order = _OLDER.get(self.architecture, ())
        own = self.variant or _DEFAULT_VARIANT.get(self.architecture, "")
        variants = order[order.index(own) :] if own in order else (own,)
        return [normal(self.os, self.architecture, variant) for variant in variants]


def normal(os_name: str, architecture: str, variant: str = "") -> Platform:
    """The normal form of an image's or a user's spelling."""
    architecture = _ARCHITECTURES.get(architecture.lower(), architecture.lower())
    if "/" in architecture:
        architecture, _, implied = architecture.partition("/")
        variant = variant or implied
    variant = variant.lower()
    if variant and not variant.startswith("v"):
        variant = f"v{variant}" if variant.isdigit() else variant
    if variant == _DEFAULT_VARIANT.get(architecture):
        variant = ""
    return Platform(os_name.lower(), architecture, variant)


def parse(text: str) -> Platform:
    """`linux/arm64/v8` and the like. Errors: `Invalid`."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(part and part.replace(".", "").isalnum() for part in
                                           (p.replace("_", "").replace("-", "") for p in parts)):  # fmt: skip
        raise Invalid(f"{text!r} is not a platform", hint="write os/arch or os/arch/variant: linux/arm64, linux/arm/v7")
    return normal(*parts)


def own() -> Platform:
    """What this machine runs."""
    return normal("linux", os.uname().machine)
