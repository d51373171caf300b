"""The base of every value that crosses a border."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

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
