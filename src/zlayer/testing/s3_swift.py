"""A real server that speaks S3, on loopback: OpenStack Swift of Debian's python3-swift, in a process of its own.

    with Swift(directory) as swift, swift.front() as front:
        settings = swift.settings(front.address)

It is asked through a `Front`, which counts and misbehaves as told; signatures are over the front's own address.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType

from zlayer.image.s3.bucket import Bucket, Content
from zlayer.image.s3.settings import S3Settings
from zlayer.model.errors import Failed
from zlayer.testing.front import Front

PYTHON = "/usr/bin/python3"
"""The distribution's, which has the distribution's packages."""
ACCESS, SECRET = "test:tester", "of-one-test"
REGION = "eu-test-1"
NAME = "blobs"


def missing() -> str:
    """Why no server can be started here, or empty: the reason of a skip."""
    try:
        found = subprocess.run(
            [PYTHON, "-I", "-c", "import swift, eventlet, paste.deploy"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return f"there is no {PYTHON}"
    return "" if found.returncode == 0 else "Swift is not installed (apt-get install python3-swift)"


class Swift:
    """One running server with a bucket. Ends with its context; the directory is its owner's. Errors: `Failed`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys = directory / "keys"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Swift:
        self._directory.mkdir(parents=True, exist_ok=True)
        write_keys(self._keys, ACCESS, SECRET)
        log = self._directory / "log"
        with log.open("wb") as errors:
            server = Path(__file__).with_name("s3_swift_server.py")
            argv = [PYTHON, "-I", str(server), str(self._directory), ACCESS, REGION]
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{SECRET}\n".encode())
        self._process.stdin.flush()
        port = self._process.stdout.readline().strip().decode()
        if not port:
            self._end()
            raise Failed("Swift ended at its start", hint=log.read_text()[-2000:])
        self.address = f"127.0.0.1:{port}"
        self.client("").put("", Content(0, hashlib.sha256(b"").hexdigest(), BytesIO))  # the bucket itself
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def front(self) -> Front:
        return Front(self.address)

    def settings(self, address: str = "") -> S3Settings:
        """By way of `address`, a front's."""
        return S3Settings(
            NAME, region=REGION, endpoint=f"http://{address or self.address}", credentials_file=str(self._keys)
        )

    def client(self, address: str = "") -> Bucket:
        return Bucket(self.settings(address), {}, tries=1)

    def read(self, digest: str) -> bytes | None:
        """What the bucket has under a digest's key."""
        client = self.client()
        answer = client.get(client.settings.key(digest))
        return answer.body(1 << 31) if answer is not None else None

    def write(self, digest: str, body: bytes) -> None:
        """Put anything under a digest's key."""
        client = self.client()
        client.put(client.settings.key(digest), content(body))

    def impatient(self, address: str) -> S3Settings:
        """For tests of what does not answer."""
        return replace(self.settings(address), connect_timeout=1.0, stall_timeout=1.0)


def write_keys(file: Path, access: str, secret: str) -> None:
    """A file of keys as AWS's tools write it."""
    file.touch(mode=0o600)
    file.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")


def content(body: bytes) -> Content:
    return Content(len(body), hashlib.sha256(body).hexdigest(), lambda: BytesIO(body))
