"""Instance ids: readable, safe as file names, and the same for the same decision.

An id is a function of what is decided, so a controller that is killed between planning and writing, or two that plan
at once, mint the same id and the store's "must not exist" guard lets only one through.
"""

from __future__ import annotations

import base64
import hashlib

MAX_LENGTH = 200
_NAME = 80


def instance_id(deployment: str, service: str, slot: int, seed: str) -> str:
    """`{deployment}-{service}-{slot}-{8 letters}`; long names are cut, the suffix keeps ids apart."""
    text = "\0".join((deployment, service, str(slot), seed))
    suffix = base64.b32encode(hashlib.sha256(text.encode()).digest())[:8].decode().lower()
    return f"{deployment[:_NAME]}-{service[:_NAME]}-{slot}-{suffix}"
