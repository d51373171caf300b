"""`zlayer image trust`: the policy that is for an image, and what was verified."""

from __future__ import annotations

import argparse

from zlayer.cli import link
from zlayer.cli.parsing import add_format
from zlayer.cli.render.documents import as_text
from zlayer.cli.screen import Screen
from zlayer.client.results import Trust
from zlayer.model.errors import Denied


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code of `denied` for an image that may not run."""
    screen = Screen.of(args)
    found = link.client(args).image_trust(args.image)
    screen.data(as_text(found.document(), args.format) if args.format != "table" else "\n".join(_lines(found)))
    return 0 if found.allowed else Denied.exit_code


def _lines(found: Trust) -> list[str]:
    rows = [("IMAGE", found.reference), ("DIGEST", found.digest or "-"), ("POLICY", "none: every image may run")]
    if (policy := found.policy) is not None:
        at = f"{policy['file']}:{policy['line']}" if policy["line"] else policy["file"]
        rows[-1] = ("POLICY", f"{policy['match']} requires {policy['require']} ({at})")
        rows += [("KEY", f"{fingerprint} {file}") for file, fingerprint in policy["keys"].items()]
        rows += [("IDENTITY", f"{one['subject']} by {one['issuer']}") for one in policy.get("identities", ())]
        if policy.get("trusted_root"):
            rows.append(("ROOT", policy["trusted_root"]))
    if (verified := found.verified) is not None:
        by = f"{verified['key']} {verified['key_file']}" if verified["key"] else verified.get("subject", "")
        rows += [("SIGNED", verified["digest"]), ("BY", by)]
        if verified.get("subject"):
            rows += [("ISSUER", verified["issuer"]), ("LOGGED", f"{verified['log']} at index {verified['log_index']}")]
            rows.append(("TIME", verified["signed_at"]))
        rows.append(("FOUND", f"{verified['kind']}: {verified['found']}"))
    rows.append(("VERDICT", "allowed" if found.allowed else f"refused: {found.reason}"))
    return [f"{name:<8} {value}" for name, value in rows]
