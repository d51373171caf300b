"""`tls` of an endpoint: where TLS ends, and with which certificate."""

from __future__ import annotations

from zlayer.spec.nodes import Table
from zlayer.spec.records import Field, Record
from zlayer.spec.report import At
from zlayer.spec.shapes import Choice, Text
from zlayer.spec.syntax import check_source
from zlayer.spec.traffic import TlsSpec

MODES = ("auto", "acme", "self_signed", "files", "passthrough")


def _check_tls(made: TlsSpec, found: Table, at: At) -> None:
    paths = [name for name in ("certificate", "key") if name in found.entries]
    if made.mode == "files" and len(paths) < 2:
        missing = " and ".join(repr(name) for name in ("certificate", "key") if name not in paths)
        at.refuse(found, f"mode: files needs {missing}", kind="MissingKey")
    elif made.mode != "files" and paths:
        key = found.entries[paths[0]][0]
        message = f"{paths[0]} belongs to mode: files, not {made.mode}"
        (at / paths[0]).refuse(key, message, suggestion="mode: files", kind="Conflict")


TLS = Record(
    TlsSpec,
    {
        "mode": Field(
            Choice(
                "Where the certificate is from; `passthrough` leaves TLS to the container. Default auto.",
                MODES,
                synonyms={"letsencrypt": "acme", "selfsigned": "self_signed", "manual": "files", "file": "files"},
            )
        ),
        "certificate": Field(Text("PEM file with the chain, leaf first, for `files`.", check_source)),
        "key": Field(Text("PEM file with the private key, for `files`.", check_source)),
    },
    "How TLS is ended.",
    synonyms={"cert": "certificate", "chain": "certificate", "private_key": "key", "type": "mode"},
    check=_check_tls,
    expected="a map such as {mode: auto}",
    short="mode",
)
