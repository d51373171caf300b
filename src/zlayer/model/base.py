"""The base of every value that crosses a border, and the units such values are written in."""

from __future__ import annotations

from typing import Annotated, Any, NewType

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Seconds = NewType("Seconds", float)
"""A length of time. Written as humantime in specs (`1m30s`), as a number everywhere else."""
Bytes = NewType("Bytes", int)
"""A size. Written `512Mi` in specs, as a number of bytes everywhere else."""
Cpu = NewType("Cpu", float)
"""Processor share in cores: 0.5 is half of one core."""
Timestamp = NewType("Timestamp", float)
"""Seconds since the epoch, UTC. RFC 3339 in API answers and on screens."""

Port = Annotated[int, Field(ge=1, le=65535)]


class Document(BaseModel):
    """A frozen value that is stored or sent. Unknown keys are refused; changes add a field with a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Tagged(Document):
    """A member of a union told apart by `type`, which is therefore always written, also where defaults are left out."""

    type: str

    @model_serializer(mode="wrap")
    def _with_tag(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:  # Any: a JSON object
        return {"type": self.type, **write(self)}
