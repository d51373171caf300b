from __future__ import annotations

from pathlib import Path

from zlayer.runtime.oci.mounttable import to_drop

TABLE = """\
21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:5 / /proc rw - proc proc rw
23 21 0:6 / /sys/fs/cgroup rw - tmpfs tmpfs rw
24 21 0:7 / /usr rw - ext4 /dev/vdb rw
25 21 0:8 / /var rw - ext4 /dev/vdc rw
26 25 0:9 / /var/lib/zlayer/containers/a/rootfs rw - overlay a rw
27 25 0:4 net:[40] /var/lib/zlayer/run/netns/a rw - nsfs nsfs rw
28 21 0:10 / /mnt/my\\040disk rw - vfat /dev/sdb rw
29 21 0:11 / /usrlocal rw - ext4 /dev/vdd rw
"""


def test_what_is_neither_of_the_system_nor_on_the_way_is_dropped() -> None:
    dropped = to_drop(TABLE, [Path("/var/lib/zlayer/containers")])
    assert dropped == [
        "/var/lib/zlayer/containers/a/rootfs",
        "/var/lib/zlayer/run/netns/a",
        "/mnt/my disk",
        "/usrlocal",
    ]


def test_a_kept_path_keeps_the_mounts_it_is_on() -> None:
    assert "/mnt/my disk" not in to_drop(TABLE, [Path("/mnt/my disk/data")])
    assert "/var" in to_drop(TABLE, [])
