"""The demo: a registry, an image, a daemon and a deployment of two replicas, all below one directory.

`demo.py up` can be run again at any time; `demo.py clean` takes everything away. No outside registry is asked: the
image is made from Debian's busybox and pulled from a registry that listens on this machine only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DEMO = ROOT / ".demo"
DATA = DEMO / "data"
ZLAYER = ROOT / ".venv" / "bin" / "zlayer"


def main() -> int:
    if sys.argv[1:] == ["up"]:
        return up()
    if sys.argv[1:] == ["clean"]:
        return clean()
    print("usage: demo.py up|clean", file=sys.stderr)
    return 2


def up() -> int:
    if not root():
        return 1
    DEMO.mkdir(exist_ok=True)
    say("1. a registry on this machine, and an image of Debian's busybox in it")
    address = registry()
    image(address)
    spec = DEMO / "hello.zlayer.yml"
    spec.write_text((HERE / "hello.zlayer.yml").read_text().replace("REGISTRY", address))
    say("2. zlayer up: starts the daemon, pulls the image, runs two replicas")
    if zlayer("up", "-d", str(spec)) != 0:
        return 1
    say("3. what runs")
    zlayer("ps", "-c")
    say("4. each replica answers over HTTP")
    for url in urls():
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - an http address we made
            title = answer.read().decode().partition("<h1>")[2].partition("<")[0]
            print(f"   {url} -> {answer.status} {title}")
    print(TRY_NEXT.format(data=DATA, bin=ZLAYER.parent, image=f"{address}/demo/web:1", spec=spec.relative_to(ROOT)))
    return 0


TRY_NEXT = """
It runs. Try next:

   export ZLAYER_DATA_DIR={data}
   export PATH={bin}:$PATH

   zlayer ps                       deployments at a glance
   zlayer logs -f web              follow both replicas; Ctrl-C ends it
   zlayer exec -it web -- sh       a shell inside a replica
   zlayer scale web 4 --wait       more of it
   zlayer run --rm {image} echo hi

   Edit {spec}, then see and do what that means:
   zlayer up --plan {spec}
   zlayer up -d {spec}

   make demo-clean                 takes everything away again
"""


def clean() -> int:
    if not DEMO.exists():
        say("there is no demo")
        return 0
    if not root():
        return 1
    if ZLAYER.exists() and DATA.exists() and (code := zlayer("daemon", "reset", "--force", "--volumes")) != 0:
        print(f"demo: {DATA} was not taken apart; nothing else was removed", file=sys.stderr)
        return code
    stop_registry()
    shutil.rmtree(DEMO)
    say("the demo is gone")
    return 0


def root() -> bool:
    if os.geteuid() != 0:
        print("demo: containers need root here; run it again with sudo", file=sys.stderr)
    return os.geteuid() == 0


def say(text: str) -> None:
    print(f"\n== {text}" if sys.stdout.isatty() is False else f"\n\x1b[1m{text}\x1b[0m", flush=True)


def zlayer(*arguments: str) -> int:
    environ = {**os.environ, "ZLAYER_DATA_DIR": str(DATA)}
    environ.pop("ZLAYER_HOST", None)
    DATA.mkdir(mode=0o700, exist_ok=True)
    config = DATA / "config.toml"
    if not config.exists():
        config.write_text('[daemon]\nbind = "off"\n')
    return subprocess.run([str(ZLAYER), *arguments], env=environ, check=False).returncode


def urls() -> list[str]:
    environ = {**os.environ, "ZLAYER_DATA_DIR": str(DATA)}
    shown = subprocess.run(
        [str(ZLAYER), "ps", "-c", "--format", "json"], env=environ, check=True, capture_output=True, text=True
    )
    return [f"http://{one['ip']}:80/" for one in json.loads(shown.stdout) if one["state"] == "running"]


def registry() -> str:
    """The address of the demo's registry, started unless it runs."""
    note = DEMO / "registry.json"
    if note.exists():
        known = json.loads(note.read_text())
        if ours(known["pid"]) and answers(known["port"]):
            return f"127.0.0.1:{known['port']}"
    stop_registry()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = DEMO / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {DEMO}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (DEMO / "registry.log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log, start_new_session=True
        )
    note.write_text(json.dumps({"pid": process.pid, "port": port}))
    for _ in range(100):
        if answers(port):
            return f"127.0.0.1:{port}"
        time.sleep(0.1)
    raise SystemExit(f"demo: the registry did not start; see {DEMO}/registry.log")


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ours(pid: int) -> bool:
    """Guards against a reused pid: the command line must be the demo's own registry."""
    try:
        return str(DEMO / "registry.yml").encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def stop_registry() -> None:
    note = DEMO / "registry.json"
    if not note.exists():
        return
    pid = json.loads(note.read_text())["pid"]
    if ours(pid):
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            if not ours(pid):
                break
            time.sleep(0.1)
    note.unlink()


def image(address: str) -> None:
    from zlayer.testing.imagery_push import Target, push
    from zlayer.testing.imagery_samples import web_image

    print(f"   pushed {push(Target(address), 'demo/web', '1', web_image())}")


if __name__ == "__main__":
    sys.exit(main())
