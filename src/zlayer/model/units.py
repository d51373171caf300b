"""The units that values are written in. Import-light: what starts often needs no more of the model than this."""

from __future__ import annotations

from typing import NewType

Seconds = NewType("Seconds", float)
"""A length of time. Written as humantime in specs (`1m30s`), as a number everywhere else."""
Bytes = NewType("Bytes", int)
"""A size. Written `512Mi` in specs, as a number of bytes everywhere else."""
Cpu = NewType("Cpu", float)
"""Processor share in cores: 0.5 is half of one core."""
Timestamp = NewType("Timestamp", float)
"""Seconds since the epoch, UTC. RFC 3339 in API answers and on screens."""
