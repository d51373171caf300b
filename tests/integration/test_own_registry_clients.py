"""Our own registry with real clients: ours and skopeo; with users, over TLS, and open for pulls."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from zlayer.image.local import LocalImages
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.model.errors import Denied
from zlayer.testing.imagery import OciIndex, index
from zlayer.testing.imagery_push import Target, push
from zlayer.testing.imagery_samples import busybox_image, many_layers
from zlayer.testing.own_registry import OwnRegistry, cli
from zlayer.testing.registry_tokens import certificate

WRITER, READER, KEEPER = "writer:long enough", "reader:other words", "keeper:third phrase"


def add(directory: Path, login: str, *rights: str) -> None:
    name, _, password = login.partition(":")
    words = [word for right in rights for word in ("--right", right)]
    done = cli(directory, "user", "add", name, *words, "--password-stdin", stdin=f"{password}\n")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with OwnRegistry(tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    """TLS, three users, and pulls for everybody."""
    directory = tmp_path_factory.mktemp("guarded")
    cert, key = certificate(directory)
    add(directory, WRITER, "pull", "push")
    add(directory, READER)
    add(directory, KEEPER, "delete")
    options = ("--tls-cert", str(cert), "--tls-key", str(key), "--anonymous-pull")
    with OwnRegistry(directory, *options, cert=cert) as running:
        yield running


def made() -> OciIndex:
    return index([busybox_image({"Cmd": ["true"]}), busybox_image(files={"x": b"y"}, platform="linux/arm64")])


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_copies_in_and_out_again(plain: OwnRegistry, tmp_path: Path) -> None:
    plain_name = f"docker://{plain.address}/team/multi"
    push(Target(plain.address), "team/multi", "1", made())

    def skopeo(*words: str) -> str:
        async def run() -> str:
            done = await anyio.run_process(["skopeo", *words])
            return done.stdout.decode()

        return anyio.run(run)

    skopeo("copy", "--all", "--src-tls-verify=false", f"{plain_name}:1", f"oci:{tmp_path}/out:1")
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/out:1", f"{plain_name}:2")
    one, two = (plain.ask("GET", f"/v2/team/multi/manifests/{tag}") for tag in "12")
    assert one.body == two.body
    assert json.loads(skopeo("list-tags", "--tls-verify=false", plain_name))["Tags"] == ["1", "2"]
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"{plain_name}:1",
        f"docker://{plain.address}/x/y:1",
    )
    digest = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{plain.address}/x/y:1"))["Digest"]
    skopeo("delete", "--tls-verify=false", f"docker://{plain.address}/x/y:1")
    assert plain.ask("HEAD", f"/v2/x/y/manifests/{digest}").status == 404


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_logs_in(guarded: OwnRegistry, tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    shutil.copy(guarded.root.parent / "cert.pem", certs / "ca.crt")
    push(Target(guarded.address, certs / "ca.crt", *WRITER.split(":")), "s/s", "1", busybox_image())

    async def copy(*words: str) -> int:
        name = f"docker://{guarded.address}/s/s"
        argv = [
            "skopeo",
            "copy",
            f"--src-cert-dir={certs}",
            f"--dest-cert-dir={certs}",
            *words,
            f"{name}:1",
            f"{name}:2",
        ]
        return (await anyio.run_process(argv, check=False)).returncode

    assert anyio.run(copy) != 0, "nobody may push without a login"
    assert anyio.run(copy, f"--dest-creds={READER}") != 0
    assert anyio.run(copy, f"--src-creds={WRITER}", f"--dest-creds={WRITER}") == 0
    assert anyio.run(copy, f"--dest-creds={WRITER}") == 0


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_of_a_team_sees_its_own_repositories_only(tmp_path: Path) -> None:
    web, refusal = "web:quite a secret", re.compile(r"denied|403 \(Forbidden\)")
    cert, key = certificate(tmp_path)
    add(tmp_path, WRITER, "pull", "push")
    allowed = [word for one in ("team/*:pull,push", "base/*:pull") for word in ("--allow", one)]
    assert cli(tmp_path, "user", "add", "web", *allowed, "--password-stdin", stdin="quite a secret\n").returncode == 0
    shutil.copy(cert, tmp_path / "ca.crt")
    with OwnRegistry(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key), cert=cert) as registry:
        for name in ("base/os", "team2/app"):
            push(Target(registry.address, cert, *WRITER.split(":")), name, "1", busybox_image())

        def copy(source: str, target: str) -> str:
            """What it said when it failed; nothing when it did not."""
            argv = ["skopeo", "copy", f"--src-cert-dir={tmp_path}", f"--dest-cert-dir={tmp_path}"]
            argv += [f"--src-creds={web}", f"--dest-creds={web}"]
            names = [f"docker://{registry.address}/{name}" for name in (source, target)]
            done = anyio.run(lambda: anyio.run_process([*argv, *names], check=False))
            return done.stderr.decode() if done.returncode else ""

        assert copy("base/os:1", "team/os:1") == ""
        assert copy("team/os:1", "team/deep/er:2") == ""
        assert refusal.search(copy("team2/app:1", "team/stolen:1"))
        assert refusal.search(copy("base/os:1", "base/os:2"))
        assert refusal.search(copy("team/os:1", "team2/app:2"))
        listed = registry.ask("GET", "/v2/_catalog", login=web)
        assert json.loads(listed.body)["repositories"] == ["base/os", "team/deep/er", "team/os"]
        refused = registry.ask("GET", "/v2/team/%2e%2e/team2/app/manifests/1", login=web)
        assert refused.status == 400


def settings(registry: OwnRegistry) -> RegistrySettings:
    host = RegistryHost(ca=str(registry.root.parent / "cert.pem") if registry._cert else "")
    return RegistrySettings(hosts={registry.address: host}, attempts=2, backoff=0.01)


@pytest.mark.root
@pytest.mark.anyio
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers are extracted with their owners")
async def test_our_own_client_pushes_and_pulls(plain: OwnRegistry, guarded: OwnRegistry, tmp_path: Path) -> None:
    image = many_layers(5)
    push(Target(plain.address), "team/app", "1", image)
    both = RegistrySettings(hosts={**settings(plain).hosts, **settings(guarded).hosts}, attempts=2, backoff=0.01)
    images = LocalImages(tmp_path / "one", both)
    await images.pull(f"{plain.address}/team/app:1")
    name = f"{guarded.address}/mirror/app:2"
    with pytest.raises(Denied):
        await images.push(f"{plain.address}/team/app:1", name)
    await images.login(guarded.address, *WRITER.split(":"))
    assert (await images.push(f"{plain.address}/team/app:1", name)).digest == image.digest
    await images.pull(name)
    again = await images.push(name, f"{guarded.address}/lent/app:1")
    assert (again.sent, again.mounted > 0) == (0, True)
    other = LocalImages(tmp_path / "two", settings(guarded))
    found = await other.pull(name)
    assert (found.digest, found.layers) == (image.digest, tuple(one.diff_id for one in image.layers))


def test_who_may_do_what(guarded: OwnRegistry) -> None:
    begin = ("POST", "/v2/a/b/blobs/uploads/", b"")
    delete = ("DELETE", f"/v2/a/b/blobs/sha256:{'0' * 64}")
    told = guarded.ask(*begin)
    assert (told.status, told.headers["www-authenticate"]) == (401, 'Basic realm="zlayer registry", charset="UTF-8"')
    assert guarded.ask("GET", "/v2/").status == 401, "clients learn here that there are logins"
    assert guarded.ask("GET", "/v2/", login=READER).status == 200
    assert guarded.ask("GET", "/v2/_catalog").status == 200
    assert guarded.ask("GET", "/v2/_catalog", login="reader:wrong words").status == 401
    assert guarded.ask("GET", "/v2/_catalog", login="nobody:other words").status == 401
    assert guarded.ask("GET", "/v2/_catalog", headers={"Authorization": "Bearer x"}).status == 401
    assert guarded.ask("GET", "/v2/_catalog", headers={"Authorization": "Basic ///"}).status == 401
    assert guarded.ask(*begin, login=READER).status == 403
    assert guarded.ask(*begin, login=WRITER).status == 202
    assert guarded.ask(*delete, login=WRITER).status == 403
    assert guarded.ask(*delete, login=KEEPER).status == 404
    lines = [json.loads(line) for line in guarded.log.splitlines()]
    refused = [one["user"] for one in lines if one["event"] == "registry.request" and one["status"] == 403]
    assert refused[-2:] == ["reader", "writer"], "of this test"


def test_users_come_and_go_while_it_runs(guarded: OwnRegistry) -> None:
    directory, ping = guarded.root.parent, ("GET", "/v2/")
    add(directory, "guest:first secret", "pull")
    assert guarded.ask(*ping, login="guest:first secret").status == 200
    add(directory, "guest:second secret", "pull")
    assert guarded.ask(*ping, login="guest:first secret").status == 401
    assert guarded.ask(*ping, login="guest:second secret").status == 200
    assert "guest" in cli(directory, "user", "ls").stdout
    assert cli(directory, "user", "rm", "guest").returncode == 0
    assert guarded.ask(*ping, login="guest:second secret").status == 401
    assert cli(directory, "user", "rm", "guest").returncode == 1


def test_no_secret_is_written_down(guarded: OwnRegistry) -> None:
    guarded.ask("GET", "/v2/", login=WRITER)
    file = guarded.root / "users.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for text in (guarded.log, file.read_text()):
        assert "long enough" not in text
        assert "d3JpdGVyOmxvbmc" not in text
    assert any(json.loads(line).get("user") == "writer" for line in guarded.log.splitlines())


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 8, "no users"),
        (["--anonymous", "--bind", "0.0.0.0:0"], 8, "everybody"),
        (["--anonymous-pull", "--bind", "0.0.0.0:0"], 8, "without TLS"),
        (["--anonymous", "--bind", "off"], 2, "an address"),
        (["--anonymous", "--tls-cert", "/nowhere"], 2, "both"),
        (["--anonymous", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], 2, "cannot be used"),
        (["--anonymous", "--proxy", "x"], 2, "no proxy rule"),
        (["--anonymous", "--proxy", "A=https://r.example"], 2, "no proxy rule"),
        (["--anonymous", "--proxy", "a=ftp://r.example"], 2, "no proxy rule"),
        (["--anonymous", "--proxy", "a=https://u:p@r.example"], 2, "no proxy rule"),
        (["--anonymous", "--proxy", "a=https://r.example", "--proxy", "a=https://s.example"], 2, "one name"),
    ],
)
def test_what_it_does_not_start_with(tmp_path: Path, options: list[str], status: int, said: str) -> None:
    done = cli(tmp_path, "serve", "--bind", "127.0.0.1:0", *options)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "hint" in done.stderr


def test_a_file_of_users_that_others_may_read(tmp_path: Path) -> None:
    add(tmp_path, READER)
    (tmp_path / "own-registry" / "users.json").chmod(0o644)
    done = cli(tmp_path, "serve", "--bind", "127.0.0.1:0")
    assert (done.returncode, "may be read by others" in done.stderr) == (8, True)
