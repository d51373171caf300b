from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlayer.model.errors import Invalid, NotFound, Problem
from zlayer.spec.load import decode, load, read

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parents[2] / "examples").glob("*.zlayer.yml"))
GUIDE = (HERE / "guide-sample.yml").read_text()
REFERENCE = (HERE / "reference-sample.yml").read_text()
VALID = tuple(path.read_text() for path in EXAMPLES)


def broken_cases() -> list[tuple[str, str, list[str]]]:
    """`=== name`, the text, `---- problems`, the expected lines; several cases to a file."""
    cases = []
    for file in sorted((HERE / "broken").glob("*.txt")):
        for block in re.split(r"^=== ", file.read_text(), flags=re.MULTILINE)[1:]:
            name, _, rest = block.partition("\n")
            text, _, expected = rest.rpartition("---- problems\n")
            cases.append((f"{file.stem}: {name}", text, expected.splitlines()))
    return cases


CASES = broken_cases()


def problems(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        load(text, file="shop.zlayer.yml")
    assert all(p.file == "shop.zlayer.yml" for p in caught.value.problems)
    return [
        f"{p.line}:{p.column} {p.kind} [{p.path}] {p.message}" + (f" => {p.suggestion}" if p.suggestion else "")
        for p in caught.value.problems
    ]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_broken_spec_is_explained(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_there_are_many_broken_specs_with_names_of_their_own() -> None:
    assert len(CASES) >= 140
    assert len({name for name, _, _ in CASES}) == len(CASES)


def test_the_guide_sample_lacks_only_what_comes_later() -> None:
    assert problems(GUIDE) == [
        "22:7 Unsupported [services.web.resources.gpu] not supported yet: gpu",
        "35:5 Unsupported [services.web.init] not supported yet: init",
    ]


def test_the_guide_sample_loads_without_those() -> None:
    text = re.sub(r"      gpu:\n(        .*\n)+", "", GUIDE)
    text = re.sub(r"    init:\n((      ).*\n)+", "", text)
    web = load(text).services["web"]
    assert web.command.entrypoint == ("/app/server",)
    assert web.health is not None
    assert float(web.health.interval) == 10


def test_the_reference_sample_lacks_only_what_comes_later() -> None:
    lines = problems(REFERENCE)
    assert {line.split()[1] for line in lines} == {"Unsupported"}
    assert len(lines) == 25


def test_the_list_reads_well() -> None:
    text = "version: v1\ndeployment: shop\nservices:\n  api:\n    imag: {name: a}\n    prots: []\n"
    with pytest.raises(Invalid) as caught:
        load(text, file="shop.zlayer.yml")
    assert str(caught.value) == "shop.zlayer.yml has 2 problems"
    assert "\n".join(map(str, caught.value.problems)) == (
        "shop.zlayer.yml:5:5: services.api: unknown key 'imag' (did you mean 'image'?)\n"
        "shop.zlayer.yml:6:5: services.api: unknown key 'prots' (did you mean 'port_mappings'?)"
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_load(path: Path) -> None:
    assert load(read(path), file=path.name).services


def test_both_forms_say_the_same() -> None:
    head = "version: v1\ndeployment: shop\nservices:\n  api:\n    image: {name: a}\n"
    guide = """\
    resources: {cpu: "1.0", memory: 1Gi}
    endpoints: [{name: http, protocol: http, port: 8080, expose: false}]
    health: {check: {type: http, path: /health, port: 8080, interval: 10s}}
"""
    reference = """\
    resources: {cpu: 1.0, memory: 1024Mi}
    endpoints: [{name: http, protocol: http, port: 8080, target_port: 8080, expose: internal}]
    health: {interval: 10s, check: {type: http, url: "http://localhost:8080/health", expect_status: 200}}
"""
    assert load(head + guide) == load(head + reference)


def test_json_is_read_too() -> None:
    text = '{"version": "v1", "deployment": "shop", "services": {"a": {"image": {"name": "a"}}}}'
    assert load(text).services["a"].image.name == "a"


def test_problems_are_bounded_and_counted() -> None:
    text = "version: v1\ndeployment: shop\n" + "".join(f"unknown{i}: 1\n" for i in range(3000))
    with pytest.raises(Invalid, match="3000 problems") as caught:
        load(text, file="f")
    assert len(caught.value.problems) == 500


def never_worse_than_invalid(text: str) -> None:
    found: tuple[Problem, ...] | None = None
    try:
        load(text, file="any.yml")
    except Invalid as bad:
        found = bad.problems
    assert found != ()
    for problem in found or ():
        assert problem.message
        assert problem.line >= 1
        assert problem.column >= 1


@given(st.text(max_size=200))
def test_any_text_loads_or_is_explained(text: str) -> None:
    never_worse_than_invalid(text)


@given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"#%@`~?<\t\n 0x.é\x00\ud800\ufeff"), max_size=80))
def test_any_yaml_like_text_loads_or_is_explained(text: str) -> None:
    never_worse_than_invalid("version: v1\ndeployment: shop\nservices:\n  web: " + text)


SCRAPS = (
    "", "null", "~", "[]", "{}", "-1", "0", "1e999", ".nan", "true", "yes", "''", "'x'", "[[1]]", "{a: b}", "!x y",
    "!!str 5", "&a b", "*a", "<<", "|", "99999999999999999999999", "2001-01-01", "é", "%", "a: b: c", "type: tcp",
)  # fmt: skip


@given(st.data())
def test_any_mutated_spec_loads_or_is_explained(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from((*VALID, GUIDE, REFERENCE)))
    for _ in range(data.draw(st.integers(1, 4))):
        words = [m.span() for m in re.finditer(r"[\w./$:-]+|[\[\]{},]|\n *", text)]
        start, end = data.draw(st.sampled_from(words))
        text = text[:start] + data.draw(st.sampled_from(SCRAPS)) + text[end:]
    never_worse_than_invalid(text)


def test_a_file_that_is_not_utf8_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yml"
    path.write_bytes(b"version: v1\ndeployment: caf\xe9\n")
    with pytest.raises(Invalid) as caught:
        read(path)
    [problem] = caught.value.problems
    assert (problem.line, problem.column, problem.message) == (2, 16, "not UTF-8 text: byte 0xe9")


def test_a_byte_order_mark_is_dropped() -> None:
    assert decode(b"\xef\xbb\xbfversion: v1\n") == "version: v1\n"


def test_reading_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        read(tmp_path / "none.yml")
    with pytest.raises(Invalid, match="cannot be read"):
        read(tmp_path)
