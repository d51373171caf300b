"""Images: from a reference to a mounted root file system.

`Images` resolves and stores; `Snapshots` mounts. Blobs and layers are content-addressed and shared; each container
gets an upper directory of its own. All calls are idempotent and safe to run twice at once: concurrent pulls of one
image (or of one layer by two images) do the work once.

Errors: `Invalid` (bad reference), `NotFound` (manifest unknown, no such platform, not local under `never`), `Denied`
(401/403; the hint names the credential sources tried), `Unavailable` (unreachable, 5xx, 429 with `retry_after`),
`Deadline` (the registry stalled), `Corrupt` (digest or size differs, bad archive; nothing of it is kept),
`Exhausted` (disk full; what was half-written is gone).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from zlayer.image.artifact_contract import Artifacts
from zlayer.image.parcel_contract import Parcels
from zlayer.image.s3.standing import Standing
from zlayer.image.trust_contract import Trust
from zlayer.model.container import PullPolicy, SourcePolicy
from zlayer.model.units import Bytes, Seconds, Timestamp


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The parts of the OCI image config a container inherits (image-spec, config.md). None: the image does not say."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """A local image. `reference` is normalised; `digest` is of the platform's manifest, `index_digest` of the list."""

    reference: str
    digest: str
    config: ImageConfig
    layers: tuple[str, ...]
    """Layer diff ids, base first. Each is extracted on disk."""
    platform: str
    size: Bytes
    """Sum of the compressed layers."""
    pulled_at: Timestamp
    index_digest: str = ""
    media_type: str = ""

    @property
    def digests(self) -> tuple[str, str]:
        """What a signature of it may name: the list first."""
        return self.index_digest, self.digest


@dataclass(frozen=True, slots=True)
class Progress:
    """How one blob of a pull or push stands.

    `phase`: waiting, downloading, extracting, uploading, then done (it moved), exists or mounted (it need not). Of a
    mirror or S3, whose name stands for the digest (`mirror HOST`, `s3 BUCKET`), `phase` says in words how it did.
    """

    digest: str
    phase: str
    done: Bytes
    total: Bytes


Compression = Literal["", "gzip", "zstd"]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where an image is now. `sent` counts bytes that went over the wire; `there` and `mounted` count blobs.

    One platform went, for a node keeps one of each pull; `left` are the others of the index it came from.
    """

    reference: str
    digest: str
    sent: int = 0
    there: int = 0
    mounted: int = 0
    platform: str = ""
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """What an image takes on disk: in all, what only it stands on, and what it has in common with others."""

    reference: str
    size: Bytes
    alone: Bytes
    shared: Bytes
    in_use: bool
    used_at: Timestamp


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk: unpacked layers, and blobs (packed layers, documents). `free` and `disk` are the file system's.

    `s3` is the tier, where there is one.
    """

    images: tuple[ImageUsage, ...]
    layers: Bytes
    blobs: Bytes
    reclaimable: Bytes
    free: Bytes
    disk: Bytes
    s3: Standing | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Names of images, bytes on disk as in `Usage`, and bytes that `reclaim` gave back since this stock was opened."""

    images: int
    layers: Bytes
    blobs: Bytes
    reclaimed: Bytes
    s3: Standing | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """What to give back: names that nothing runs as well (`unused`), not used for so long; or as many bytes as this.

    For `bytes` packed layers go too, and as much as is needed, whatever `unused` says.
    """

    unused: bool = False
    older_than: Seconds = Seconds(0)
    bytes: Bytes | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that goes: an image's name with what only it stood on, a packed layer, or content of no image."""

    kind: Literal["image", "packed", "orphan"]
    name: str
    size: Bytes
    why: str


@dataclass(frozen=True, slots=True)
class Origin:
    """A step of an image's history (image-spec, config.md); without a digest it made no layer. `size`: compressed."""

    created: str
    by: str
    comment: str
    digest: str
    size: Bytes


