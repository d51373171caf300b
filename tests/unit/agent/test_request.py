"""Image defaults and the spec's own words, merged as the OCI image spec says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zlayer.agent import request, volumes
from zlayer.image.contract import Image, ImageConfig
from zlayer.model.container import BindMount, TmpfsMount, VolumeMount
from zlayer.model.errors import Invalid
from zlayer.model.instance import Instance
from zlayer.model.units import Bytes, Timestamp
from zlayer.testing.builders import container

CONFIG = ImageConfig(entrypoint=("/entry",), cmd=("serve", "-v"), env={"PATH": "/opt", "A": "image"}, user="app")


def instance(**spec: Any) -> Instance:
    wanted = container(**spec)
    return Instance(
        id="shop-web-1-abc",
        deployment="shop",
        service="web",
        slot=1,
        revision=1,
        spec=wanted,
        digest=wanted.digest(),
    )


@pytest.mark.parametrize(
    ("spec", "argv"),
    [
        ({}, ("/entry", "serve", "-v")),
        ({"args": ("x",)}, ("/entry", "x")),
        ({"args": ()}, ("/entry",)),
        ({"entrypoint": ("/other",)}, ("/other",)),
        ({"entrypoint": ("/other",), "args": ("y",)}, ("/other", "y")),
        ({"entrypoint": (), "args": ("sh",)}, ("sh",)),
    ],
)
def test_command(spec: dict[str, Any], argv: tuple[str, ...]) -> None:
    assert request.command(instance(**spec), CONFIG) == argv


def test_an_image_without_a_command_is_told_with_its_mend() -> None:
    with pytest.raises(Invalid, match="names no command") as caught:
        request.command(instance(), ImageConfig())
    assert "command.entrypoint" in caught.value.hint


def test_environment_order() -> None:
    env = request.environment(instance(env={"A": "spec", "B": "2"}, tty=True), CONFIG)
    assert env == {"PATH": "/opt", "HOSTNAME": "web-1", "TERM": "xterm", "A": "spec", "B": "2"}
    assert request.environment(instance(), ImageConfig())["PATH"] == request.PATH


def test_hostnames_fit_the_kernel() -> None:
    assert request.hostname(instance(hostname="given")) == "given"
    long = instance().model_copy(update={"service": "x" * 80, "slot": 12})
    assert len(request.hostname(long)) == 63
    assert request.hostname(long).endswith("-12")


def test_stop_signal_order() -> None:
    assert request.stop_signal(instance(stop_signal="SIGINT"), CONFIG) == "SIGINT"
    assert request.stop_signal(instance(), ImageConfig(stop_signal="SIGQUIT")) == "SIGQUIT"
    assert request.stop_signal(instance(), CONFIG) == "SIGTERM"


def test_the_request_carries_everything(tmp_path: Path) -> None:
    made = request.build(
        instance(network_mode="host", workdir="/w"),
        Image("app:1", "sha256:1", CONFIG, (), "linux/amd64", Bytes(0), Timestamp(0)),
        directory=tmp_path,
        rootfs=tmp_path / "r",
        netns=None,
        mounts=(),
    )
    assert (made.id, made.cwd, made.user, made.hostname) == ("shop-web-1-abc", "/w", "app", "")
    assert made.content == "sha256:1"


def test_volumes(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "data").mkdir(parents=True)
    (rootfs / "data").chmod(0o1777)
    (rootfs / "link").symlink_to("/etc")
    mounts = (
        VolumeMount(name="store", target="/data"),
        VolumeMount(name=None, target="/link"),
        TmpfsMount(target="/t", size=None),
        BindMount(source=str(tmp_path), target="/b", readonly=True),
    )
    home = tmp_path / "volumes"
    found = volumes.prepare(instance(mounts=mounts), tmp_path / "c", rootfs, home)
    assert found == volumes.prepare(instance(mounts=mounts), tmp_path / "c", rootfs, home)
    assert [m.source for m in found] == [
        str(home / "shop" / "store"),
        str(tmp_path / "c" / "volumes" / "1"),
        "",
        str(tmp_path),
    ]
    assert (home / "shop" / "store").stat().st_mode & 0o7777 == 0o1777, "as the image has it there"
    assert (tmp_path / "c" / "volumes" / "1").stat().st_mode & 0o7777 == 0o755, "a link in the image is not followed"


def test_a_missing_bind_source_is_told(tmp_path: Path) -> None:
    mounts = (BindMount(source=str(tmp_path / "nowhere"), target="/b"),)
    with pytest.raises(Invalid, match="does not exist"):
        volumes.prepare(instance(mounts=mounts), tmp_path, tmp_path, tmp_path)
