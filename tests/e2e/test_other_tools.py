"""Images that buildah, umoci, mmdebstrap and docker made run here; images that were pushed from here run there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlayer.image.trees import remove_tree
from zlayer.model.errors import Unsupported
from zlayer.testing import other_tools
from zlayer.testing.debian_layers import archive_of_packages
from zlayer.testing.imagery import Compression, image, layer
from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.imagery_tar import Tar
from zlayer.testing.netns import short_directory
from zlayer.testing.other_tools import COMMAND, SAYS, Podman, docker
from zlayer.testing.site import Site

from .conftest import Registries

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def room() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory
        for tree in directory.iterdir():
            remove_tree(tree)


def needs(*programs: str) -> None:
    if absent := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"{' and '.join(absent)} not installed (make setup)")


def said(site: Site, reference: str, *command: str) -> str:
    """What the image's command prints; it goes afterwards."""
    output = site.cli("run", "--rm", "--pull", "never", reference, *command).stdout.strip()
    site.cli("image", "rm", reference)
    return output


def test_an_image_of_buildah_runs(site: Site, registries: Registries, room: Path) -> None:
    needs("buildah")
    reference = f"{registries.plain.address}/tools/buildah:1"
    other_tools.by_buildah(room, reference)
    site.cli("pull", reference)
    assert site.cli("run", "--rm", reference, "/bin/busybox", "env").stdout.count("MADE=buildah") == 1
    assert said(site, reference) == SAYS


def test_an_image_of_umoci_runs(site: Site, room: Path) -> None:
    needs("umoci")
    site.cli("import", str(other_tools.by_umoci(room)), "-t", "umoci:1")
    assert said(site, "umoci:1") == SAYS


def test_a_root_file_system_of_mmdebstrap_runs(site: Site, room: Path) -> None:
    needs("mmdebstrap")
    try:
        archive_of_packages(["busybox-static"], room / "root.tar")
    except Unsupported as reason:
        pytest.skip(reason.message)
    site.cli("import", "--rootfs", "-t", "debian:1", str(room / "root.tar"))
    assert "busybox-static" in said(site, "debian:1", "/bin/busybox", "ls", "/usr/share/doc")


def pushed(site: Site, registries: Registries, packing: Compression) -> str:
    """An image with a plain layer and one of that compression, pulled by us and pushed under another name."""
    layers = [layer(Tar().file("one", b"1"), "none"), layer(Tar().whiteout("one").file("said", SAYS.encode()), packing)]
    made = image([*busybox_image().layers, *layers], {"Cmd": list(COMMAND), "Env": ["A=b"]})
    pulled = push(registries.plain.target, "tools/source", packing, made)
    target = f"{registries.plain.address}/tools/ours:{packing}"
    site.cli("pull", pulled)
    site.cli("push", pulled, target)
    site.cli("image", "rm", pulled)
    return target


def test_an_image_pushed_by_us_runs_under_podman(site: Site, registries: Registries, room: Path) -> None:
    needs("podman", "runc")
    ours = pushed(site, registries, "zstd")
    assert Podman(room, f"zltools-p{os.getpid()}").run(ours).strip() == SAYS


def test_docker_runs_ours_and_we_run_dockers(site: Site, registries: Registries, room: Path) -> None:
    """One daemon for both: it takes seconds to start, and cannot in every container that CI runs in. Docker before 23
    reads no zstd."""
    ours = pushed(site, registries, "gzip")
    try:
        with docker(room, f"zltools-d{os.getpid()}") as peer:
            assert peer.run(ours).strip() == SAYS
            name = peer.build(room, room / "docker.tar")
    except Unsupported as reason:
        pytest.skip(reason.message)
    site.cli("import", str(room / "docker.tar"))
    assert site.cli("run", "--rm", "--pull", "never", name, "/bin/busybox", "env").stdout.count("MADE=docker") == 1
    assert said(site, name) == SAYS
