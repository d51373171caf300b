"""A daemon is its data directory: where everything of it lives, and the short id every kernel name derives from."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

ENV_DATA_DIR = "ZLAYER_DATA_DIR"


def default_data_dir() -> Path:
    """`$ZLAYER_DATA_DIR`, else `/var/lib/zlayer` for root and `~/.zlayer` for a user."""
    if given := os.environ.get(ENV_DATA_DIR):
        return Path(given)
    return Path("/var/lib/zlayer") if os.geteuid() == 0 else Path.home() / ".zlayer"


@dataclass(frozen=True, slots=True)
class Paths:
    """Absolute, symlinks resolved, so two spellings of one directory are one daemon."""

    root: Path

    @classmethod
    def of(cls, data_dir: Path | None = None) -> Paths:
        return cls((data_dir or default_data_dir()).expanduser().resolve())

    @property
    def id(self) -> str:
        """Eight hex digits of the path's sha256. Bridge `zl<id>`, nft table `zlayer_<id>`, cgroup `zlayer-<id>`."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]

    @property
    def socket(self) -> Path:
        return self.root / "zlayer.sock"

    @property
    def lock(self) -> Path:
        """Held with flock by the daemon for its whole life; holds its pid as text."""
        return self.root / "daemon.pid"

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def state(self) -> Path:
        return self.root / "state.db"

    @property
    def jwt_key(self) -> Path:
        return self.root / "jwt.key"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def containers(self) -> Path:
        """One directory per instance, named by its id: journal, bundle, upper, logs, exit code."""
        return self.root / "containers"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def run(self) -> Path:
        """Pins, sockets and pid files: nothing here is worth a backup."""
        return self.root / "run"
