"""The default seccomp profile: what is not allowed fails with EPERM (OCI runtime-spec, config-linux, seccomp)."""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import Any

from zlayer.runtime.oci.seccomp_calls import ALWAYS, ARCHITECTURES, BY_ARCHITECTURE, BY_CAPABILITY

_EPERM, _ENOSYS = 1, 38
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: clone may not make namespaces without CAP_SYS_ADMIN."""
_AF_VSOCK = 40
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)


@lru_cache(maxsize=64)
def profile(
    capabilities: frozenset[str], *, both_abis: bool = True, machine: str = ""
) -> dict[str, Any]:  # Any: a JSON document
    """`linux.seccomp` of config.json for a process with these capabilities. Empty on an unknown machine.

    `both_abis` allows 32-bit programs too: without it they are killed.

    clone3 answers ENOSYS, not EPERM, without CAP_SYS_ADMIN: its flags cannot be looked at, and libc then falls back.
    The dict is shared: do not change it.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        return {}
    names = {*ALWAYS, *BY_ARCHITECTURE[machine]}
    for capability in sorted(capabilities & BY_CAPABILITY.keys()):
        names.update(BY_CAPABILITY[capability])
    rules = [_allow(*sorted(names)), _allow("socket", arg=(0, _AF_VSOCK, "SCMP_CMP_NE"))]
    rules += [_allow("personality", arg=(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules.append(_allow("clone", arg=(0, _NEW_NAMESPACES, "SCMP_CMP_MASKED_EQ")))
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": list(ARCHITECTURES[machine][: 2 if both_abis else 1]),
        "syscalls": rules,
    }


def _allow(*names: str, arg: tuple[int, int, str] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    if arg:
        index, value, operator = arg
        rule["args"] = [{"index": index, "value": value, "op": operator}]
        if operator == "SCMP_CMP_MASKED_EQ":
            rule["args"][0]["valueTwo"] = 0
    return rule
