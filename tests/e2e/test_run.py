"""`zlayer run` as people and scripts use it; nothing stays behind but what was asked to."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zlayer.testing.site import Site

pytestmark = pytest.mark.root
CODES = [
    (["true"], 0),
    (["sh", "-c", "exit 42"], 42),
    (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
    (["sh", "-c", "trap 'exit 9' USR1; kill -USR1 $$; sleep 1"], 9),
    (["/etc"], 126),
    (["/etc/passwd"], 126),
    (["no-such-program"], 127),
    (["/no/such/file"], 127),
]


@pytest.mark.parametrize(("command", "code"), CODES, ids=[" ".join(command) for command, _ in CODES])
def test_the_exit_code_is_the_commands(site: Site, busybox: str, command: list[str], code: int) -> None:
    done = site.cli("run", "--rm", busybox, *command, check=False)
    assert done.returncode == code, done.stderr
    assert site.instances() == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--pull", "never", "nowhere.invalid/a/b:1"), "nowhere.invalid/a/b:1"),
        (("127.0.0.1:1/a:1",), "127.0.0.1:1"),
        (("Not A Name",), "Not A Name"),
        (("--memory", "much", "a:1"), "no size"),
        (("-v", "relative", "a:1"), "no mount"),
        (("-v", "/no/such/dir:/d", "BUSYBOX", "true"), "/no/such/dir"),
        (("-u", "nobody-here", "BUSYBOX", "true"), "nobody-here"),
    ],
)
def test_what_cannot_be_run_is_125_and_says_why(site: Site, busybox: str, argv: tuple[str, ...], words: str) -> None:
    done = site.cli("run", "--rm", *(busybox if word == "BUSYBOX" else word for word in argv), check=False)
    assert done.returncode == 125, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert "level=" not in done.stderr, "the engine's log is not for people"
    assert site.instances() == []


def test_options_reach_the_container(site: Site, busybox: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "given").write_text("from outside\n")
    script = "pwd; id -u; id -g; echo $COLOUR; hostname; cat /data/given; echo back > /data/made"
    done = site.cli(
        "run", "--rm", "-e", "COLOUR=blau ä", "-w", "/tmp", "-u", "7:8", "--hostname", "box",
        "-v", f"{tmp_path}:/data", busybox, "sh", "-c", script, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["/tmp", "7", "8", "blau ä", "box", "from outside"]
    assert done.returncode == 1, "uid 7 may not write there"
    assert "Permission denied" in done.stderr
    site.cli("run", "--rm", "-v", f"{tmp_path}:/data", busybox, "sh", "-c", "echo back > /data/made")
    assert (tmp_path / "made").read_text() == "back\n"


def test_what_is_read_only_stays_as_it_is(site: Site, busybox: str, tmp_path: Path) -> None:
    done = site.cli("run", "--rm", "-v", f"{tmp_path}:/data:ro", busybox, "touch", "/data/x", check=False)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert site.cli("run", "--rm", "--read-only", busybox, "touch", "/x", check=False).returncode == 1


def test_too_much_memory_is_told_as_such(site: Site, busybox: str) -> None:
    done = site.cli("run", "--rm", "--memory", "16m", busybox, "sh", "-c", "tail /dev/zero", check=False)
    assert done.returncode == 137
    assert "memory" in done.stderr
    assert "--memory" in done.stderr


def test_cores_are_limited(site: Site, busybox: str) -> None:
    read = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
    assert site.cli("run", "--rm", "--cpus", "0.5", busybox, "sh", "-c", read).stdout == "50000\n"


def test_stdin_is_passed_on_and_ends(site: Site, busybox: str) -> None:
    assert site.cli("run", "-i", "--rm", busybox, "cat", stdin="x\n").stdout == "x\n"
    text = "".join(f"line {n}\n" for n in range(200_000))
    done = site.cli("run", "-i", "--rm", busybox, "md5sum", stdin=text)
    there = subprocess.run(["md5sum"], input=text, capture_output=True, text=True, check=True).stdout
    assert done.stdout == there
    assert site.cli("run", "--rm", busybox, "cat", stdin="unasked\n").stdout == "", "without -i there is no stdin"


def test_much_output_arrives_whole_and_streams_stay_apart(site: Site, busybox: str) -> None:
    done = site.cli("run", "--rm", busybox, "sh", "-c", "seq 100000; echo oops >&2")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 100_001))
    assert done.stderr.endswith("oops\n"), "behind what is told of a pull"


def test_in_the_background(site: Site, busybox: str) -> None:
    script = "trap 'exit 0' TERM; echo ready; sleep 1000 & wait"
    one = site.cli("run", "-d", "--name", "queue", busybox, "sh", "-c", script).stdout.strip()
    (listed,) = site.instances()
    assert (listed["id"], listed["state"], listed["deployment"]) == (one, "running", "_run")
    site.until(lambda: "ready" in site.cli("logs", "--no-prefix", "queue").stdout, "its log")
    assert site.cli("exec", "queue", "--", "hostname").stdout == site.cli("exec", one, "--", "hostname").stdout
    assert one in site.cli("ps", "-c", "-q").stdout
    site.cli("rm", "queue")
    assert site.instances() == []


def test_what_ended_is_kept_until_it_is_removed(site: Site, busybox: str) -> None:
    done = site.cli("run", "--name", "kept", busybox, "sh", "-c", "echo words; exit 5", check=False)
    assert (done.returncode, done.stdout) == (5, "words\n")
    (listed,) = site.instances()
    assert (listed["state"], listed["exit_code"], listed["pid"], listed["ip"]) == ("exited", 5, None, None)
    assert site.cli("logs", "--no-prefix", "kept").stdout == "words\n"
    assert site.cli("exec", "kept", "--", "true", check=False).returncode != 0
    site.cli("rm", "--ended")
    assert site.instances() == []


def begin(site: Site, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        site.argv("run", "--rm", *argv),
        env=site.environ, cwd=site.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_client_goes_to_the_container(site: Site, busybox: str, number: signal.Signals) -> None:
    script = f"trap 'echo got it; exit 33' {number.value}; echo ready; while :; do sleep 0.05; done"
    client = begin(site, busybox, "sh", "-c", script)
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    client.send_signal(number)
    out, _ = client.communicate(timeout=30)
    assert (out, client.returncode) == ("got it\n", 33)
    assert site.instances() == []


def test_a_command_deaf_to_ctrl_c_is_killed_by_the_second(site: Site, busybox: str) -> None:
    client = begin(site, busybox, "sh", "-c", "trap 'echo no' INT; echo ready; while :; do sleep 0.05; done")
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    client.send_signal(signal.SIGINT)
    assert client.stdout.readline() == "no\n"
    client.send_signal(signal.SIGINT)
    _, errors = client.communicate(timeout=30)
    assert client.returncode == 137
    assert "killing it" in errors


def test_a_killed_client_takes_its_container_along(site: Site, busybox: str) -> None:
    client = begin(site, busybox, "sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait")
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    client.kill()
    client.communicate(timeout=30)
    site.until(lambda: site.instances() == [], "--rm is kept although nobody waits")


def test_many_at_once(site: Site, busybox: str) -> None:
    def one(number: int) -> str:
        return site.cli("run", "--rm", busybox, "sh", "-c", f"echo {number}; ip -4 addr show | grep -c inet").stdout

    with ThreadPoolExecutor(20) as pool:
        outputs = list(pool.map(one, range(20)))
    assert outputs == [f"{number}\n2\n" for number in range(20)]
    assert site.instances() == []


def test_a_moment_of_a_stranger(site: Site, registries: object, image: Callable[[str], str]) -> None:
    """The image is pulled by the run itself; progress is told on stderr, output stays clean."""
    from zlayer.testing.registry import Registry

    plain = getattr(registries, "plain")  # noqa: B009
    assert isinstance(plain, Registry)
    reference = f"{plain.address}/{image('nasty')}"
    done = site.cli("run", "--rm", reference, "echo", "clean")
    assert done.stdout == "clean\n"
    assert "extracting" in done.stderr or "done" in done.stderr
    listed = json.loads(site.cli("image", "ls", "--format", "json").stdout)
    assert reference in [each["reference"] for each in listed]
    site.cli("image", "rm", reference)
