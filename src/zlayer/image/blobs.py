"""Compressed blobs and documents on disk, named by their digest; unfinished downloads that survive a kill.

Below the root: `sha256/<hex>` whole and verified blobs, `partial/<hex>` what has arrived of others, `tmp/` files being
written. A blob appears by rename after fsync, so it is there whole or not at all. Safe between processes: a partial
is written only under its flock, which the kernel drops when its holder dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from zlayer.image.reference import is_digest
from zlayer.model.errors import Corrupt, Exhausted, Failed, Invalid, Unavailable, ZlayerError
from zlayer.model.units import Bytes


class BlobStore:
    """The blobs below `root`. Errors: `Exhausted` when the disk is full, `Failed` for other disk trouble."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be."""
        if not is_digest(digest):
            raise Invalid(f"not a digest: {digest!r}", hint="write sha256: and 64 hex digits, or sha512: and 128")
        algorithm, _, digits = digest.partition(":")
        return self.root / algorithm / digits

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is here, and of that size."""
        try:
            found = self.path(digest).stat()
        except FileNotFoundError:
            return False
        return size is None or found.st_size == size

    def read(self, digest: str, limit: int) -> bytes | None:
        """A small blob's content, verified. None when it is not here, too long or damaged; a damaged one is deleted."""
        try:
            with self.path(digest).open("rb") as file:
                body = file.read(limit + 1)
        except FileNotFoundError:
            return None
        if len(body) > limit:
            return None
        if digest_of(body, digest) != digest:
            self.remove(digest)
            return None
        return body

    def write(self, digest: str, body: bytes) -> None:
        """Keep a small blob. Errors: `Corrupt` when it does not match its digest."""
        if (real := digest_of(body, digest)) != digest:
            raise Corrupt(f"content does not match its digest: {real} instead of {digest}", hint="pull again")
        final = self.path(digest)
        if not self.has(digest, len(body)):
            write_whole(final, body, self.root / "tmp")

    def remove(self, digest: str) -> int:
        """Delete a blob and what there is of its partial; returns the bytes freed. Not here: 0."""
        freed = 0
        for path in (self.path(digest), self._partial(digest)):
            with contextlib.suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
        return freed

    def taken(self, digest: str) -> int:
        """Bytes on disk of a blob and of what there is of its partial."""
        total = 0
        for path in (self.path(digest), self._partial(digest)):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
        return total

    def list(self) -> Iterator[str]:
        """Digests of the blobs that are here whole, in no order."""
        for algorithm in ("sha256", "sha512"):
            with contextlib.suppress(FileNotFoundError):
                entries = list((self.root / algorithm).iterdir())
                yield from (d for entry in entries if is_digest(d := f"{algorithm}:{entry.name}"))

    def partials(self) -> Iterator[str]:
        """Digests of downloads that have begun and not ended."""
        with contextlib.suppress(FileNotFoundError):
            names = [entry.name for entry in (self.root / "partial").iterdir()]
            yield from (d for name in names if is_digest(d := f"sha{len(name) * 4}:{name}"))

    def sweep(self, *, dead: bool = False) -> None:
        """Delete files that were being written when their process died. Partials stay.

        For a daemon's start; with `dead`, for any time: those of processes that live are left alone.
        """
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(self.root / "tmp")):
                if not (dead and alive(int(entry.name.partition("-")[0]))):
                    Path(entry.path).unlink(missing_ok=True)

    def arrived(self, digest: str) -> Bytes:
        """How much of a blob its partial holds."""
        with contextlib.suppress(FileNotFoundError):
            return Bytes(self._partial(digest).stat().st_size)
        return Bytes(0)

    @contextlib.contextmanager
    def partial(self, digest: str, *, wait: bool = True) -> Iterator[Partial]:
        """What has arrived of a blob, to read, extend and commit; ours alone until the end of the block.

        Waits for another process or thread at work on the same blob; look afterwards whether it has finished. Not to
        `wait` is `Unavailable` then.
        """
        path = self._partial(digest)
        descriptor = _locked(path, wait=wait)
        partial = Partial(path, self.path(digest), descriptor)
        try:
            yield partial
        finally:
            if partial.size == 0 and not partial.gone:
                path.unlink(missing_ok=True)
            os.close(partial.descriptor)

    def _partial(self, digest: str) -> Path:
        return self.root / "partial" / self.path(digest).name


class Partial:
    """A blob on its way in. `size` is how much of it is here."""

    def __init__(self, path: Path, final: Path, descriptor: int) -> None:
        self._path, self._final, self.descriptor = path, final, descriptor
        self.size = os.fstat(descriptor).st_size
        self.gone = False
        """Committed, adopted or discarded: nothing is left under the partial's own name."""

    def adopt(self) -> None:
        """Read the blob, which is here whole, as if it had just arrived: its layer must be unpacked again."""
        os.close(self.descriptor)
        self.descriptor = os.open(self._final, os.O_RDONLY | os.O_CLOEXEC)
        self._path.unlink(missing_ok=True)
        self.size, self.gone = os.fstat(self.descriptor).st_size, True

    def append(self, data: memoryview) -> None:
        """Errors: `Exhausted`, after which the partial is worth discarding."""
        try:
            while data:
                written = os.pwrite(self.descriptor, data, self.size)
                self.size += written
                data = data[written:]
        except OSError as error:
            raise disk_error(error, self._path) from error

    def readinto(self, buffer: memoryview, offset: int) -> int:
        try:
            return os.preadv(self.descriptor, [buffer], offset)
        except OSError as error:
            raise disk_error(error, self._path) from error

    def reset(self) -> None:
        """Forget what is here, for it is not what it should be, and begin at byte 0 again."""
        if self.gone:
            self._final.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor, self.gone = _locked(self._path), False
        os.ftruncate(self.descriptor, 0)
        self.size = 0

    def commit(self) -> None:
        """Make it the blob: durable, and visible whole. The caller has verified it. One adopted is there already."""
        if self.gone:
            return
        try:
            os.fsync(self.descriptor)
            self._final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.rename(self._final)
            sync_directory(self._final.parent)
        except OSError as error:
            raise disk_error(error, self._final) from error
        self.gone = True

    def discard(self) -> None:
        """Delete it, committed or not."""
        (self._final if self.gone else self._path).unlink(missing_ok=True)
        self.size, self.gone = 0, True


def _locked(path: Path, *, wait: bool = True) -> int:
    """Open and lock the file of that name; whoever held it before may have renamed it away, then it is made anew."""
    while True:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise Unavailable(f"{path.name} is being taken in already", hint="wait for it", retry_after=1) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def digest_of(body: bytes, like: str) -> str:
    """The digest of `body` in the algorithm of the digest `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def write_whole(final: Path, body: bytes, scratch: Path) -> None:
    """Replace `final` by `body`, durably and at once; `scratch` is a directory on the same file system."""
    temporary = scratch / f"{os.getpid()}-{secrets.token_hex(6)}"
    try:
        for directory in (final.parent, scratch):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(final)
        sync_directory(final.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, final) from error


def alive(pid: int) -> bool:
    """A zombie is not: nobody may be there to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: OSError, path: Path) -> ZlayerError:
    """What an OSError of the data directory's disk means."""
    what = f"cannot write {path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Exhausted(what, hint="free disk space (zlayer image rm), or move the data directory")
    return Failed(what, hint="look at the data directory's owner, permissions and mount options")
