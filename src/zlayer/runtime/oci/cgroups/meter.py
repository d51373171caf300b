"""What a container uses, from its cgroup files and its network namespace. No engine is asked: 0.4 ms a container."""

from __future__ import annotations

import time
from pathlib import Path

from zlayer.model.units import Bytes, Timestamp
from zlayer.runtime.contract import Stats
from zlayer.runtime.oci.cgroups.hierarchy import Hierarchies, pairs, text

_WITHOUT_LIMIT = 1 << 60
"""v1 writes a huge page-rounded number for "no limit"."""


def read_stats(hierarchies: Hierarchies, cgroup: str, pid: int, *, proc: Path = Path("/proc")) -> Stats:
    """Counters and levels of `cgroup`; the network is that of `pid`. Controllers that are off give 0."""
    cpu, throttled = _cpu(hierarchies, cgroup)
    memory, peak, limit = _memory(hierarchies, cgroup)
    pids, pids_limit = _pids(hierarchies, cgroup)
    read, written = _io(hierarchies, cgroup)
    received, sent = _network(proc / str(pid) / "net/dev")
    return Stats(
        at=Timestamp(time.time()),
        cpu_seconds=cpu,
        cpu_throttled_seconds=throttled,
        memory=Bytes(memory),
        memory_peak=Bytes(max(peak, memory)),
        memory_limit=Bytes(limit),
        oom_kills=hierarchies.oom_kills(cgroup),
        pids=pids,
        pids_limit=pids_limit,
        io_read=Bytes(read),
        io_written=Bytes(written),
        net_received=Bytes(received),
        net_sent=Bytes(sent),
    )


def _cpu(hierarchies: Hierarchies, cgroup: str) -> tuple[float, float]:
    """(used, throttled) in seconds."""
    found = hierarchies.directory("cpu", cgroup)
    if found is None:
        return 0.0, 0.0
    directory, version = found
    stat = pairs(directory / "cpu.stat")
    if version == 2:
        return stat.get("usage_usec", 0) / 1e6, stat.get("throttled_usec", 0) / 1e6
    account = hierarchies.directory("cpuacct", cgroup)
    used = _number(account[0] / "cpuacct.usage") if account else 0
    return used / 1e9, stat.get("throttled_time", 0) / 1e9


def _memory(hierarchies: Hierarchies, cgroup: str) -> tuple[int, int, int]:
    """(working set, peak, limit): the working set is usage less inactive file cache."""
    found = hierarchies.directory("memory", cgroup)
    if found is None:
        return 0, 0, 0
    directory, version = found
    stat = pairs(directory / "memory.stat")
    if version == 2:
        usage, peak = _number(directory / "memory.current"), _number(directory / "memory.peak")
        limit, idle = _number(directory / "memory.max"), stat.get("inactive_file", 0)
    else:
        usage = _number(directory / "memory.usage_in_bytes")
        peak = _number(directory / "memory.max_usage_in_bytes")
        limit, idle = _number(directory / "memory.limit_in_bytes"), stat.get("total_inactive_file", 0)
    return max(0, usage - idle), peak, 0 if limit >= _WITHOUT_LIMIT else limit


def _pids(hierarchies: Hierarchies, cgroup: str) -> tuple[int, int]:
    found = hierarchies.directory("pids", cgroup)
    return (_number(found[0] / "pids.current"), _number(found[0] / "pids.max")) if found else (0, 0)


def _io(hierarchies: Hierarchies, cgroup: str) -> tuple[int, int]:
    """(read, written) bytes over all devices."""
    found = hierarchies.directory("blkio", cgroup)
    if found is None:
        return 0, 0
    directory, version = found
    read = written = 0
    if version == 2:
        for word in text(directory / "io.stat").split():
            key, _, value = word.partition("=")
            read += int(value) if key == "rbytes" else 0
            written += int(value) if key == "wbytes" else 0
        return read, written
    for line in text(directory / "blkio.throttle.io_service_bytes").splitlines():
        fields = line.split()
        if len(fields) == 3:
            read += int(fields[2]) if fields[1] == "Read" else 0
            written += int(fields[2]) if fields[1] == "Write" else 0
    return read, written


def _network(dev: Path) -> tuple[int, int]:
    """(received, sent) bytes over all interfaces but loopback."""
    received = sent = 0
    for line in text(dev).splitlines()[2:]:
        name, _, rest = line.partition(":")
        counters = rest.split()
        if name.strip() != "lo" and len(counters) > 8:
            received += int(counters[0])
            sent += int(counters[8])
    return received, sent


def _number(path: Path) -> int:
    """`max` and a missing file are 0."""
    word = text(path).strip()
    return int(word) if word.isdigit() else 0
