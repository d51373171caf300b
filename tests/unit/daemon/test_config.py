from __future__ import annotations

import re
from pathlib import Path

import pytest

from zlayer.daemon.config import Config, load, parse
from zlayer.daemon.listen import Bind
from zlayer.daemon.options import Options
from zlayer.model.certificate import LETSENCRYPT, STAGING
from zlayer.model.errors import Invalid
from zlayer.testing.signing import Signer

GOOD = """
default_registry = "registry.example"
[daemon]
bind = "127.0.0.1:0"
node_name = "n1"
runtime = "runc"
log_level = "debug"
[network]
subnet = "10.88.0.0/16"
[registries."127.0.0.1:5000"]
insecure = true
"""


def test_no_file_is_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "config.toml") == Config()


def test_every_key(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(GOOD)
    config = load(file)
    assert (config.bind, config.node_name, config.runtime) == (Bind("127.0.0.1", 0), "n1", "runc")
    assert (config.log_level, config.subnet) == ("debug", "10.88.0.0/16")
    assert config.registries.default_registry == "registry.example"
    assert config.registries.host("127.0.0.1:5000").insecure is True


def problems(text: str) -> list[tuple[int, str, str]]:
    """(line, path, suggestion) of each."""
    with pytest.raises(Invalid) as caught:
        parse(text, file="/etc/config.toml")
    return [(p.line, p.path, p.suggestion) for p in caught.value.problems]


def test_every_problem_at_once_with_its_line() -> None:
    text = """
[daemon]
bnid = "x"
bind = "nonsense"
runtime = "runk"
log_level = 7
[network]
subnet = "10.0.0.0/99"
[registries."r:1"]
insecur = true
[other]
"""
    found = problems(text)
    assert {(line, path) for line, path, _ in found} == {
        (3, "daemon.bnid"),
        (4, "daemon.bind"),
        (5, "daemon.runtime"),
        (6, "daemon.log_level"),
        (8, "network.subnet"),
        (10, "registries.r:1.insecur"),
        (11, "other"),
    }
    assert {suggestion for _, path, suggestion in found if path == "daemon.bnid"} == {"bind"}


@pytest.mark.parametrize("text", ["[daemon\n", "a = \n", 'x = "unclosed\n'])
def test_what_is_no_toml_has_its_place(text: str) -> None:
    [(line, _, _)] = problems(text)
    assert line >= 1


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('[daemon]\ntls_cert = "absent.pem"\n', "daemon"),
        ('[daemon]\ntls_cert = "absent.pem"\ntls_key = "absent.key"\n', "daemon.tls_cert"),
        ('[network]\nsubnet = "10.0.0.0/30"\n', "network.subnet"),
        ("daemon = 3\n", "daemon"),
    ],
)
def test_what_cannot_be_meant(text: str, path: str) -> None:
    assert path in {found for _, found, _ in problems(text)}


