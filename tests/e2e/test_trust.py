"""A policy by the command line: an unsigned image does not come up, a signed one does, and one that was up stays."""

from __future__ import annotations

import json

import pytest

from zlayer.testing.imagery_push import push
from zlayer.testing.imagery_samples import busybox_image
from zlayer.testing.signing import Signer, signature_tag, signed
from zlayer.testing.sigstore import Sigstore
from zlayer.testing.sigstore_image import signed as keyless_image
from zlayer.testing.site import CONFIG, Site, deployment, service

from .conftest import Registries

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]
SLEEP = {"args": ["sleep", "100000"]}


def test_signed_by_an_identity(registries: Registries) -> None:
    plain, sigstore = registries.plain, Sigstore()
    name, made = f"{plain.address}/trust/keyless", busybox_image(files={"which": b"keyless"})
    reference = push(plain.target, "trust/keyless", "1", made)
    push(plain.target, "trust/keyless", signature_tag(made.digest), keyless_image(sigstore.signer(), made.digest, name))
    with Site(CONFIG) as site:
        (site.data / "root.json").write_text(sigstore.root())
        (site.data / "config.toml").write_text(
            f'{CONFIG}[[image.policy]]\nmatch = "{plain.address}/*"\nrequire = "signature"\n'
            'trusted_root = "root.json"\n'
            'identities = [{ issuer = "https://issuer.example", subject = "*@example.com" }]\n'
        )
        site.start()
        assert site.cli("run", "--rm", reference, "true").returncode == 0
        shown = site.cli("image", "trust", reference).stdout
        for line in ("IDENTITY *@example.com by https://issuer.example", "BY       dev@example.com",
                     "LOGGED   https://rekor.example at index 4321", "TIME     2024-05-06T12:00:00Z"):  # fmt: skip
            assert line in shown


def test_only_what_is_signed_runs(registries: Registries) -> None:
    plain, signer = registries.plain, Signer.make()
    name = f"{plain.address}/trust/app"
    good, bad = (busybox_image(files={"which": which}) for which in (b"good", b"bad"))
    references = [push(plain.target, "trust/app", tag, made) for tag, made in (("good", good), ("bad", bad))]
    push(plain.target, "trust/app", signature_tag(good.digest), signed(signer, good.digest, name))
    with Site(CONFIG) as site:
        key, config = site.data / "cosign.pub", site.data / "config.toml"
        key.write_bytes(signer.pem)
        strict = (
            f'{CONFIG}[[image.policy]]\nmatch = "{plain.address}/*"\nrequire = "signature"\nkeys = ["cosign.pub"]\n'
        )
        config.write_text(strict)
        site.start()

        path = site.write(deployment("shop", web=service(references[1], command=SLEEP)))
        done = site.cli("up", "-d", path, check=False)
        assert done.returncode != 0
        assert "it has no signature" in done.stdout + done.stderr
        assert site.running() == []
        assert "image.refused" in site.log()
        kinds = {json.loads(line)["kind"] for line in site.cli("events", "--format", "json").stdout.splitlines()}
        assert {"image.refused", "instance.failed"} <= kinds
        site.cli("down", "shop")
        run = site.cli("run", "--rm", references[1], "true", check=False)
        assert run.returncode == 125
        assert f'match = "{plain.address}/*" at d/config.toml:3' in run.stderr
        trust = site.cli("image", "trust", references[1], check=False)
        assert trust.returncode == 8
        assert "refused: it has no signature" in trust.stdout

        path = site.write(deployment("shop", web=service(references[0], command=SLEEP)))
        site.cli("up", "-d", path)
        (one,) = site.running("web")
        found = json.loads(site.cli("image", "trust", references[0], "--format", "json").stdout)
        assert found["verified"]["key"] == signer.fingerprint
        assert found["policy"]["line"] == 3

        site.kill()
        config.write_text(strict.replace('require = "signature"\nkeys = ["cosign.pub"]', 'require = "refuse"'))
        site.start()
        assert [i["id"] for i in site.running("web")] == [one["id"]], "what runs is let run"
        assert site.cli("run", "--rm", references[0], "true", check=False).returncode == 125
        site.cli("down", "shop")
        assert site.instances() == []
