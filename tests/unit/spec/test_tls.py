from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.tls import MODES
from zlayer.spec.traffic import EndpointSpec, TlsSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n    endpoints: "


def endpoint(more: str = "", protocol: str = "https") -> EndpointSpec:
    text = f"{HEAD}[{{name: a, protocol: {protocol}, port: 443, target_port: 8443{more}}}]"
    [made] = load(text).services["web"].endpoints
    return made


@pytest.mark.parametrize("mode", sorted(set(MODES) - {"files"}))
def test_modes(mode: str) -> None:
    made = endpoint(f", host: a.example, tls: {{mode: {mode}}}")
    assert made.tls == TlsSpec.model_validate({"mode": mode})
    assert made.mode == ("passthrough" if mode == "passthrough" else "https")


def test_https_without_tls_is_auto() -> None:
    assert endpoint().tls == TlsSpec(mode="auto")
    assert endpoint(", tls: {}").tls == TlsSpec(mode="auto")


def test_files_need_both() -> None:
    made = endpoint(", tls: {mode: files, certificate: ./a.pem, key: /k.pem}").tls
    assert made == TlsSpec(mode="files", certificate="./a.pem", key="/k.pem")
    with pytest.raises(Invalid, match="mode: files needs 'key'"):
        endpoint(", tls: {mode: files, certificate: a.pem}")
    with pytest.raises(Invalid, match="certificate belongs to mode: files, not auto"):
        endpoint(", tls: {certificate: a.pem, key: b.pem}")


@pytest.mark.parametrize(("protocol", "mode"), [("http", "auto"), ("tcp", "auto"), ("udp", "passthrough")])
def test_tls_where_there_is_none(protocol: str, mode: str) -> None:
    with pytest.raises(Invalid) as caught:
        endpoint(f", tls: {{mode: {mode}}}", protocol)
    assert [p.kind for p in caught.value.problems] == ["Conflict"]


def test_tcp_passes_through_by_name() -> None:
    made = endpoint(", tls: {mode: passthrough}, host: db.example", "tcp")
    assert (made.mode, made.host, made.path) == ("passthrough", "db.example", None)
