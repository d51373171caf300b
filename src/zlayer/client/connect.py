"""Find the daemon a command is for, and start it when none runs.

`ZLAYER_HOST` (`unix://PATH`, `http://HOST:PORT`, `https://HOST:PORT`) with `ZLAYER_TOKEN` and `ZLAYER_CA` names a
daemon elsewhere. Without it the daemon is its data directory, and the socket inside is where it answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from zlayer.client import transport
from zlayer.client.transport import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from pathlib import Path
    from typing import BinaryIO

    from zlayer.model.paths import Paths

START_TIMEOUT = 30.0
"""Seconds a daemon may take from start to ready: adoption of what runs included."""


def find(data_dir: str | None = None, environ: Mapping[str, str] = os.environ) -> Address:
    """Where the daemon should answer. Looks at no file. Raises what `parse` does for a bad ZLAYER_HOST."""
    if (host := environ.get("ZLAYER_HOST", "")) and not data_dir:
        return parse(host, token=environ.get("ZLAYER_TOKEN", ""), ca=environ.get("ZLAYER_CA", ""))
    return Address(path=os.path.join(root(data_dir, environ), "zlayer.sock"))  # noqa: PTH118


def root(data_dir: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """`Paths.of(data_dir).root` as text; pathlib and hashlib behind `Paths` would cost `ps` 10 ms."""
    given = data_dir or environ.get("ZLAYER_DATA_DIR")
    if not given:
        given = "/var/lib/zlayer" if os.geteuid() == 0 else "~/.zlayer"
    return os.path.realpath(os.path.expanduser(given))  # noqa: PTH111


def parse(host: str, *, token: str = "", ca: str = "", named: str = "ZLAYER_HOST ") -> Address:
    """Read a ZLAYER_HOST, or what `named` says. The default port is 3669.

    `Invalid` when it is no address, `Denied` when a token would cross a network in the clear.
    """
    scheme, _, rest = host.partition("://")
    if scheme == "unix" and rest:
        return Address(path=rest)
    rest = rest.rstrip("/")
    name, _, port = rest.rpartition(":") if ":" in rest.rpartition("]")[2] else (rest, "", "3669")
    fine = scheme in {"http", "https"} and name and port.isdecimal() and int(port) <= 65535 and "/" not in rest
    if not fine:
        from zlayer.model.errors import Invalid

        raise Invalid(
            f"{named}{host!r} is no address",
            hint="write unix:///path/zlayer.sock, http://127.0.0.1:3669 or https://host:3669",
        )
    name = name.strip("[]")
    if token and scheme == "http" and name not in {"localhost", "::1"} and not name.startswith("127."):
        from zlayer.model.errors import Denied

        raise Denied(
            f"{named}{host!r} would send the token in the clear",
            hint=f"write https://{rest}, or reach the daemon by a tunnel on 127.0.0.1",
        )
    return Address(host=name, port=int(port), tls=scheme == "https", token=token, ca=ca)


def answers(address: Address, timeout: float = 5.0) -> bool:
    """True when a daemon is ready there. A socket that is there but silent for `timeout` seconds is not."""
    from zlayer.model.errors import ZlayerError

    try:
        with transport.request(address, "GET", "/health/ready", timeout=timeout) as response:
            return response.status == 200
    except ZlayerError:
        return False


def listening(address: Address) -> bool:
    """True when something accepts connections on the unix socket: costs no request."""
    try:
        transport.connect_unix(address.path, 5.0).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError as error:
        transport.failed(address, error)
    return True


def ensure_daemon(paths: Paths, timeout: float = START_TIMEOUT) -> bool:
    """A ready daemon on this data directory; True when this call started it.

    Commands that come at once start one: the first holds a lock while the others wait and then find it. Raises
    `Failed` with the daemon's own words when it does not come up, `Deadline` when it takes over `timeout` seconds,
    `Denied` when the data directory is not ours to write.
    """
    from zlayer.model import errors

    address = Address(path=str(paths.socket))
    try:
        paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (paths.root / "start.lock").open("wb")
    except OSError as error:
        kind = errors.Denied if isinstance(error, PermissionError) else errors.Failed
        raise kind(
            f"cannot use the data directory {paths.root}: {error.strerror}",
            hint="choose another with --data-dir or ZLAYER_DATA_DIR, or run as its owner",
        ) from error
    with lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        if answers(address):
            return False
        _start(paths, address, timeout)
    return True


def _start(paths: Paths, address: Address, timeout: float) -> None:
    import subprocess
    import tempfile

    argv = [sys.executable, "-m", "zlayer", "serve", "--daemon", "--data-dir", str(paths.root)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, cwd="/"
        )
        _await_ready(process, said, paths, address, timeout)


def _await_ready(
    process: subprocess.Popen[bytes], said: BinaryIO, paths: Paths, address: Address, timeout: float
) -> None:
    """`serve --daemon` ends with 0 once its child is ready, or else with its error on stderr."""
    import subprocess
    import time

    from zlayer.model import errors

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            code = process.wait(0.05)
        except subprocess.TimeoutExpired:
            code = 0
        if code:
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip().removeprefix("error: ")
            told = words or f"exit code {code}"
            enough = "last lines" in told or "hint: " in told  # then the log would only say it again
            by_root = os.geteuid() == 0
            mend = f"try `zlayer serve --data-dir {paths.root}` to watch it, and `zlayer doctor`"
            raise errors.Failed(
                ("the daemon did not start: " if by_root else "the daemon did not start, and it is not root: ")
                + told
                + ("" if enough else tail(paths.log)),
                hint=mend if by_root else "containers need root here: sudo zlayer …; `zlayer doctor` tells the rest",
            )
        if answers(address):
            return
        if process.returncode is not None:
            time.sleep(0.05)
    raise errors.Deadline(
        f"the daemon was not ready after {timeout:g} seconds{tail(paths.log)}",
        hint="look at `zlayer daemon logs` and `zlayer doctor`",
    )


def tail(log: Path, count: int = 10) -> str:
    """The last lines of the daemon's log, set off for an error text; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            lines = file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return ""
    return "".join(f"\n  | {line}" for line in ["last lines of its log:", *lines]) if lines else ""
