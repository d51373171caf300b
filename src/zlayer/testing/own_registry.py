"""Our own registry as a process of its own, as people run it; and plain HTTP to it.

with OwnRegistry(directory) as registry:
    answer = registry.ask("GET", "/v2/")
"""

from __future__ import annotations

import base64
import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from zlayer.model.errors import Failed

DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """One answer, read whole. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OwnRegistry:
    """`zlayer registry serve` on a free port of loopback. Ends with its context; `root` is left to its owner."""

    def __init__(self, directory: Path, *options: str, cert: Path | None = None) -> None:
        self.root = directory / "own-registry"
        self._directory = directory
        self._options = options
        self._cert = cert
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnRegistry:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return (self.root / "registry.log").read_text()

    def start(self) -> None:
        """On the port it had before, if any. Errors: `Failed`, with what it said."""
        errors = self._directory / "own-registry.err"
        with errors.open("wb") as stderr:
            bind = self.address or "127.0.0.1:0"
            options = self._options or ("--anonymous",)
            argv = [sys.executable, "-m", "zlayer", "--data-dir", str(self._directory), "registry", "serve"]
            self.process = subprocess.Popen(
                [*argv, "--root", str(self.root), "--bind", bind, *options], stdout=subprocess.PIPE, stderr=stderr
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if not line.startswith("zlayer registry serves "):
            self.kill()
            raise Failed(f"no registry: {errors.read_text()}")
        self.address = line.split()[-1]

    def kill(self) -> None:
        """At once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As an operator would; its exit code. Nothing when it does not run."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        assert process.stdout is not None
        try:
            process.send_signal(number)
            return process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def connect(self) -> http.client.HTTPConnection:
        if self._cert is None:
            return http.client.HTTPConnection(self.address, timeout=DEADLINE)
        context = ssl.create_default_context(cafile=str(self._cert))
        return http.client.HTTPSConnection(self.address, timeout=DEADLINE, context=context)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        login: str = "",
    ) -> Told:
        """One request over a connection of its own; `login` is `user:password`."""
        sent = dict(headers or {})
        if login:
            sent["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        connection = self.connect()
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, path, body=body, headers=sent, encode_chunked=chunked)
            response = connection.getresponse()
            return Told(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()


def cli(directory: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`zlayer registry WORDS` over the registry of an `OwnRegistry` in `directory`."""
    argv = [sys.executable, "-m", "zlayer", "--data-dir", str(directory), "registry", *words]
    argv += ["--root", str(directory / "own-registry")]
    return subprocess.run(
        argv, input=stdin, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "NO_COLOR": "1"}
    )
