"""`python -m zlayer.image.worker`: one job with images in a process of its own, so hashing and unpacking stall nobody.

Protocol, JSON lines: one order on stdin, which then stays open; on stdout any number of
`{"progress": [digest, phase, done, total]}`, then one `{"result": {...}}` or `{"error": problem document}`.
End of stdin means the daemon is gone or has changed its mind: the worker ends at once, wherever it stands.
Credentials travel by stdin or are read from the files other tools keep; never by argv.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from zlayer.model.errors import ZlayerError

if TYPE_CHECKING:
    from zlayer.image.pull_layer import Report
    from zlayer.image.unpack import Unpack

Json = dict[str, Any]  # Any: a JSON document
Send = Callable[[Json], None]
BACKGROUND = 10


def work(order: Json, send: Send, unpack: Unpack | None = None) -> None:
    """Do the order and send its outcome; `unpack` is what `unpackers` gave."""

    def report(digest: str, phase: str, done: int, total: int) -> None:
        send({"progress": [digest, phase, done, total]})

    try:
        send({"result": _outcome(order, report, unpack)})
    except ZlayerError as error:
        send({"error": error.document()})


def unpackers(order: Json) -> Unpack | None:
    """Those of a job that unpacks layers, made before this process has a second thread; None where threads must do."""
    if order["job"] not in ("pull", "import") or order.get("resolve_only"):
        return None
    from zlayer.image.unpackers import Unpackers, can_start

    return Unpackers() if can_start() else None


def _outcome(order: Json, report: Report, unpack: Unpack | None) -> Json:
    """Each job loads what it needs and no other."""
    match order["job"]:
        case "pull":
            from zlayer.image.pull import pull
            from zlayer.image.pull_order import read_order
            from zlayer.image.unpack import unpack_here

            return asdict(pull(read_order(order), os.environ, report, unpack=unpack or unpack_here))
        case "push":
            from zlayer.image.push import push
            from zlayer.image.push_order import PushOrder

            return asdict(push(PushOrder.read(order), os.environ, report))
        case "export":
            from zlayer.image.archive_order import ExportOrder
            from zlayer.image.archive_write import export

            return export(ExportOrder.read(order))
        case "import":
            from zlayer.image.archive_order import ImportOrder
            from zlayer.image.importing import take_in
            from zlayer.image.unpack import unpack_here

            return take_in(ImportOrder.read(order), os.environ, report, unpack or unpack_here)
        case "verify":
            from zlayer.image.verify import verify
            from zlayer.image.verify_order import VerifyOrder

            return verify(VerifyOrder.read(order), report).document()
        case "referrers" | "attach" | "sbom":
            from zlayer.image.artifact_order import ArtifactOrder
            from zlayer.image.artifacts import attend

            return attend(ArtifactOrder.read(order), os.environ)
        case "trust":
            from zlayer.image.trust_order import TrustOrder
            from zlayer.image.trust_search import search

            return search(TrustOrder.read(order), os.environ)
        case "s3":
            from zlayer.image.s3.keep import keep
            from zlayer.image.s3.order import KeepOrder

            with suppress(OSError):
                os.nice(BACKGROUND)  # pulls and containers come first
            return asdict(keep(KeepOrder.read(order), os.environ, report))
        case "login":
            from zlayer.image.login import check
            from zlayer.image.login_order import LoginOrder

            check(LoginOrder.read(order), os.environ)
            return {}
        case job:
            raise ValueError(f"no job {job!r}")


def sender(out: BinaryIO) -> Send:
    """One line per document, whole even when several threads send."""
    lock = threading.Lock()

    def send(document: Json) -> None:
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        with lock:
            out.write(line)
            out.flush()

    return send


def end_with(stdin: int) -> None:
    """End this process when `stdin` ends. Threads at work are not waited for: what they leave is safe or swept."""
    while os.read(stdin, 4096):
        pass
    os._exit(1)


def main() -> None:
    # Stray prints of a library must not break the protocol: they go where warnings go.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    code = 1
    try:
        if line := sys.stdin.buffer.readline():
            order = json.loads(line)
            unpack = unpackers(order)
            threading.Thread(target=end_with, args=(0,), daemon=True).start()
            work(order, sender(out), unpack)
            code = 0
    finally:
        # Not the interpreter's exit, which would wait for threads that may hang on a registry.
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
