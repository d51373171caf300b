"""A server that has what it needs gives up the rest: nobody's user id, and the one capability to bind port 53.

New networks come while it runs, so the capability stays; files and everything else of root's are out of reach.
Source: capabilities(7), prctl(2); layouts of linux/capability.h, version 3.
"""

from __future__ import annotations

import ctypes
import os
import struct

NET_BIND_SERVICE = 10
_PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 8, 38, 24
_VERSION_3 = 0x20080522
NOBODY = 65534


def drop() -> None:
    """Of no use to call twice, and no harm. OSError when the kernel refuses what it grants to root."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def call(result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    call(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    for number in range(64):
        if number != NET_BIND_SERVICE and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break  # the kernel knows no more
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kept = 1 << NET_BIND_SERVICE
    data = struct.pack("=IIIIII", kept, kept, 0, 0, 0, 0)
    call(libc.capset(struct.pack("=Ii", _VERSION_3, 0), data))
    call(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
