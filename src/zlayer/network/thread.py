"""The one thread that does a driver's kernel work: it alone ever leaves its network namespace.

Serial on purpose: the kernel serialises link changes anyway (rtnl), and one netlink socket needs one owner.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zlayer.network import netns
from zlayer.network.netlink import Netlink

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Host:
    """The host's side: a netlink socket and a descriptor of the host's network namespace."""

    netlink: Netlink
    home: int


class KernelThread:
    """Runs work with a `Host`. `home` is a namespace's path; None is the namespace of the process."""

    def __init__(self, home: Path | None = None) -> None:
        self._home = home or Path("/proc/self/ns/net")
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="zlayer-network")
        self._host: Host | None = None

    async def run(self, work: Callable[[Host], T]) -> T:
        """Errors come through as they are. A caller that is cancelled leaves started work to finish by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._do, work)

    def _do(self, work: Callable[[Host], T]) -> T:
        if self._host is None:
            self._host = self._open()
        else:
            netns.enter(self._host.home)
        return work(self._host)

    def _open(self) -> Host:
        home = os.open(self._home, os.O_RDONLY | os.O_CLOEXEC)
        try:
            netns.enter(home)
            return Host(Netlink(), home)
        except OSError:
            os.close(home)
            raise

    def close(self) -> None:
        """Ends the thread after the work it has; the object cannot be used again. Twice is fine."""
        self._executor.shutdown(wait=True)
        if self._host is not None:
            self._host.netlink.close()
            os.close(self._host.home)
            self._host = None
