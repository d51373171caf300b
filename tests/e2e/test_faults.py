"""What goes wrong around a running daemon: registries, images, specs, processes and files under its hands."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zlayer.testing.hostile_tars import hostile_tars
from zlayer.testing.imagery import image, layer
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.registry_faulty import Fault, FaultyRegistry
from zlayer.testing.site import CONFIG, Site, deployment, service

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("registries")]

QUICK = f"{CONFIG}[pull]\nattempts = 2\nstall_timeout = 1.0\nbackoff = 0.05\n"
OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
STAY = {"entrypoint": ["sh", "-c"], "args": ["echo born; trap 'exit 0' TERM; while :; do sleep 9 & wait $!; done"]}


@pytest.fixture(scope="module")
def calm() -> Iterator[Site]:
    """A daemon for the whole file; each test brings it back to nothing (`quiet`)."""
    with Site(QUICK) as site:
        site.start()
        yield site


@pytest.fixture
def quiet(calm: Site) -> Iterator[Site]:
    if calm.daemon is None or calm.daemon.poll() is not None:
        calm.start()  # a test before this one has cost it its life, and has said so
    yield calm
    for name in calm.cli("ps", "-q").stdout.split():
        calm.cli("down", name)
    for left in calm.instances():
        calm.cli("rm", left["id"])
    assert calm.daemon is not None
    assert calm.daemon.poll() is None, f"the daemon ended\n{calm.log()}"
    calm.assert_balanced()


@pytest.fixture
def crooked() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as registry:
        yield registry


def one(site: Site, service_name: str = "web") -> dict[str, Any]:
    """The running replica of a service, once there is one."""
    site.until(lambda: bool(site.running(service_name)), f"{service_name} runs")
    return site.running(service_name)[0]


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int | None = None) -> None:
    """It failed, said all of these, and what to do."""
    assert done.returncode == code if code is not None else done.returncode not in (0, 2), done
    for word in words:
        assert word in done.stderr, done.stderr
    assert "hint:" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def halves(site: Site) -> list[str]:
    """Files of pulls that are neither whole nor kept for going on."""
    found = [*(site.paths.blobs / "tmp").glob("*"), *site.paths.layers.glob(".*")]
    return [str(path.relative_to(site.data)) for path in found]


REGISTRY_FAULTS = {
    "401": (Fault("", status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), "wants a login (401)"),
    "404": (Fault("/manifests/", status=404), "not"),
    "429": (Fault("/manifests/", status=429, headers={"Retry-After": "0"}), "rate of requests"),
    "500": (Fault("/manifests/", status=500), "500"),
    "blob 500": (Fault("/blobs/", status=500), "500"),
    "stall": (Fault("/blobs/", stall=100), "stalled"),
    "truncated": (Fault("/blobs/", truncate=100), "before it was whole"),
    "corrupted": (Fault("/blobs/", corrupt=50), "digest"),
}


@pytest.mark.parametrize("name", REGISTRY_FAULTS)
def test_a_registry_in_trouble_is_told_and_leaves_nothing(quiet: Site, crooked: FaultyRegistry, name: str) -> None:
    fault, words = REGISTRY_FAULTS[name]
    reference = crooked.hold(name.replace(" ", "-"), "1", busybox_image({"Labels": {"fault": name}}))
    crooked.faults[:] = [fault]
    refused(quiet.cli("pull", reference, check=False), words)
    assert quiet.cli("image", "ls", "--format", "json").stdout.count(reference) == 0
    assert halves(quiet) == []
    file = quiet.write(deployment("shop", web=service(reference, command=STAY)))
    patience = "8" if name == "stall" else "2.5"  # two tries of a second each, and a worker's start on a busy machine
    refused(quiet.cli("up", "-d", "--timeout", patience, file, check=False), words)
    assert halves(quiet) == []
    crooked.faults.clear()
    crooked.release()
    quiet.cli("down", "shop")  # or a try that is under way still meets the fault, and counts
    quiet.cli("up", "-d", file)


HOSTILE = ("dot-dot first", "through an absolute symlink", "through a device", "hard link to an absolute path")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_layer_is_refused_and_leaves_no_trace(quiet: Site, crooked: FaultyRegistry, name: str) -> None:
    outside = quiet.root / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "sentinel").write_text("untouched")
    [hostile] = [case for case in hostile_tars(os.fsencode(outside)) if case.name == name]
    made = image([*busybox_image().layers, layer(hostile.archive)], {"Cmd": ["sh"]})
    reference = crooked.hold(f"hostile/{name.replace(' ', '-')}", "1", made)
    refused(quiet.cli("pull", reference, check=False), hostile.says)
    refused(quiet.cli("run", "--rm", reference, "true", check=False), hostile.says, code=125)
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"sentinel": "untouched"}
    assert not list(quiet.root.rglob("evil"))
    assert halves(quiet) == []
    assert quiet.cli("image", "ls", "--format", "json").stdout.count(reference) == 0


BROKEN = {
    "a wrong key": ("version: v1\ndeployment: d\nservices:\n  web:\n    imaeg: {name: x}\n", ":5:5:", "image"),
    "a wrong value": (
        "version: v1\ndeployment: d\nservices:\n  web:\n    image: {name: x}\n    rtype: servise\n",
        ":6:12:",
        "service",
    ),
    "no YAML": ("version: v1\ndeployment: [d\n", ":3:1:", ""),
    "a cycle": (
        "version: v1\ndeployment: d\nservices:\n  a: &a {image: {name: x}, depends: [{service: b}]}\n  b: *a\n",
        ":4:",
        "b",
    ),
    "two faults": ("version: v2\ndeployment: UP\nservices: {}\n", ":1:10:", ":2:13:"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_spec_is_refused_with_its_place(quiet: Site, name: str) -> None:
    text, *words = BROKEN[name]
    file = quiet.root / "broken.zlayer.yml"
    file.write_text(text)
    for verb in (("validate",), ("up", "-d"), ("deploy",)):
        done = quiet.cli(*verb, str(file), check=False)
        refused(done, f"broken.zlayer.yml{words[0]}", words[1], code=2)
    assert quiet.cli("ps", "-q").stdout == ""


def test_a_killed_monitor_is_told_and_its_container_replaced_when_it_ends(quiet: Site, busybox: str) -> None:
    quiet.cli("up", "-d", quiet.write(deployment("shop", web=service(busybox, command=STAY))))
    web = one(quiet)
    [monitor] = [line for line in quiet.census().processes if f"-c {web['id']} " in line]
    os.kill(int(monitor.partition(" ")[0]), signal.SIGKILL)
    quiet.until(lambda: "monitor" in one(quiet)["reason"], "it is told")
    assert (one(quiet)["id"], one(quiet)["pid"]) == (web["id"], web["pid"]), "it runs on"
    os.kill(web["pid"], signal.SIGKILL)
    quiet.until(lambda: [i["id"] for i in quiet.running("web")] not in ([], [web["id"]]), "it is replaced")
    old = next(i for i in quiet.instances() if i["id"] == web["id"])
    assert (old["state"], old["exit_code"]) == ("exited", None)
    assert "monitor" in old["reason"]


def test_a_killed_process_comes_back_with_its_history(quiet: Site, busybox: str) -> None:
    quiet.cli("up", "-d", quiet.write(deployment("shop", web=service(busybox, command=STAY))))
    for restarts in (1, 2):
        web = one(quiet)
        os.kill(web["pid"], signal.SIGKILL)
        quiet.until(lambda web=web: one(quiet)["id"] != web["id"], "another one runs")  # type: ignore[misc]
        assert one(quiet)["restarts"] == restarts
    ended = [i for i in quiet.instances() if i["state"] == "exited"]
    assert [(i["exit_code"], i["service"]) for i in ended] == [(137, "web")] * 2
    assert quiet.cli("logs", "web").stdout.count("born") == 3


def test_engine_state_wiped_under_a_container(quiet: Site, busybox: str) -> None:
    """As a reboot's tmpfiles cleaner would: it runs on, stops in order, and is taken apart without the engine."""
    quiet.cli("up", "-d", quiet.write(deployment("shop", web=service(busybox, command=STAY))))
    web = one(quiet)
    for state in (quiet.paths.run / "oci").glob("*/*"):
        shutil.rmtree(state)
    assert one(quiet)["pid"] == web["pid"]
    quiet.cli("down", "shop")
    assert not Path(f"/proc/{web['pid']}").exists()


