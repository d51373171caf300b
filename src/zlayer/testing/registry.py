"""A real registry on loopback: Debian's docker-registry, plain, with TLS and passwords, or with tokens.

    with Registry(directory) as registry:
        reference = push(registry.target, "team/app", "1", busybox_image())

Several registries may share one `storage`: push through the plain one, pull through the others.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

from zlayer.model.errors import Deadline, Failed, Unsupported
from zlayer.testing.imagery_push import Target
from zlayer.testing.registry_tokens import TokenServer, certificate

Mode = Literal["plain", "tls_htpasswd", "token"]
PROGRAM = "docker-registry"
USERNAME, PASSWORD = "zlayer", "correct-horse"  # of a registry that lives for one test
_HTPASSWD = "zlayer:$2y$05$mv8nnGqososO3ETljXgPduIlLJc5NaBBQa3O9BGqi4tEPOgdlvLJC\n"
_START_DEADLINE = 30.0
_LISTENING = re.compile(r"listening on ([^\s,\"]+)")


def missing() -> str:
    """Why no registry can be started here, or empty: the reason of a skip."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (apt-get install docker-registry)"


class Registry:
    """One running registry. `address` is `127.0.0.1:port`; `ca` the PEM file to trust, when it speaks TLS.

    Ends with its context; the storage is left to the owner of the directory. Errors: `Unsupported` when the program
    is not installed, `Failed` or `Deadline` when it does not start.
    """

    def __init__(self, directory: Path, *, mode: Mode = "plain", storage: Path | None = None) -> None:
        self._directory = directory / f"registry-{mode}"
        self.storage = storage or directory / "registry-storage"
        self.mode: Mode = mode
        self.address = ""
        self.ca: Path | None = None
        self.log: list[str] = []
        self._stack = ExitStack()
        self._listening = threading.Event()

    @property
    def target(self) -> Target:
        """Where and as whom to push."""
        if self.mode == "plain":
            return Target(self.address)
        return Target(self.address, self.ca, USERNAME, PASSWORD)

    def __enter__(self) -> Registry:
        with ExitStack() as starting:
            config = self._configure(starting)
            self._start(starting, config)
            self._stack = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _configure(self, stack: ExitStack) -> Path:
        """The configuration file; JSON is YAML."""
        self._directory.mkdir(parents=True, exist_ok=True)
        http: dict[str, object] = {"addr": "127.0.0.1:0"}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": http,
        }
        if self.mode == "tls_htpasswd":
            pem, key = certificate(self._directory)
            passwords = self._directory / "htpasswd"
            passwords.write_text(_HTPASSWD)
            http["tls"] = {"certificate": str(pem), "key": str(key)}
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(passwords)}}
            self.ca = pem
        elif self.mode == "token":
            server = stack.enter_context(TokenServer(self._directory, USERNAME, PASSWORD))
            config["auth"] = {"token": server.registry_settings()}
        file = self._directory / "config.yml"
        file.write_text(json.dumps(config))
        return file

    def _start(self, stack: ExitStack, config: Path) -> None:
        if reason := missing():
            raise Unsupported(reason, hint="install it, or skip what needs a registry")
        process = subprocess.Popen(
            [PROGRAM, "serve", config], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        reader = threading.Thread(target=self._read_log, args=(process,), daemon=True)
        stack.callback(reader.join)
        stack.callback(process.wait)
        stack.callback(process.kill)
        reader.start()
        if not self._listening.wait(_START_DEADLINE):
            raise Deadline(f"{PROGRAM} did not listen within {_START_DEADLINE:g} s", hint="".join(self.log[-5:]))
        if not self.address:
            raise Failed(f"{PROGRAM} ended at its start", hint="".join(self.log[-5:]))

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line)
                if not self.address and (found := _LISTENING.search(line)):
                    self.address = found[1]
                    self._listening.set()
        self._listening.set()
