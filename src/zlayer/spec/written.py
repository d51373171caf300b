"""Numbers that a spec shows with their units, as people write them."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer

from zlayer.model.units import Bytes, Seconds
from zlayer.spec.units import format_duration, format_memory, format_rate

Duration = Annotated[Seconds, PlainSerializer(format_duration, return_type=str, when_used="json")]
Memory = Annotated[Bytes, PlainSerializer(format_memory, return_type=str, when_used="json")]
Rate = Annotated[float, PlainSerializer(format_rate, return_type=str, when_used="json")]
"""So many a second."""
