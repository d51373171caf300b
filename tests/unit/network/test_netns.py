from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlayer.network import netns
from zlayer.testing.netns import in_thread

pytestmark = pytest.mark.root


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def make(pin: Path) -> tuple[int, int]:
    """Make a pin from a thread of our own: (its namespace before, its namespace after)."""

    def body() -> tuple[int, int]:
        home = netns.own()
        try:
            before = here()
            netns.create(pin, home)
            return before, here()
        finally:
            os.close(home)

    return in_thread(body)


@pytest.mark.usefixtures("host")
def test_create_pins_a_new_namespace_and_comes_home(directory: Path) -> None:
    pin = directory / "a"
    before, after = make(pin)
    try:
        assert before == after
        assert netns.is_pinned(pin)
        assert pin.stat().st_ino != before
        assert netns.pinned(directory) == ["a"]
    finally:
        netns.destroy(pin)
    assert not pin.exists()
    assert netns.pinned(directory) == []


@pytest.mark.usefixtures("host")
def test_inside_is_inside_and_comes_home_also_after_an_error(directory: Path) -> None:
    pin = directory / "a"
    make(pin)

    def body() -> tuple[bool, bool]:
        home = netns.own()
        try:
            outside = here()
            entered = 0
            try:
                with netns.inside(pin, home):
                    entered = here()
                    raise KeyError
            except KeyError:
                return entered == pin.stat().st_ino, here() == outside
        finally:
            os.close(home)

    try:
        assert in_thread(body) == (True, True)
    finally:
        netns.destroy(pin)


@pytest.mark.usefixtures("host")
def test_leftovers_of_a_crash_are_used_or_removed(directory: Path) -> None:
    pin = directory / "a"
    pin.touch()
    assert netns.pinned(directory) == []
    make(pin)
    make(pin)  # a second mount on top of the first
    assert netns.is_pinned(pin)
    netns.destroy(pin)
    assert not pin.exists()
    netns.destroy(pin)
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()


def test_a_directory_that_is_not_there_has_no_pins(directory: Path) -> None:
    assert netns.pinned(directory / "nosuch") == []
    assert not netns.is_pinned(directory / "nosuch")


@pytest.mark.usefixtures("host")
def test_a_sysctl_goes_to_the_namespace_of_the_thread(directory: Path) -> None:
    pin, outside = directory / "a", Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    make(pin)

    def body() -> str:
        home = netns.own()
        try:
            with netns.inside(pin, home):
                netns.set_sysctl("net/ipv4/ip_unprivileged_port_start", "77")
                return Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
        finally:
            os.close(home)

    try:
        assert in_thread(body).strip() == "77"
        assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == outside
    finally:
        netns.destroy(pin)


READ_ONLY = """
import subprocess
from pathlib import Path
from zlayer.network import netns

subprocess.run(["mount", "--bind", "/proc/sys", "/proc/sys"], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", "/proc/sys"], check=True)
value = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
netns.set_sysctl("net/ipv4/ip_forward", value)
print("had it")
try:
    netns.set_sysctl("net/ipv4/ip_forward", "1" if value == "0" else "0")
except OSError as error:
    print(error.strerror)
"""


def test_a_read_only_sysctl_that_has_the_value_is_fine() -> None:
    """As in many containers; here in a mount and a network namespace of the test's own."""
    argv = ["unshare", "--mount", "--net", sys.executable, "-c", READ_ONLY]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["had it", "Read-only file system"], done.stderr


@pytest.mark.usefixtures("host")
def test_an_unknown_sysctl_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        netns.set_sysctl("net/nosuch", "1")
