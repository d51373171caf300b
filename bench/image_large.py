"""The pull of a layer of 10 GB from a server that makes it while it sends: the memory it takes. Needs no peers.

    python bench/image_large.py [--size 10]

The layer is a plain tar archive with one file, so that its blob is as large as what it unpacks to; twice its size is
needed on the disk of /tmp. Memory is told as in image_update.py.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from image_peers import orderly
from image_update import MOST, Peak, high
from zlayer.client.client import Client
from zlayer.client.transport import Address
from zlayer.testing.imagery import Blob, Layer, OciImage, image
from zlayer.testing.site import Site

BLOCK = random.Random(10).randbytes(1 << 20)
TYPE = "application/vnd.oci.image.layer.v1.tar"


def archive(blocks: int) -> Iterator[bytes]:
    """A tar archive with one file of so many MiB."""
    entry = tarfile.TarInfo("large")
    entry.size = blocks << 20
    yield entry.tobuf(tarfile.GNU_FORMAT)
    yield from itertools.repeat(BLOCK, blocks)
    yield bytes(2 * tarfile.BLOCKSIZE)


def made(blocks: int) -> OciImage:
    digest, size = hashlib.sha256(), 0
    for piece in archive(blocks):
        digest.update(piece)
        size += len(piece)
    name = f"sha256:{digest.hexdigest()}"
    return image([Layer(Blob(b"", name, size, TYPE), name)], {"Cmd": ["true"]})


def server(what: OciImage, blocks: int) -> ThreadingHTTPServer:
    (large,) = what.layers

    class Exchange(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            last = self.path.rpartition("/")[2]
            if last == large.blob.digest:
                self._head(TYPE, large.blob.size)
                for piece in archive(blocks):
                    self.wfile.write(piece)
            elif found := {
                "1": what.manifest,
                what.manifest.digest: what.manifest,
                what.config.digest: what.config,
            }.get(last):
                self._head(found.media_type, found.size)
                self.wfile.write(found.read())
            else:
                self._head("text/plain", 0)

        def _head(self, kind: str, size: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(size))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's own name
            """Nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Exchange)


def main(gigabytes: int) -> None:
    blocks = gigabytes * 10**9 >> 20
    free = shutil.disk_usage("/tmp").free
    assert free > 2.1 * (blocks << 20), f"/tmp has {free / 1e9:.1f} GB free, twice {gigabytes} are needed"
    what = made(blocks)
    with server(what, blocks) as registry, Site() as site:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        site.start()
        assert site.daemon is not None
        pid = site.daemon.pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        client = Client(Address(path=str(site.paths.socket)), timeout=600)
        began = time.perf_counter()
        with Peak(pid) as peak:
            for _ in client.pull(f"127.0.0.1:{registry.server_port}/bench/large:1"):
                pass
        print(f"{what.layers[0].blob.size:,} bytes pulled and unpacked in {time.perf_counter() - began:.1f} s")
        for who, figure in (("worker", peak.most), ("daemon", high(pid))):
            print(f"peak memory of the {who}: {figure:.1f} MB (wanted <= {MOST:.0f})")
        registry.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10, help="GB (10^9)")
    orderly()
    main(parser.parse_args().size)
