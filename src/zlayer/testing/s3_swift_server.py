"""OpenStack Swift as one process that speaks S3: run by the system's Python, which has Debian's python3-swift.

`python3 -I s3_swift_server.py DIRECTORY ACCESS_KEY REGION` takes the secret key as the first line of its stdin,
serves on loopback, prints its port on a line and ends with its stdin. Its S3 side checks signatures of version 4 and
the hashes of bodies, as S3 does. It imports nothing of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402  # after the patch, as eventlet wants it
from paste.deploy import loadapp  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402

App = Callable[[dict[str, object], object], object]
"""Of WSGI."""
RINGS = ("account", "container", "object")
DEVICE = "disk"
BACKEND = """
[DEFAULT]
devices = {devices}
mount_check = false
fallocate_reserve = 0
[app:main]
use = egg:swift#{name}
fsync_interval = 0
"""
PROXY = """
[DEFAULT]
swift_dir = {root}
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:slo]
use = egg:swift#slo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


class Cache:
    """What Swift asks of its memcache, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, object] = {}

    def get(self, key: str, **_: object) -> object:
        return self._kept.get(key)

    def set(self, key: str, value: object, **_: object) -> None:
        self._kept[key] = value

    def delete(self, key: str, **_: object) -> None:
        self._kept.pop(key, None)

    def __call__(self, app: App) -> App:
        def with_cache(environ: dict[str, object], start: object) -> object:
            return app({**environ, "swift.cache": self}, start)

        return with_cache


class Quiet:
    """Nobody reads an access log of a test."""

    def write(self, _text: str) -> None: ...


def listen() -> tuple[object, int]:
    taken = eventlet.listen(("127.0.0.1", 0))
    return taken, taken.getsockname()[1]


def serve(sock: object, root: Path, name: str, text: str) -> None:
    file = root / f"{name}.conf"
    file.write_text(text)
    file.chmod(0o600)
    app = loadapp(f"config:{file}", global_conf={"log_level": "ERROR"})
    eventlet.spawn(wsgi.server, sock, Cache()(app), Quiet(), log_output=False, minimum_chunk_size=65536)


def ring(root: Path, name: str, port: int) -> None:
    builder = RingBuilder(2, 1, 1)
    builder.add_dev({
        "id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": port, "device": DEVICE,
    })  # fmt: skip
    builder.rebalance()
    builder.get_ring().save(str(root / f"{name}.ring.gz"))


def main(directory: str, access: str, region: str, secret: str) -> None:
    root = Path(directory)
    (root / "devices" / DEVICE).mkdir(parents=True, exist_ok=True)
    utils.HASH_PATH_SUFFIX = b"zlayer"
    for name in RINGS:
        sock, port = listen()
        ring(root, name, port)
        serve(sock, root, name, BACKEND.format(devices=root / "devices", name=name))
    account, _, user = access.partition(":")
    sock, port = listen()
    serve(sock, root, "proxy-server", PROXY.format(root=root, region=region, account=account, user=user, secret=secret))
    os.write(1, b"%d\n" % port)
    eventlet.hubs.trampoline(0, read=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.stdin.readline().strip())
