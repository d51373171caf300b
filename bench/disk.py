"""A disk as machines have it: ext4 with a journal, for benchmarks on a machine whose /tmp has none.

Without a journal, ext4 looks at every inode deleted in the last half minute whenever it makes one (recently_deleted,
fs/ext4/ialloc.c): a benchmark that makes and deletes thousands of files then measures that, for us and for the peers.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zlayer.runtime.oci.mountspace import separate

PLACE = Path("/tmp")
_SIZE = 8 << 30


@contextlib.contextmanager
def disk(*, here: bool = False) -> Iterator[None]:
    """`/tmp`, as this process and what it starts see it, is on ext4 with a journal; `here`: it is left as it is."""
    if here or not _without_journal():
        yield
        return
    print("/tmp has no journal here: measured on ext4 with one, in a file (--here measures on /tmp as it is)")
    with tempfile.NamedTemporaryFile(prefix="zlbench", dir=PLACE) as image:
        os.truncate(image.fileno(), _SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", image.name], check=True)
        separate()
        subprocess.run(["mount", "-o", "loop", image.name, str(PLACE)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(PLACE)], check=True)


def _without_journal() -> bool:
    device = PLACE.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    task = Path("/sys/fs/ext4") / name / "journal_task"
    return task.exists() and task.read_text().strip() == "<none>"
