"""An image made of files of this machine, as images have them: eight layers of very different size. A library.

What lies below `/usr` is what a Debian image holds: libraries, scripts, translations. Its directories are taken in an
order that only their names decide, so one machine always makes the same image, and two machines make like ones.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zlayer.testing.debian_layers import Sink
from zlayer.testing.imagery import Layer, OciImage, image, layer_from_file

SOURCE = Path("/usr")
SHARES = (57, 81, 28, 10, 8, 6, 4, 2)
"""Of the layers, base first: what a base, a database, an interpreter and five smaller things weigh."""
_LARGEST = 20 << 20
"""Bytes of a file that is taken: one huge binary would be a layer by itself."""


def machine_image(directory: Path, megabytes: int) -> OciImage:
    """About so many MB (10^6) compressed, in files of `directory`."""
    groups = _groups(len(SHARES))
    targets = [share * megabytes * 1_000_000 // sum(SHARES) for share in SHARES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        numbers = range(len(SHARES))
        layers = pool.map(lambda n: _layer(directory / f"{n}.tar.gz", groups[n], targets[n], ""), numbers)
        made = list(layers)
    return image(made, {"Cmd": ["true"]})


def updated(made: OciImage, directory: Path) -> OciImage:
    """The same with another last layer of about the same size."""
    last = _layer(directory / "updated.tar.gz", _groups(len(SHARES))[-1], made.layers[-1].blob.size, "updated")
    return image([*made.layers[:-1], last], {"Cmd": ["true"]})


def _groups(count: int) -> list[list[Path]]:
    """All directories in so many parts, each in the order of the digests of their names."""
    parts: dict[int, list[tuple[bytes, Path]]] = defaultdict(list)
    device = SOURCE.stat().st_dev
    for path, inner, _ in os.walk(SOURCE):
        inner[:] = [one for one in inner if Path(path, one).lstat().st_dev == device]
        key = hashlib.sha256(path.encode(errors="surrogateescape")).digest()
        parts[key[0] % count].append((key, Path(path)))
    return [[path for _, path in sorted(parts[number])] for number in range(count)]


def _layer(archive: Path, directories: Sequence[Path], target: int, salt: str) -> Layer:
    with archive.open("wb") as out:
        sink = Sink(out.write)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            if salt:
                entry = tarfile.TarInfo(f"usr/{salt}")
                tar.addfile(entry)
            for path in _entries(directories):
                if out.tell() >= target:
                    break
                try:
                    tar.add(path, str(path).lstrip("/"), recursive=False, filter=_whole_seconds)
                except PermissionError:
                    continue
        sink.finish()
    return layer_from_file(archive, f"sha256:{sink.raw.hexdigest()}", f"sha256:{sink.packed.hexdigest()}")


def _whole_seconds(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """As docker and buildkit write layers: parts of a second would need a header of their own for each entry."""
    entry.mtime = int(entry.mtime)
    return entry


def _entries(directories: Sequence[Path]) -> Iterator[Path]:
    """Directories with those above them, then the files and links in each."""
    told: set[Path] = set()
    for directory in directories:
        for above in (*reversed(directory.parents), directory):
            if above not in told and above != Path("/"):
                told.add(above)
                yield above
        for path in sorted(directory.iterdir()):
            status = path.lstat()
            small = stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST
            if small or stat.S_ISLNK(status.st_mode):
                yield path


def described(made: OciImage) -> str:
    """For the head of a report."""
    packed = sum(layer.blob.size for layer in made.layers)
    entries = raw = 0
    for layer in made.layers:
        assert isinstance(layer.blob.content, Path)
        with tarfile.open(layer.blob.content, "r:gz") as tar:
            for member in tar:
                entries, raw = entries + 1, raw + member.size
    return f"{len(made.layers)} layers, {packed / 1e6:.0f} MB packed, {raw / 1e6:.0f} MB of files, {entries:,} entries"
