"""What other tools make of a busybox, and what they make of an image of ours: buildah, umoci, podman and docker.

Each has its storage below the directory it is given, and no network; what they leave of cgroups goes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from zlayer.model.errors import Deadline, Failed, Unsupported
from zlayer.runtime.oci.cgroups.hierarchy import mounted

SAYS = "made elsewhere"
COMMAND = ("/bin/busybox", "cat", "/said")
_WITHIN = 60.0


def tree(root: Path) -> Path:
    """A root file system of busybox and the file `said`."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Unsupported("no busybox on this machine", hint="apt-get install busybox-static")
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    (root / "said").write_text(f"{SAYS}\n")
    return root


def by_buildah(room: Path, target: str) -> None:
    """An image made step by step, and pushed to `target`."""
    with tempfile.TemporaryDirectory(prefix="zl", dir="/tmp") as run:
        argv = ["buildah", "--root", str(room / "buildah"), "--runroot", run, "--storage-driver", "vfs"]
        made = call([*argv, "from", "scratch"]).strip()
        call([*argv, "copy", made, str(tree(room / "tree")), "/"])
        call([*argv, "config", "--cmd", json.dumps(COMMAND), "--env", "MADE=buildah", made])
        policy = room / "policy.json"
        policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        sent = ["--signature-policy", str(policy), "--tls-verify=false"]
        call([*argv, "commit", "-q", *sent, made, f"docker://{target}"])
        call([*argv, "rm", made])


def by_umoci(room: Path) -> Path:
    """An OCI layout in a tar, its one image `made:1` of a repacked bundle."""
    layout, bundle = room / "layout", room / "bundle"
    call(["umoci", "init", "--layout", str(layout)])
    image = ["--image", f"{layout}:made:1"]
    call(["umoci", "new", *image])
    call(["umoci", "unpack", *image, str(bundle)])
    shutil.copytree(tree(room / "tree"), bundle / "rootfs", symlinks=True, dirs_exist_ok=True)
    call(["umoci", "repack", *image, str(bundle)])
    call(["umoci", "config", *image, *(f"--config.cmd={word}" for word in COMMAND)])
    archive = room / "umoci.tar"
    call(["tar", "-cf", str(archive), "-C", str(layout), "."])
    return archive


class Podman:
    """`run` gives what an image's own command prints; pulled from a registry on loopback."""

    def __init__(self, room: Path, name: str) -> None:
        self._group = f"/{name}"
        self._argv = [
            "podman", "--root", str(room / "podman"), "--runroot", str(room / "podman-run"), "--storage-driver", "vfs",
            "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--tmpdir",
            str(room / "podman-tmp"),
        ]  # fmt: skip

    def run(self, image: str) -> str:
        call([*self._argv, "pull", "-q", "--tls-verify=false", image])
        try:
            limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=10000:10000"]  # more may not be ours to give
            argv = ["run", "--rm", "--network=none", f"--cgroup-parent={self._group}", *limits, image]
            return call([*self._argv, *argv])
        finally:
            mounted().remove(self._group)


class Docker:
    """A dockerd of its own, without a network; see `docker`."""

    def __init__(self, socket: Path) -> None:
        self._environ = {**os.environ, "DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(socket.parent)}

    def call(self, *argv: str) -> str:
        return call(["docker", *argv], self._environ)

    def run(self, image: str) -> str:
        self.call("pull", "-q", image)
        return self.call("run", "--rm", "--network=none", image)

    def build(self, room: Path, archive: Path) -> str:
        """An image from a Dockerfile, saved into a tar. Its name."""
        tree(room / "context" / "tree")
        steps = ("FROM scratch", "COPY tree/ /", "ENV MADE=docker", f"CMD {json.dumps(COMMAND)}")
        (room / "context" / "Dockerfile").write_text("\n".join(steps) + "\n")
        call(["docker", "build", "-q", "-t", "made:docker", str(room / "context")],
             {**self._environ, "DOCKER_BUILDKIT": "0"})  # fmt: skip
        self.call("save", "-o", str(archive), "made:docker")
        return "docker.io/library/made:docker"


@contextmanager
def docker(room: Path, name: str) -> Iterator[Docker]:
    """`Unsupported`, with its last words, where dockerd does not start: it needs more of a machine than we do."""
    if not (shutil.which("dockerd") and shutil.which("docker")):
        raise Unsupported("dockerd and docker are not installed", hint="apt-get install docker.io")
    socket, log = room / "docker.sock", room / "dockerd.log"
    argv = [
        "dockerd", "--data-root", str(room / "docker"), "--exec-root", str(room / "docker-exec"), "-H", f"unix://{socket}",
        "-p", str(room / "docker.pid"), "--storage-driver", "vfs", "--bridge", "none", "--iptables=false",
        "--ip-forward=false", "--ip-masq=false", "--cgroup-parent", f"/{name}", "--log-level", "error",
    ]  # fmt: skip
    with log.open("wb") as out:
        daemon = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        found = Docker(socket)
        _until_answers(found, daemon, log)
        yield found
    finally:
        daemon.terminate()
        daemon.wait(_WITHIN)
        mounted().remove(f"/{name}")


def _until_answers(found: Docker, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _WITHIN
    while True:
        try:
            found.call("version")
        except Failed as fault:
            if daemon.poll() is not None:
                raise Unsupported(
                    f"dockerd does not start here: {log.read_text()[-300:]}", hint="see its log"
                ) from None
            if time.monotonic() > deadline:
                raise Deadline("dockerd does not answer", hint=log.read_text()[-300:]) from fault
            time.sleep(0.1)
        else:
            return


def call(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """What a command prints. Errors: `Failed` with its last words, `Unsupported` when it is not installed."""
    try:
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=300)
    except FileNotFoundError:
        raise Unsupported(f"{argv[0]} is not installed", hint=f"apt-get install {argv[0]}") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {done.stderr[-1000:]}", hint="see the command's own help")
    return done.stdout
