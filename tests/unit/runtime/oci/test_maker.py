from __future__ import annotations

from pathlib import Path

from zlayer.runtime.contract import CreateRequest, MountPoint
from zlayer.runtime.oci.maker import carried


def request(directory: Path, *sources: str, netns: Path | None = None) -> CreateRequest:
    mounts = tuple(MountPoint(type="bind", source=source, target=f"/m{n}") for n, source in enumerate(sources))
    rootfs = directory / "rootfs"
    return CreateRequest(id="c", directory=directory, rootfs=rootfs, argv=("true",), netns=netns, mounts=mounts)


def test_root_network_and_foreign_binds_are_carried_and_its_own_files_are_not(tmp_path: Path) -> None:
    directory, pin = tmp_path / "c", tmp_path / "net"
    asked = request(directory, f"{directory}/etc/hosts", "/srv/data", netns=pin)
    assert carried(asked) == [directory / "rootfs", pin, Path("/srv/data")]
    assert carried(request(directory)) == [directory / "rootfs"]


def test_a_bind_of_what_holds_them_sees_everything(tmp_path: Path) -> None:
    assert carried(request(tmp_path / "c", "/")) is None
    assert carried(request(tmp_path / "c", str(tmp_path))) is None
    (tmp_path / "link").symlink_to(tmp_path)
    assert carried(request(tmp_path / "c", str(tmp_path / "link"))) is None
