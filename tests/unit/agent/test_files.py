"""hosts, resolv.conf and hostname as a container sees them."""

from __future__ import annotations

from pathlib import Path

from zlayer.agent import files
from zlayer.model.container import TmpfsMount
from zlayer.testing.builders import container

SEAT = files.Seat(("10.0.0.2", "fd7a::2"), "10.0.0.1")


def test_hosts_names_the_container_and_what_the_spec_adds() -> None:
    text = files.hosts(("db:10.0.0.9", "node:host-gateway"), "web-1", SEAT)
    assert text.splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.0.0.2\tweb-1",
        "fd7a::2\tweb-1",
        "10.0.0.9\tdb",
        "10.0.0.1\tnode",
    ]


def test_ipv6_extra_hosts_keep_their_colons() -> None:
    assert "fd00::1\tdb" in files.hosts(("db:fd00::1",), "web", files.Seat())


def test_loopback_servers_mean_nothing_in_another_namespace() -> None:
    host = "# made by someone\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nnameserver ::1\nsearch example.test\n"
    assert files.resolv((), host_resolv=host, keep_loopback=False) == (
        "# made by someone\nnameserver 10.1.1.1\nsearch example.test\n"
    )
    assert "127.0.0.53" in files.resolv((), host_resolv=host, keep_loopback=True)
    assert files.resolv(("9.9.9.9",), host_resolv=host, keep_loopback=False) == "nameserver 9.9.9.9\n"


def test_files_are_written_readable_and_step_aside_for_mounts_of_the_spec(tmp_path: Path) -> None:
    spec = container(mounts=(TmpfsMount(target="/etc/hosts"),))
    mounts = files.write(tmp_path, spec, "web-1", SEAT)
    assert [m.target for m in mounts] == ["/etc/resolv.conf", "/etc/hostname"]
    assert Path(mounts[1].source).read_text() == "web-1\n"
    assert Path(mounts[1].source).stat().st_mode & 0o777 == 0o644
    assert files.write(tmp_path, spec, "web-1", SEAT) == mounts
