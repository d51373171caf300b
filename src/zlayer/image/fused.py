"""Container root file systems by fuse-overlayfs: a process per mount, ended by the unmount, not by the daemon's end."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from zlayer.image.contract import Image, Mounted
from zlayer.image.mountapi import MountError
from zlayer.image.snapshots import OverlaySnapshots

PROGRAM = "fuse-overlayfs"
_DEADLINE = 30.0


class FuseOverlaySnapshots(OverlaySnapshots):
    """Implements `Snapshots` with the directories of `OverlaySnapshots`; the same upper works under either."""

    def _assemble(self, image: Image, mounted: Mounted, work: Path) -> None:
        with ExitStack() as open_files:
            opened = len(self._open_layers(image, open_files))
        lowers = [self._layers.path(diff_id) for diff_id in reversed(image.layers)][:opened]
        for path in (mounted.upper, work, mounted.rootfs):
            path.mkdir(parents=True, exist_ok=True)
        mounted.upper.chmod(0o755)
        if not lowers:
            lowers = [work.with_name("empty")]
            lowers[0].mkdir(exist_ok=True)
        mount_fuse(lowers, mounted.upper, work, mounted.rootfs)


def mount_fuse(lowers: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
    """Raises `MountError` with the program's words. It goes to the background once the mount is there."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise MountError(errno.ENOENT, f"{PROGRAM} is not installed")
    below = ":".join(map(_escaped, lowers))
    options = f"lowerdir={below},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    try:
        done = subprocess.run(
            [program, "-o", options, str(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MountError(errno.ETIMEDOUT, f"{PROGRAM} did not mount within {_DEADLINE:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise MountError(errno.EIO, f"{PROGRAM}: {said or f'exit code {done.returncode}'}")


def _escaped(path: Path) -> str:
    text = str(path)
    for character in "\\:,":
        text = text.replace(character, f"\\{character}")
    return text
