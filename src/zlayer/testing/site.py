"""A daemon of its own for a test: its data directory, its command line, and a census of what it may leave behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from zlayer.model.paths import Paths
from zlayer.testing.leaks import Census, left_over, snapshot_machine
from zlayer.testing.ledger import ENGINES, held, imbalance, owed

CONFIG = '[daemon]\nbind = "off"\n'


class Site:
    """One data directory with its daemon. `cli` runs the real command; leaving stops, removes and counts."""

    def __init__(self, config: str = CONFIG) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="zl", dir="/tmp"))
        self.data = self.root / "d"
        self.data.mkdir(mode=0o700)
        (self.data / "config.toml").write_text(config)
        self.paths = Paths.of(self.data)
        self.daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            done = self.cli("daemon", "reset", "--force", check=False, timeout=90)
            if done.returncode != 0:
                print(
                    f"{self.root} was not reset, and may leave something: {done.stdout}{done.stderr}", file=sys.stderr
                )
        finally:
            self.reap()
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def environ(self) -> dict[str, str]:
        """The caller's, but what changes how output looks; compiled modules kept aside: a suite starts many of us."""
        unwanted = {"PYTHONDONTWRITEBYTECODE", "CI"}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ZLAYER_") and k not in unwanted}
        compiled = str(Path.home() / ".cache" / "zlayer-tests")
        return {**clean, "ZLAYER_DATA_DIR": str(self.data), "NO_COLOR": "1", "PYTHONPYCACHEPREFIX": compiled}

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "zlayer", *arguments]

    def cli(
        self, *arguments: str, check: bool = True, timeout: float = 120, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*arguments),
            env=self.environ,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"zlayer {' '.join(arguments)} exited {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}"
            )
        return done

    def start(self, within: float = 60) -> None:
        """Our own child, so that it can be killed and reaped by the test."""
        log = (self.root / "serve.log").open("ab")
        self.daemon = subprocess.Popen(
            self.argv("serve"), env=self.environ, cwd=self.root, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()
        self.until(
            lambda: self.cli("status", "--format", "json", check=False).returncode == 0, "the daemon answers", within
        )
        self.until(lambda: any(name.startswith(f"zl{self.paths.id}-") for _, name in socket.if_nameindex()), "a bridge")

    def kill(self) -> None:
        """kill -9, and nothing else."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.reap()

    def reap(self) -> None:
        if self.daemon is not None:
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait(10)
            self.daemon = None

    def log(self) -> str:
        paths = (self.root / "serve.log", self.paths.log)
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in paths if path.exists())

    def until(self, true: Callable[[], bool], what: str, within: float = 60) -> None:
        deadline = time.monotonic() + within
        while not true():
            assert time.monotonic() < deadline, f"not within {within} s: {what}\n{self.log()}"
            time.sleep(0.05)

    def instances(self) -> list[dict[str, Any]]:
        shown = self.cli("ps", "-c", "--format", "json")
        return list(json.loads(shown.stdout))

    def running(self, service: str | None = None) -> list[dict[str, Any]]:
        return [i for i in self.instances() if i["state"] == "running" and service in (None, i["service"])]

    def write(self, document: dict[str, Any], name: str = "app.zlayer.yml") -> str:
        path = self.root / name
        path.write_text(json.dumps(document, indent=1))
        return str(path)

    def census(self) -> Census:
        """Without the daemon and its engines, which stay when a deployment goes."""
        found = snapshot_machine(self.paths.root)
        own = (*ENGINES, "zlayer serve")
        rest = tuple(one for one in found.processes if not any(name in one for name in own))
        return replace(found, processes=rest)

    def assert_clean(self, before: Census) -> None:
        """Nothing is there that was not at `before`; what still ends is given a moment."""
        deadline = time.monotonic() + 20
        while left := left_over(before, self.census()):
            assert time.monotonic() < deadline, f"left behind:\n{left}\n{self.log()}"
            time.sleep(0.1)

    def assert_balanced(self) -> None:
        """The running daemon holds of the machine what its listed instances are owed, and nothing else."""
        assert self.daemon is not None
        deadline = time.monotonic() + 30
        while wrong := imbalance(owed(self.paths, self.instances()), held(self.paths, [self.daemon.pid])):
            assert time.monotonic() < deadline, f"leaked (+) or missing (-):\n{wrong}\n{self.log()}"
            time.sleep(0.1)


def deployment(name: str = "shop", **services: dict[str, Any]) -> dict[str, Any]:
    return {"version": "v1", "deployment": name, "services": services}


def service(image: str, replicas: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "image": {"name": image},
        "scale": {"mode": "fixed", "replicas": replicas},
        "stop_grace_period": "1s",
        **more,
    }
