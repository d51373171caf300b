"""The three files every container gets from its node: hosts, resolv.conf and hostname."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from zlayer.model.container import ContainerSpec
from zlayer.runtime.contract import MountPoint

_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a container is on the network: its own addresses, IPv4 first, and the node as it reaches it."""

    addresses: tuple[str, ...] = ()
    gateway: str | None = None


def write(directory: Path, spec: ContainerSpec, hostname: str, seat: Seat) -> tuple[MountPoint, ...]:
    """Write the files below `directory/etc` and say where they are mounted. Written again: the same."""
    etc = f"{directory}/etc"
    with suppress(FileExistsError):
        os.mkdir(etc, 0o755)  # noqa: PTH102 - strings: this runs for every container
    contents = {
        "hosts": hosts(spec.extra_hosts, hostname, seat),
        "resolv.conf": _resolv(spec, seat),
        "hostname": hostname + "\n",
    }
    for name, text in contents.items():
        fd = os.open(f"{etc}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    taken = {mount.target for mount in spec.mounts}
    return tuple(
        MountPoint(type="bind", source=f"{etc}/{name}", target=f"/etc/{name}")
        for name in contents
        if f"/etc/{name}" not in taken
    )


def _resolv(spec: ContainerSpec, seat: Seat) -> str:
    host = _host_resolv()
    if seat.gateway is not None and not spec.dns:
        return named(seat.gateway, host_resolv=host)
    return resolv(spec.dns, host_resolv=host, keep_loopback=spec.network_mode == "host")


def named(server: str, *, host_resolv: str) -> str:
    """The node's name server, which knows the deployment's names and passes other questions on to the host's servers.

    `ndots:2`: names with one dot, such as `1.web`, are looked up here first (resolv.conf(5)).
    """
    found = [line.split()[1:] for line in host_resolv.splitlines() if line.split()[:1] in (["search"], ["domain"])]
    search = " ".join(dict.fromkeys(["service.local", *(found[-1] if found else [])]))
    return f"nameserver {server}\nsearch {search}\noptions ndots:2\n"


def hosts(extra: Sequence[str], hostname: str, seat: Seat) -> str:
    """`extra` are `name:ip`, the ip IPv4 or IPv6; `host-gateway` is the node as the container reaches it."""
    lines = [_HOSTS, *(f"{address}\t{hostname}\n" for address in seat.addresses or ("127.0.1.1",))]
    for entry in extra:
        name, _, ip = entry.partition(":")
        where = (seat.gateway or "127.0.0.1") if ip == "host-gateway" else ip.strip("[]")
        lines.append(f"{where}\t{name}\n")
    return "".join(lines)


def resolv(dns: Sequence[str], *, host_resolv: str, keep_loopback: bool) -> str:
    """The servers given, else the host's; its loopback servers mean nothing inside another network namespace."""
    if dns:
        return "".join(f"nameserver {server}\n" for server in dns)
    kept = [line for line in host_resolv.splitlines() if keep_loopback or not _loopback_server(line)]
    return "".join(f"{line}\n" for line in kept)


_RESOLV = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


def _host_resolv() -> str:
    return _read_resolv(tuple(_stamp(path) for path in _RESOLV))


def _stamp(path: str) -> tuple[int, int]:
    try:
        info = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return (0, 0)
    return (info.st_mtime_ns, info.st_ino)


@lru_cache(maxsize=1)
def _read_resolv(_stamps: tuple[tuple[int, int], ...]) -> str:
    """The first file with a server another namespace can reach. Read again when one of them changed."""
    for path in _RESOLV:
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if any(line.startswith("nameserver") and not _loopback_server(line) for line in text.splitlines()):
            return text
    return ""


def _loopback_server(line: str) -> bool:
    word, _, server = line.partition(" ")
    if word != "nameserver":
        return False
    try:
        return ipaddress.ip_address(server.strip().split("%")[0]).is_loopback
    except ValueError:
        return False
