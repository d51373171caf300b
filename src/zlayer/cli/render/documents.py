"""JSON and YAML for programs."""

from __future__ import annotations

import json


def as_text(doc: object, form: str) -> str:
    """`doc` (JSON types) as `json` or `yaml`, without a final newline, keys in their order."""
    if form == "json":
        return json.dumps(doc, indent=2, ensure_ascii=False)
    import yaml  # on demand: 20 ms that tables need not pay

    return str(yaml.safe_dump(doc, sort_keys=False, allow_unicode=True)).rstrip("\n")


def as_line(doc: object) -> str:
    """One line of JSON, for streams."""
    return json.dumps(doc, ensure_ascii=False)
