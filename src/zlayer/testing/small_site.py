"""A daemon whose data directory is a small ext4 file system of its own, to be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from zlayer.model.errors import Unsupported
from zlayer.testing.site import CONFIG, Site

QUICK = f"{CONFIG}[pull]\nattempts = 2\nbackoff = 0.05\n"


class SmallSite(Site):
    """`size` bytes in a file on a loop device. `Unsupported` where the kernel gives none."""

    def __init__(self, size: int = 40 << 20) -> None:
        super().__init__()
        self._size = size

    def __enter__(self) -> SmallSite:
        disk = self.root / "disk"
        with disk.open("wb") as file:
            file.truncate(self._size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(disk)], check=True)
        done = subprocess.run(["mount", "-o", "loop", str(disk), str(self.data)], capture_output=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(self.root)
            raise Unsupported(f"no loop devices here: {done.stderr.decode().strip()}", hint="modprobe loop")
        self.data.chmod(0o700)
        (self.data / "config.toml").write_text(QUICK)
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.cli("daemon", "reset", "--force", check=False, timeout=90)
        finally:
            self.reap()
            subprocess.run(["umount", str(self.data)], check=True)
            shutil.rmtree(self.root)

    @property
    def free(self) -> int:
        found = os.statvfs(self.data)
        return found.f_bavail * found.f_frsize

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not one block is free inside; what fills it goes at the end."""
        with self.leaving(0):
            ballast = self.data / "ballast"
            for size in (1 << 20, 4096, 1):
                with ballast.open("ab", buffering=0) as file:
                    try:
                        while file.write(bytes(size)):
                            pass
                    except OSError:
                        continue
            yield

    @contextmanager
    def leaving(self, count: int) -> Iterator[None]:
        """About so many bytes are free inside."""
        ballast = self.data / "ballast"
        try:
            with ballast.open("wb") as file:
                room = self.free - count
                while room > 0:
                    try:
                        os.posix_fallocate(file.fileno(), 0, room)
                    except OSError:  # its own map takes blocks too
                        room -= 64 << 10
                    else:
                        break
            yield
        finally:
            ballast.unlink()
