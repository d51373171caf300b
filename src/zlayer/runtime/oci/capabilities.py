"""Which capabilities a container has: Docker's default set, changed by `cap_add` and `cap_drop` (capabilities(7))."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from zlayer.model.errors import Invalid

_DEFAULT = """
CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_MKNOD CAP_NET_BIND_SERVICE CAP_NET_RAW
CAP_SETFCAP CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT
"""
DEFAULT = frozenset(_DEFAULT.split())
_NUMBERED = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_KERNEL = tuple(f"CAP_{name}" for name in _NUMBERED.split())
"""By bit number."""


def named(names: tuple[str, ...], field: str) -> frozenset[str]:
    """Canonical names; `ALL` stands for all. `Invalid` names the one that is unknown."""
    found: set[str] = set()
    for name in names:
        upper = name.upper()
        if upper in ("ALL", "CAP_ALL"):
            found.update(_KERNEL)
            continue
        full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
        if full not in _KERNEL:
            near = difflib.get_close_matches(full, _KERNEL, 1)
            hint = f"did you mean {near[0]}?" if near else "see capabilities(7)"
            raise Invalid(f"{field}: unknown capability {name!r}", hint=hint)
        found.add(full)
    return frozenset(found)


@cache
def bounding() -> frozenset[str]:
    """What this process may pass on: asking for more makes the engine fail."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for bit, name in enumerate(_KERNEL) if bits >> bit & 1)
    return frozenset(_KERNEL)


def granted(
    add: tuple[str, ...], drop: tuple[str, ...], *, privileged: bool, available: frozenset[str] | None = None
) -> frozenset[str]:
    """The set of one container. `drop` ALL empties the defaults before `add`; else `drop` wins over `add`.

    That is Docker's rule. `Invalid` when a capability added by name is not available on this machine; `ALL` and
    `privileged` take what is there.
    """
    have = bounding() if available is None else available
    if privileged:
        return have - named(drop, "cap_drop")
    wanted, dropped = named(add, "cap_add"), named(drop, "cap_drop")
    if all_of(add):
        wanted &= have
    elif missing := sorted(wanted - have):
        raise Invalid(
            f"cap_add: {missing[0]} is not available on this machine", hint="the daemon itself runs without it"
        )
    if all_of(drop):
        return wanted
    base = have if all_of(add) else (DEFAULT & have) | wanted
    return base - dropped


def all_of(names: tuple[str, ...]) -> bool:
    return any(name.upper() in ("ALL", "CAP_ALL") for name in names)
