"""nftables rules of one daemon, through libnftables in this process, else through the `nft` command.

In-process is about 75 times cheaper than the command. A run is one transaction: all of it or nothing. Rules go to
the calling thread's network namespace. The library is not thread-safe: calls take turns.
Source: libnftables(3), nft(8).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import shutil
import subprocess
import threading

from zlayer.model.errors import Failed, Unavailable, ZlayerError

SONAME = "libnftables.so.1"
INSTALL = "install it: apt-get install libnftables1 nftables (Debian, Ubuntu) or dnf install nftables (Fedora, RHEL)"
COMMAND_SECONDS = 30

_turn = threading.Lock()


def removal(table: str) -> str:
    """Delete a table whether it is there or not: the empty one makes the `delete` succeed."""
    return f"table inet {table} {{ }}\ndelete table inet {table}\n"


def run(commands: str) -> str:
    """Apply `commands` in one transaction and return what they print.

    Errors: `Unavailable` (neither library nor command, or not permitted), `Failed` with nft's own words.
    """
    with _turn:
        library = _library()
        code, out, said = _in_process(library, commands) if library else _by_command(commands)
    if code != 0:
        raise _refusal(said)
    return out


def availability() -> str:
    """`library`, `command` or empty: how rules can be applied here."""
    if _library():
        return "library"
    return "command" if shutil.which("nft") else ""


def forward_policy() -> str:
    """The policy of the iptables FORWARD chain (`accept`, `drop`), empty when there is no such chain.

    An accept in our table cannot undo a drop in another: on such hosts the operator must let the bridge through.
    """
    try:
        listed = run("list chain ip filter FORWARD")
    except Failed:
        return ""
    return "drop" if "policy drop" in listed else "accept"


@functools.cache
def _library() -> ctypes.CDLL | None:
    for name in (SONAME, ctypes.util.find_library("nftables")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            library.nft_ctx_new.restype = ctypes.c_void_p
            library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
            library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
            return library
    return None


def _in_process(library: ctypes.CDLL, commands: str) -> tuple[int, str, str]:
    # a context keeps its socket, hence its namespace: a new one each time (0.5 ms) is right from every thread
    context = ctypes.c_void_p(library.nft_ctx_new(0))
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        code = int(library.nft_run_cmd_from_buffer(context, commands.encode()))
        out, said = library.nft_ctx_get_output_buffer(context), library.nft_ctx_get_error_buffer(context)
        return code, (out or b"").decode(errors="replace"), (said or b"").decode(errors="replace")
    finally:
        library.nft_ctx_free(context)


def _by_command(commands: str) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=commands, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except FileNotFoundError:
        raise Unavailable("nftables is not installed: neither libnftables nor the nft command", hint=INSTALL) from None
    return done.returncode, done.stdout, done.stderr


def _refusal(said: str) -> ZlayerError:
    words = " ".join(said.split()) or "no reason given"
    if "Operation not permitted" in said or "Permission denied" in said:
        return Unavailable(f"nftables: {words}", hint="run the daemon as root, or give it CAP_NET_ADMIN")
    if "Operation not supported" in said or "Protocol not supported" in said:
        return Unavailable(f"nftables: {words}", hint="load the kernel's modules: modprobe nf_tables nft_masq nf_nat")
    return Failed(f"nftables: {words}", hint="see the host's rules with: nft list ruleset")
