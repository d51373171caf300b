"""Extracted layers on disk: one directory per diff id, shared read-only by every container that uses it."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zlayer.image import layer_seal
from zlayer.image.blobs import alive
from zlayer.image.marks import NONE, Marks
from zlayer.image.mountapi import syncfs
from zlayer.image.trees import remove_tree
from zlayer.model.errors import Exhausted, Failed, Invalid

_DIFF_ID = re.compile(r"sha256:([0-9a-f]{64})\Z")
_RACED = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY)
"""Someone's `remove` or `commit` came between two of our calls: look again."""
SEAL = "seal.json"
_TEMPORARY = re.compile(r"\.(?:tmp|trash)-(\d+)-[0-9a-f]+\Z")


class LayerStore:
    """The directory `root` (a daemon's `layers/`), holding `<hex>/diff` and its seal for each diff id `sha256:<hex>`.

    A layer is there whole or not at all: it is filled in a directory of `begin`, flushed to disk once with
    syncfs and renamed into place by `commit`. Safe to use from several threads and processes at once. `Invalid`
    for something that is no diff id, `Exhausted` when the disk is full.
    """

    def __init__(self, root: Path, *, sync: bool = True) -> None:
        """`sync=False` leaves out the flush: for tests, and for stores that need not outlive a power cut."""
        self.root = root
        self._sync = sync

    def path(self, diff_id: str) -> Path:
        """Where the layer's files are, or would be: `<root>/<hex>/diff`."""
        return self._home(diff_id) / "diff"

    def has(self, diff_id: str) -> bool:
        return self.path(diff_id).is_dir()

    def fault(self, diff_id: str) -> str:
        """What is wrong with a layer's tree, by its seal; empty: nothing. Walks over it, and reads no contents."""
        if not self.has(diff_id):
            return "it is missing"
        return layer_seal.fault(self._home(diff_id) / SEAL, self.path(diff_id))

    def marks(self, diff_id: str) -> Marks:
        """What `commit` was told; of a layer that is not here, or from before that was asked, none."""
        try:
            return Marks.read(json.loads((self._home(diff_id) / SEAL).read_bytes()))
        except (OSError, ValueError, AttributeError, TypeError):
            return NONE

    def begin(self) -> Path:
        """A fresh, empty directory to extract into: end it with `commit` or `discard`."""
        return self._fresh("tmp")

    def commit(
        self,
        temporary: Path,
        diff_id: str,
        marks: Marks = NONE,
        seal: Mapping[str, Any] | None = None,  # Any: a JSON document
    ) -> Path:
        """Make `temporary` the layer `diff_id`, durably, with its seal. Theirs stays if someone was first.

        `marks`: what its archive says besides. `seal`: that of the tree, if it has been taken.
        """
        home = self._home(diff_id)
        final = home / "diff"
        note = self.root / f".tmp-{os.getpid()}-{secrets.token_hex(6)}"
        try:
            sealed = json.dumps({**(seal or layer_seal.seal(temporary)), **marks.document()}).encode()
            for turn in range(16):
                try:
                    if not final.is_dir():
                        note.write_bytes(sealed)
                        if self._sync and not turn:
                            syncfs(self.root)
                        home.mkdir(mode=0o700, exist_ok=True)
                        note.rename(home / SEAL)
                    temporary.rename(final)
                except OSError as error:
                    if not temporary.is_dir():
                        raise Failed(f"{temporary} vanished before it was committed", hint="Pull again.") from None
                    if final.is_dir():
                        self.discard(temporary)
                        return final
                    if error.errno not in _RACED:
                        raise _translated(error, f"cannot store layer {diff_id}") from error
                else:
                    self._flush(home)
                    return final
        finally:
            note.unlink(missing_ok=True)
        raise Failed(f"layer {diff_id} is removed as fast as it is stored", hint="Pull again.")

    def discard(self, temporary: Path) -> None:
        """Delete what `begin` gave, however full. Gone already: nothing happens."""
        remove_tree(temporary)

    def remove(self, diff_id: str) -> None:
        """Delete a layer: its name is gone at once. The caller knows that nobody mounts it."""
        trash = self._fresh("trash")
        with suppress(FileNotFoundError):
            self._home(diff_id).rename(trash)
        for _ in range(16):
            try:
                remove_tree(trash)
            except OSError as error:  # a commit that had found the directory before it was renamed lands in it
                if error.errno != errno.ENOTEMPTY:
                    raise
            else:
                return

    def list(self) -> Iterator[str]:
        """Diff ids of the layers that are here whole, in no order."""
        if self.root.is_dir():
            for entry in os.scandir(self.root):
                diff_id = f"sha256:{entry.name}"
                if _DIFF_ID.match(diff_id) and self.has(diff_id):
                    yield diff_id

    def sweep(self) -> int:
        """Delete what dead processes left half-written or half-deleted. Returns how many.

        For the start of a daemon. A directory whose process lives (a pull going on elsewhere) stays.
        """
        swept = 0
        for entry in list(os.scandir(self.root)) if self.root.is_dir() else []:
            match = _TEMPORARY.match(entry.name)
            dead = match is not None and not alive(int(match[1]))
            hollow = _DIFF_ID.match(f"sha256:{entry.name}") is not None and not Path(entry.path, "diff").exists()
            if dead or hollow:
                remove_tree(Path(entry.path))
                swept += 1
        return swept

    def _home(self, diff_id: str) -> Path:
        match = _DIFF_ID.match(diff_id)
        if match is None:
            raise Invalid(f"not a layer diff id: {diff_id!r}", hint="A diff id is sha256: and 64 hex digits.")
        return self.root / match[1]

    def _fresh(self, purpose: str) -> Path:
        directory = self.root / f".{purpose}-{os.getpid()}-{secrets.token_hex(6)}"
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o755)
        except OSError as error:
            raise _translated(error, f"cannot make {directory}") from error
        return directory

    def _flush(self, home: Path) -> None:
        """The names are durable as the contents are: fsync the two directories the rename touched."""
        for directory in (home, self.root) if self._sync else ():
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _translated(error: OSError, what: str) -> Exhausted | Failed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
        return Exhausted(f"{what}: {error.strerror}", hint="Free disk space (zlayer image rm), then try again.")
    return Failed(f"{what}: {error.strerror}", hint="Look at the data directory's owner and mount options.")