def test_a_container_whose_directory_is_deleted_is_replaced(quiet: Site, busybox: str) -> None:
    quiet.cli("up", "-d", quiet.write(deployment("shop", web=service(busybox, command=STAY))))
    web = one(quiet)
    delete(quiet.paths.containers / web["id"])
    quiet.until(lambda: [i["id"] for i in quiet.running("web")] not in ([], [web["id"]]), "it is replaced")
    quiet.until(lambda: not Path(f"/proc/{web['pid']}").exists(), "the old process is gone")
    old = next(i for i in quiet.instances() if i["id"] == web["id"])
    assert old["reason"]


def delete(directory: Path) -> None:
    """All that is not mounted."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=False, capture_output=True)


def test_what_was_lost_while_the_daemon_was_dead(quiet: Site, busybox: str) -> None:
    """A torn journal is made up for; a deleted directory, a damaged record and a lost journal end in a replacement."""
    quiet.cli("up", "-d", quiet.write(deployment("shop", web=service(busybox, 5, command=STAY))))
    torn, lost, deleted, damaged, kept = (before := sorted(quiet.running("web"), key=lambda i: i["replica"]))
    quiet.kill()
    directory = {i["id"]: quiet.paths.containers / i["id"] for i in before}
    with (directory[torn["id"]] / "journal.jsonl").open("r+b") as journal:
        journal.truncate(journal.seek(0, os.SEEK_END) - 30)
    (directory[lost["id"]] / "journal.jsonl").unlink()
    delete(directory[deleted["id"]])
    (directory[damaged["id"]] / "bundle" / "record.json").write_text("{")
    quiet.start()
    lost_ones = {deleted["id"], damaged["id"]}
    quiet.until(lambda: len({i["id"] for i in quiet.running("web")} - lost_ones) == 5, "five run")
    after = {i["id"]: i for i in quiet.instances()}
    for same in (torn, lost, kept):
        assert after[same["id"]] == same
    for gone in (deleted, damaged):
        quiet.until(lambda gone=gone: not Path(f"/proc/{gone['pid']}").exists(), "its process is gone")  # type: ignore[misc]
        assert after[gone["id"]]["state"] in ("exited", "failed")
        assert after[gone["id"]]["reason"]
    quiet.assert_balanced()
    quiet.kill()
    quiet.start()
    assert {i["id"] for i in quiet.running("web")} == {i["id"] for i in after.values() if i["state"] == "running"}
    assert json.loads(quiet.cli("ps", "--format", "json").stdout)[0]["status"] == "running"


def test_a_daemon_without_descriptors_harms_nobody(quiet: Site, busybox: str) -> None:
    """What it cannot look at it does not declare dead; with room again it goes on."""
    quiet.cli("up", "-d", quiet.write(deployment("steady", rock=service(busybox, 2, command=STAY)), "steady.yml"))
    before = quiet.running("rock")
    assert quiet.daemon is not None
    pid = quiet.daemon.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert soft == hard, "the daemon raises its soft limit"
    file = quiet.write(deployment("shop", web=service(busybox, 10, command=STAY)))
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len([*Path(f"/proc/{pid}/fd").iterdir()]) + 10, hard))
        quiet.cli("up", "-d", "--timeout", "5", file, check=False, timeout=90)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    quiet.cli("up", "-d", file)
    assert quiet.running("rock") == before
    assert quiet.cli("exec", "web", "--", "sh", "-c", "ulimit -Sn").stdout.strip() == str(OPEN_FILES[0])


def test_a_killed_daemon_takes_its_execs_along(quiet: Site, busybox: str) -> None:
    """Nobody can hear them any more; their container is not touched."""
    quiet.cli("up", "-d", quiet.write(deployment("shop", web=service(busybox, command=STAY))))
    web = one(quiet)
    argv = quiet.argv("exec", "web", "--", "sleep", "1234")
    session = subprocess.Popen(argv, env=quiet.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    quiet.until(lambda: "sleep 1234" in commands_in(web["id"]), "it sleeps")
    quiet.kill()
    assert session.wait(30) not in (0, 2)
    session.communicate()
    quiet.start()
    quiet.until(lambda: "sleep 1234" not in commands_in(web["id"]), "it is gone")
    assert one(quiet) == web
    assert quiet.cli("exec", "web", "--", "echo", "heard").stdout == "heard\n"


def commands_in(instance: str) -> list[str]:
    """Command lines of the processes in a container's cgroups."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if instance in (entry / "cgroup").read_text():
                found.append((entry / "cmdline").read_text().replace("\0", " ").strip())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
