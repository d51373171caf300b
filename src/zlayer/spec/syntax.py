"""Checks of single written values: names, paths, hosts, users, signals, capabilities, sysctls, ulimits.

Each takes the text and returns the normal form, or raises `Invalid` that says what is expected.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import signal

from zlayer.spec.nodes import shorten
from zlayer.spec.report import nearest, refused

DEPLOYMENT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9-]{2,62}$"
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$"
VOLUME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
CPUSET_PATTERN = r"^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$"
EXPOSE_PATTERN = r"^[0-9]{1,5}(/(tcp|udp))?$"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME_PATTERN = rf"^{_LABEL}(\.{_LABEL})*$"
USER_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$"
_SYSCTL = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_-]+)+")
# The kernel keeps these per namespace (namespaces(7)); runc and crun refuse every other.
_SYSCTL_SAFE = ("net.", "fs.mqueue.", "kernel.shm", "kernel.msg", "kernel.sem")
_SYSCTL_EXACT = {"kernel.domainname"}

CAPABILITIES = (
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT",
    "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "WAKE_ALARM",
)  # fmt: skip
ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def check_deployment(text: str) -> str:
    if not re.fullmatch(DEPLOYMENT_PATTERN, text):
        message = f"{shorten(text)!r} is not a deployment name: 3-63 letters, digits or '-', first a letter or digit"
        raise refused(message, suggestion=_slug(text, 3), kind="EmptyDeploymentName")
    return text


def check_name(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        message = f"{shorten(text)!r} is not a name: 1-63 letters, digits, '-' or '_', no '-' or '_' at either end"
        raise refused(message, suggestion=_slug(text, 1), kind="InvalidName")
    return text


def check_volume(text: str) -> str:
    if not re.fullmatch(VOLUME_PATTERN, text):
        message = f"{shorten(text)!r} is not a volume name: 1-63 lower case letters, digits or '-'"
        raise refused(message, suggestion=_slug(text, 1).lower(), kind="InvalidStorageName")
    return text


def _slug(text: str, least: int) -> str:
    slug = re.sub(r"[^A-Za-z0-9]+", "-", text[:63]).strip("-")
    return slug if len(slug) >= least else ""


def check_target(text: str) -> str:
    """A path inside the container: absolute, not `/`, without `..`; returned without doubled or trailing slashes."""
    path = check_absolute(text)
    if path == "/":
        raise refused("'/' is the image itself: mount below it", kind="InvalidPath")
    return path


def check_absolute(text: str) -> str:
    _no_control(text)
    if not text.startswith("/"):
        raise refused(f"the path {shorten(text)!r} is not absolute", suggestion=f"/{text}", kind="InvalidPath")
    if ".." in text.split("/"):
        raise refused(f"the path {shorten(text)!r} has '..' in it", kind="InvalidPath")
    return "/" + posixpath.normpath(text).lstrip("/")


def check_source(text: str) -> str:
    """A host path; a relative one is taken from the directory of the file when it is compiled."""
    _no_control(text)
    if not text:
        raise refused("the path is empty", kind="InvalidPath")
    if text.startswith("~"):
        raise refused("'~' is not expanded: write the whole path", kind="InvalidPath")
    return text


def _no_control(text: str) -> None:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise refused(f"the path {shorten(text)!r} has a control character in it", kind="InvalidPath")


def check_ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise refused(f"{shorten(text)!r} is not an IP address", kind="InvalidAddress") from None


def check_hostname(text: str) -> str:
    if len(text) > 64 or not re.fullmatch(HOSTNAME_PATTERN, text):
        message = f"{shorten(text)!r} is not a host name: letters, digits, '-' and '.', at most 64"
        raise refused(message, suggestion=_slug(text, 1), kind="InvalidHostname")
    return text


def check_extra_host(text: str) -> str:
    """`host:ip`; the ip may be `host-gateway`."""
    host, colon, ip = text.partition(":")
    if not colon:
        message = f"{shorten(text)!r} is not host:ip"
        raise refused(message, suggestion=text.replace("=", ":", 1) if "=" in text else "", kind="InvalidAddress")
    address = ip if ip == "host-gateway" else check_ip(ip.removeprefix("[").removesuffix("]"))
    return f"{check_hostname(host)}:{address}"


def check_user(text: str) -> str:
    if not re.fullmatch(USER_PATTERN, text):
        raise refused(f"{shorten(text)!r} is not a user: name, uid, user:group or uid:gid", kind="InvalidUser")
    return text


def check_capability(text: str) -> str:
    """`NET_ADMIN` or `CAP_NET_ADMIN` in any case; returned as `CAP_NET_ADMIN`, or `ALL`."""
    name = text.upper().removeprefix("CAP_")
    if name == "ALL":
        return name
    if name not in CAPABILITIES:
        raise refused(f"unknown capability {shorten(text)!r}", suggestion=nearest(name, CAPABILITIES))
    return f"CAP_{name}"


def check_signal(text: str) -> str:
    """`TERM`, `SIGTERM` or `15`; returned as `SIGTERM`. Real-time ones as `SIGRTMIN+3`."""
    name = text.upper()
    if name.isascii() and name.isdigit() and len(name) < 3:
        known = {int(s): s.name for s in signal.Signals}
        if int(name) in known:
            return known[int(name)]
    name = name if name.startswith("SIG") else f"SIG{name}"
    if re.fullmatch(r"SIGRTMIN\+([0-9]|[12][0-9]|30)", name) or name in signal.Signals.__members__:
        return name
    raise refused(f"unknown signal {shorten(text)!r}", suggestion=nearest(name, signal.Signals.__members__))


def check_sysctl(text: str) -> str:
    name = text.replace("/", ".")
    if not _SYSCTL.fullmatch(text):
        raise refused(f"{shorten(text)!r} is not a sysctl name such as net.core.somaxconn", kind="InvalidSysctl")
    if name.startswith(_SYSCTL_SAFE) or name in _SYSCTL_EXACT:
        return name
    message = f"the sysctl {shorten(text)!r} belongs to the whole machine: a container may set net.*, fs.mqueue.*, "
    raise refused(message + "kernel.shm*, kernel.msg* and kernel.sem", kind="InvalidSysctl")


def check_ulimit(text: str) -> str:
    name = text.lower().removeprefix("rlimit_")
    if name not in ULIMITS:
        raise refused(f"unknown ulimit {shorten(text)!r}", suggestion=nearest(name, ULIMITS), kind="InvalidUlimit")
    return name


def check_cpuset(text: str) -> str:
    ranges = [part.split("-") for part in text.split(",")]
    if not re.fullmatch(CPUSET_PATTERN, text) or any(int(r[0]) > int(r[-1]) for r in ranges):
        raise refused(f"{shorten(text)!r} is not a list of CPUs such as 0-3 or 0,2")
    return text


def check_expose(text: str) -> str:
    port = text.partition("/")[0]
    if not re.fullmatch(EXPOSE_PATTERN, text) or not 1 <= int(port) <= 65535:
        raise refused(f"{shorten(text)!r} is not a port such as 3000 or 8080/tcp", kind="InvalidPort")
    return text
