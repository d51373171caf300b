from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.model import BindSpec, DeviceSpec, NamedSpec, ServiceSpec, TmpfsSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


def service(text: str) -> ServiceSpec:
    return load(f"{HEAD}    {text}").services["web"]


def test_mounts_keep_their_order_and_targets_are_evened_out() -> None:
    text = "storage: [{type: named, name: a-1, target: /x//y/}, {type: bind, source: ./d, target: /z, readonly: true},"
    assert service(f"{text} {{type: tmpfs, target: /t, size: 64m, mode: 0o1777}}]").storage == (
        NamedSpec(name="a-1", target="/x/y"),
        BindSpec(source="./d", target="/z", readonly=True),
        TmpfsSpec(target="/t", size=64 << 20, mode=0o1777),
    )


def test_a_mount_below_another_is_no_duplicate() -> None:
    text = "storage: [{type: tmpfs, target: /a}, {type: tmpfs, target: /a/b}]"
    assert [m.target for m in service(text).storage] == ["/a", "/a/b"]


@pytest.mark.parametrize("target", ["/a/../../etc", "a", "", "/", "//", "/./"])
def test_targets_that_would_leave_or_hide_the_root(target: str) -> None:
    with pytest.raises(Invalid) as caught:
        service(f"storage: [{{type: tmpfs, target: '{target}'}}]")
    assert [p.kind for p in caught.value.problems] == ["InvalidPath"]


def test_a_key_of_another_mount_type_is_unknown() -> None:
    with pytest.raises(Invalid, match="unknown key 'source'"):
        service("storage: [{type: tmpfs, target: /a, source: /b}]")


def test_devices() -> None:
    assert service("devices: [{path: /dev/fuse, mknod: true}]").devices == (DeviceSpec(path="/dev/fuse", mknod=True),)