def test_acme_that_cannot_be_meant_is_told_whole(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("not to be run")
    text = (
        '[acme]\nemail = "a@b.test"\nagree = true\ndirectory = "stagign"\ndns_hook = "hook"\nhttp_port = 0\n'
        'ca_file = "absent.pem"\neab_kid = "k"\n'
    )
    with pytest.raises(Invalid) as caught:
        parse(text, file=str(tmp_path / "config.toml"))
    found = {(problem.line, problem.path) for problem in caught.value.problems}
    assert found == {
        (4, "acme.directory"),
        (5, "acme.dns_hook"),
        (6, "acme.http_port"),
        (7, "acme.ca_file"),
        (1, "acme"),
    }


def test_acme_by_a_word_or_a_url() -> None:
    begin = '[acme]\nemail = "a@b.test"\nagree = true\n'
    for said, directory in (
        ("staging", STAGING),
        ("production", LETSENCRYPT),
        ("https://ca.test/d", "https://ca.test/d"),
    ):
        acme = parse(f'{begin}directory = "{said}"\n', file="config.toml").acme
        assert acme is not None
        assert acme.directory == directory


def test_how_names_are_proved() -> None:
    begin = '[acme]\nemail = "a@b.test"\nagree = true\n'
    config = parse(f'{begin}challenge = "tls-alpn-01"\ntls_port = 8443\n', file="config.toml")
    assert config.acme is not None
    assert (config.acme.challenge, config.acme_tls_port) == ("tls-alpn-01", 8443)
    for said, path, words in (
        ('challenge = "tls-alpn-1"', "acme.challenge", "wants http-01 or tls-alpn-01, not 'tls-alpn-1'"),
        ('challenge = "dns-01"', "acme.challenge", "not 'dns-01'"),
        ("tls_port = 8443", "acme.tls_port", 'is for challenge = "tls-alpn-01"'),
        ('challenge = "tls-alpn-01"\ntls_port = 80', "acme.tls_port", "cannot be one port"),
        ('challenge = "tls-alpn-01"\ntls_port = 0', "acme.tls_port", "wants a port"),
    ):
        with pytest.raises(Invalid) as caught:
            parse(begin + said, file="config.toml")
        [problem] = caught.value.problems
        assert (problem.path, words in problem.message) == (path, True), problem


def test_a_command_line_wins_over_the_file() -> None:
    config = Options(bind="off", log_level="error").over(parse(GOOD, file="config.toml"))
    assert config.bind is not None
    assert config.bind.off
    assert (config.log_level, config.runtime) == ("error", "runc")


def test_options_travel_to_a_detached_daemon() -> None:
    options = Options(bind=":0", node_name="n1")
    assert Options.parse(options.dump()) == options
    with pytest.raises(Invalid):
        Options(bind="nonsense").over(Config())


def test_the_reference_page_shows_keys_that_are_keys() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference-api.md").read_text()
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    with pytest.raises(Invalid) as caught:  # its files are not there, and that is all
        parse(example, file="/absent/config.toml")
    files = {"daemon.tls_cert", "daemon.tls_key", "image.policy.0.keys", "image.s3.credentials_file"}
    assert {problem.path for problem in caught.value.problems} == files


def test_image_policies_know_where_they_stand(tmp_path: Path) -> None:
    signer = Signer.make()
    (tmp_path / "cosign.pub").write_bytes(signer.pem)
    text = """[[image.policy]]
match = "*"
require = "refuse"

[[image.policy]]    # ours
match = "registry.example/team/*"
require = "signature"
keys = ["cosign.pub"]
"""
    file = tmp_path / "config.toml"
    file.write_text(text)
    first, second = load(file).rules
    assert (first.match, first.require, first.line, first.file) == ("*", "refuse", 1, str(file))
    assert (second.match, second.line, second.keys[0].fingerprint) == ("registry.example/team/*", 5, signer.fingerprint)
    (inline,) = parse('[image]\npolicy = [{match = "*", require = "refuse"}]', file=str(file)).rules
    assert inline.line == 2


def test_image_policies_tell_every_problem_with_its_line() -> None:
    text = """[[image.policy]]
match = "*"
require = "refused"
[[image.policy]]
match = "registry.example/team/*"
require = "signature"
keys = ["missing.pub"]
identities = []
[[image.policy]]
require = "nothing"
[pull]
attempts = 0
"""
    assert problems(text) == [
        (12, "pull.attempts", ""),
        (3, "image.policy.0.require", "refuse"),
        (7, "image.policy.1.keys", ""),
        (8, "image.policy.1.identities", ""),
        (9, "image.policy.2.match", ""),
    ]


def test_a_bucket_stands_in_the_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert load(file, {}).registries.s3 is None
    alone = load(file, {"ZLAYER_S3_BUCKET": "images"}).registries.s3
    assert alone is not None
    file.write_text('[image.s3]\nbucket = "other"\nprefix = "p"\n[pull]\nattempts = 2\n')
    both = load(file, {"ZLAYER_S3_BUCKET": "images"}).registries
    assert both.s3 is not None
    assert (both.s3.bucket, both.s3.prefix, both.attempts) == ("images", "p/", 2)


def test_bad_settings_of_a_bucket_are_told_with_their_lines() -> None:
    text = '[image.s3]\nbucket = "B"\nregoin = "eu"\nendpoint = "s3.lan"\n'
    with pytest.raises(Invalid) as caught:
        parse(text, file="/config.toml")
    assert {(problem.path, problem.line) for problem in caught.value.problems} == {
        ("image.s3.bucket", 2), ("image.s3.regoin", 3), ("image.s3.endpoint", 4),
    }  # fmt: skip
