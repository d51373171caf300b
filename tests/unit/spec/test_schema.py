from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zlayer.spec.deployment import DEPLOYMENT
from zlayer.spec.schema import json_schema
from zlayer.spec.service import LATER, SUPPORTED

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.zlayer.yml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


class Core(yaml.SafeLoader):
    """YAML 1.2 as editors read it, as far as the examples need: `0o755` is a number."""


def octal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node), 0)


Core.add_implicit_resolver("!octal", re.compile(r"0o[0-7]+"), ["0"])
Core.add_constructor("!octal", octal)


def test_it_is_a_schema_and_json() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    document = yaml.load(path.read_text(), Loader=Core)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_what_loads_is_valid(documents: st.SearchStrategy[dict[str, Any]], data: st.DataObject) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(data.draw(documents))] == []


def service(**keys: Any) -> dict[str, Any]:
    return {"version": "v1", "deployment": "shop", "services": {"web": {"image": {"name": "a"}, **keys}}}


BROKEN = {
    "no deployment": {"version": "v1"},
    "version": {"version": "v2", "deployment": "shop"},
    "deployment": {"version": "v1", "deployment": "a b"},
    "unknown key": service(prots=[]),
    "later key": service(init=[]),
    "image as text": service(image="nginx"),
    "port": service(endpoints=[{"name": "a", "protocol": "http", "port": 0}]),
    "protocol": service(endpoints=[{"name": "a", "protocol": "htp", "port": 1}]),
    "exposure": service(endpoints=[{"name": "a", "protocol": "tcp", "port": 1, "expose": "all"}]),
    "host": service(endpoints=[{"name": "a", "protocol": "http", "port": 1, "host": "a b"}]),
    "tls": service(endpoints=[{"name": "a", "protocol": "https", "port": 1, "tls": {"mode": "x"}}]),
    "stream tls": service(endpoints=[{"name": "a", "protocol": "tcp", "port": 1, "stream": {"tls": True}}]),
    "rate": service(endpoints=[{"name": "a", "protocol": "http", "port": 1, "limits": {"rate": "many"}}]),
    "mapping": service(port_mappings=["80/sctp"]),
    "share": service(update={"max_surge": "150%"}),
    "network": service(network={"overlays": {}}),
    "mode": service(network_mode="container:"),
    "scale": service(scale={"mode": "fixed"}),
    "mount type": service(storage=[{"type": "s3", "target": "/a"}]),
    "duration": service(stop_grace_period=10),
    "memory": service(resources={"memory": "512Mx"}),
    "flag": service(tty="yes"),
}


@pytest.mark.parametrize("document", BROKEN.values(), ids=BROKEN.keys())
def test_broken_ones_are_not(document: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(document))


def test_an_editor_finds_words_for_the_common_keys() -> None:
    keys = DEPLOYMENT.schema()["properties"]["services"]["additionalProperties"]["properties"]
    silent = {name for name in SUPPORTED if "description" not in keys[name]}
    assert silent == set()


def test_the_reference_page_names_every_key_and_kind() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference-spec.md").read_text()
    words = set(re.findall(r"[\w.]+", page))
    assert (SUPPORTED.keys() | LATER.keys() | DEPLOYMENT.fields.keys() | DEPLOYMENT.later.keys()) - words == set()
    sources = Path(json_schema.__code__.co_filename).parent.glob("*.py")
    kinds = {kind for path in sources for kind in re.findall(r'(?:kind|fault)="(\w+)"', path.read_text())}
    assert kinds - words == set()