FaultKind = Literal["blob", "packed", "layer", "image", "record"]
FaultState = Literal["found", "repaired", "stayed"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something kept that is not whole. `images` stand on it; none: nothing does.

    `packed` is a compressed layer that was given back for its space: no damage, a push or export fetches it again.
    """

    kind: FaultKind
    name: str
    problem: str
    images: tuple[str, ...] = ()
    state: FaultState = "found"
    note: str = ""
    """Why it stayed."""

    @property
    def bad(self) -> bool:
        return self.kind != "packed" and self.state != "repaired"


@dataclass(frozen=True, slots=True)
class Verified:
    """How much was looked at, `size` bytes of blobs of it, and what was wrong."""

    images: int
    blobs: int
    layers: int
    size: Bytes
    faults: tuple[Fault, ...]


class Upkeep(Protocol):
    """Whether what is kept is whole."""

    async def verify(
        self,
        references: Sequence[str],
        *,
        repair: bool = False,
        in_use: Callable[[], Collection[str]] = tuple,
        on_progress: OnProgress | None = None,
    ) -> Verified:
        """Look at these images, or at all that is kept. Only `repair` changes anything.

        It drops what is bad and pulls it again from where the image came from. A layer's tree is replaced last, when
        its packed layer is here, and never under an instance: `in_use` gives the digests of those, asked just before.
        Errors: `NotFound` (no such local image); what cannot be repaired is told in the faults.
        """
        ...


class Storage(Protocol):
    """What images take on disk. `in_use` are manifest or index digests that must stay."""

    async def usage(self, in_use: Collection[str]) -> Usage: ...

    async def tier(self) -> Standing | None:
        """The S3 tier, where there is one."""
        ...

    async def totals(self) -> Totals:
        """Cheaper than `usage`: a look at each blob, and a walk over layers that were not walked over before."""
        ...

    async def reclaim(self, in_use: Collection[str], want: Want, *, dry_run: bool = False) -> Sequence[Piece]:
        """Give back; what went, or would go, in order."""
        ...

    async def history(self, reference: str) -> Sequence[Origin]:
        """How an image came to be, oldest first. Errors: `NotFound`."""
        ...


class Images(Protocol):
    @property
    def stock(self) -> Storage: ...

    @property
    def upkeep(self) -> Upkeep: ...

    @property
    def artifacts(self) -> Artifacts: ...

    @property
    def parcels(self) -> Parcels: ...

    async def pull(
        self,
        reference: str,
        *,
        policy: PullPolicy = "if_not_present",
        platform: str | None = None,
        source: SourcePolicy = "local_first",
        limit_rate: Bytes | None = None,
        on_progress: OnProgress | None = None,
    ) -> Image:
        """The image, present and extracted. `if_not_present` and `never` touch no network when it is local.

        `always` and `newer` ask the registry for the digest and download what is missing; when the registry is
        unreachable `newer` falls back to the local image. `limit_rate`: bytes a second for all layers together, instead
        of the settings' (0: no limit). `source`: `local_only` is `never`, `remote_only` leaves S3 out, `s3_first` is
        `Unavailable` on a node without a bucket. What the policy for the image refuses is `Denied`, also when it is
        local: of that nothing has been unpacked, unless it was here before.
        """
        ...

    async def resolve(self, reference: str, *, platform: str | None = None) -> str:
        """The manifest digest the registry serves for the reference now. Downloads nothing but the manifest."""
        ...

    async def trust(self, reference: str, *, platform: str | None = None) -> Trust:
        """Which policy is for the image, and whether it may run: the local one, else what the registry has.

        The registry is asked where a signature is wanted and none is kept. Errors: those of the registry.
        """
        ...

    async def find(self, reference: str) -> Image | None:
        """By name, `name@digest`, digest, or a unique prefix of at least 8 hex digits of one. Never the network."""
        ...

    async def list(self) -> Sequence[Image]: ...

    async def tag(self, source: str, target: str) -> Image:
        """The image `source` under another name as well. What had the name before loses it. `target`: no digest."""
        ...

    async def push(self, source: str, target: str = "", *, on_progress: OnProgress | None = None) -> Pushed:
        """The local image to its registry, or to another name. Sends what is not there; the tag moves last.

        Errors: `NotFound` (no such local image), `Denied`, `Unavailable`, `Deadline`, `Failed` (refused, or its
        compressed layers are not here any more).
        """
        ...

    async def export(self, references: Sequence[str], out: int, *, compression: Compression = "") -> None:
        """Write the images to the descriptor `out` as one tar: an OCI layout that docker loads too.

        Errors: `NotFound`, `Failed` (blobs are not here any more), both before the first byte.
        """
        ...

    async def import_archive(
        self, source: int, *, name: str = "", rootfs: bool = False, platform: str | None = None
    ) -> Sequence[Image]:
        """The images of an archive read from the descriptor `source`: an OCI layout, or what docker saves.

        Of an index, the image of `platform` (None: this machine's); `NotFound` tells those that are there.
        It may be packed with gzip or zstd. `rootfs`: a plain tree, which becomes an image of one layer; it needs a
        `name`. Errors: `Invalid` (no archive of images, no name), `Corrupt`, `Exhausted`; nothing is named then.
        """
        ...

    async def login(self, registry: str, username: str, password: str) -> str:
        """Try the login, then keep it for pulls and pushes; the registry as references name it. `Denied`: refused."""
        ...

    async def logout(self, registry: str) -> str: ...

    async def logins(self) -> Mapping[str, str]:
        """User names by registry, of `login` alone."""
        ...

    async def remove(self, reference: str, *, in_use: Sequence[str] = ()) -> Sequence[str]:
        """Forget a name; delete layers and blobs nothing else needs. Returns what was deleted, for people.

        `in_use` are image digests of instances: removing one of those is `Conflict`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mounted:
    """`key` is the container's id; `rootfs` the mount point; `upper` what the container wrote."""

    key: str
    rootfs: Path
    upper: Path


class Snapshots(Protocol):
    async def mount(self, image: Image, key: str, directory: Path) -> Mounted:
        """The image's layers, read-only, under a writable upper kept below `directory`. Mounted already: the same."""
        ...

    async def unmount(self, key: str, directory: Path, *, discard: bool) -> None:
        """Unmount; `discard` deletes the upper too. Idempotent; a busy mount is detached lazily."""
        ...

    async def list(self) -> Sequence[str]:
        """Keys mounted now below this data directory, from the kernel's own table."""
        ...
