"""A spec back to text, in normal form: what a file means, with every default in sight."""

from __future__ import annotations

import json
from typing import Any, Literal

import yaml
from pydantic import BaseModel

from zlayer.spec.model import DeploymentSpec

_QUIET: tuple[object, ...] = (None, (), {}, False)


def dump(spec: DeploymentSpec, form: Literal["yaml", "json"] = "yaml") -> str:
    """Text that loads to an equal spec. Defaults are written out, save those that are empty or false.

    Units are written as people write them (`512Mi`, `1m 30s`), in one way only; so equal specs have equal text.
    """
    data = _tidy(spec, spec.model_dump(mode="json"))
    if form == "json":
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _tidy(value: Any, written: Any) -> Any:  # Any: `written` is JSON, `value` what it was made from
    """`written` without empty defaults."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        pairs = ((name, getattr(value, name), written[name]) for name in fields)
        kept = {name: _tidy(item, text) for name, item, text in pairs if not _quiet(item, fields[name])}
        return {name: item for name, item in kept.items() if item != {} or fields[name].is_required()}
    if isinstance(value, dict):
        return {name: _tidy(item, written[name]) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_tidy(item, text) for item, text in zip(value, written, strict=True)]
    return written


def _quiet(value: object, field: Any) -> bool:  # Any: pydantic's FieldInfo
    """Empty or false and the default too: leaving it out says the same."""
    default = field.get_default(call_default_factory=True)
    return (
        any(value is quiet or (value == quiet and type(value) is type(quiet)) for quiet in _QUIET) and value == default
    )


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 readers would take for something else; indents lists; never writes aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    from zlayer.spec.yamltree import resolve

    style = None if resolve(text) == text and text != "<<" else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
