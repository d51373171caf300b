"""JSON and base64 of strangers, read so that no two readers can differ; and why a signature does not count."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]  # Any: a JSON document


class Unproven(Exception):
    """Why a signature does not count, as the end of a sentence."""


def strict_json(body: bytes) -> Json:
    """A JSON object without a key twice: readers differ in which of the two they take. Errors: `Unproven`."""

    def once(pairs: list[tuple[str, Any]]) -> Json:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a key twice")
        return made

    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as fault:
        raise Unproven("has a key twice" if str(fault) == "a key twice" else "is not JSON") from None
    if not isinstance(document, dict):
        raise Unproven("is not a JSON object")
    return document


def decoded(text: Any) -> bytes:  # Any: JSON
    """Base64, nothing but. Errors: `Unproven`."""
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Unproven("is not base64") from None


def member(document: Mapping[str, Any], key: str) -> Json:
    """An object in an object. Errors: `Unproven`."""
    value = document.get(key)
    if not isinstance(value, dict):
        raise Unproven(f"has no object {key!r}")
    return value


def listed(document: Mapping[str, Any], key: str) -> list[Json]:
    """A list of objects in an object. Errors: `Unproven`."""
    value: Any = document.get(key)  # Any: JSON
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unproven(f"has no list {key!r}")
    return value


def number(value: Any, what: str) -> int:  # Any: JSON
    """A count below 2^63, as JSON or protobuf's JSON (text) has it. Errors: `Unproven`."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 19:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise Unproven(f"has no proper {what}")
    return value
