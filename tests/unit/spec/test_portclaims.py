from __future__ import annotations

from zlayer.spec.load import load
from zlayer.spec.nodes import Source
from zlayer.spec.portclaims import check_ports
from zlayer.spec.report import Found, Report

TEXT = """\
version: v1
deployment: shop
services:
  one:
    image: {name: a}
    port_mappings: ["8080:80"]
"""


def test_a_spec_without_a_text_is_explained_too() -> None:
    spec = load(TEXT)
    clash = spec.model_copy(update={"services": {**spec.services, "two": spec.services["one"]}})
    report = Report("")
    check_ports(clash, Found(report, Source()))
    [problem] = report.problems
    assert str(problem) == "services.two.port_mappings: port 8080/tcp is taken: port mapping 1 of 'one' has it"
