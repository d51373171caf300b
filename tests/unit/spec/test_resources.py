from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec.load import load
from zlayer.spec.model import ServiceSpec, UlimitSpec

HEAD = "version: v1\ndeployment: shop\nservices:\n  web:\n    image: {name: a}\n"


def service(text: str) -> ServiceSpec:
    return load(f"{HEAD}    {text}").services["web"]


@pytest.mark.parametrize("cpu", ["1", "1.0", "'1.0'", "'1'", "1e0"])
def test_cpu_is_a_number_or_its_text(cpu: str) -> None:
    assert service(f"resources: {{cpu: {cpu}}}").resources.cpu == 1.0


@pytest.mark.parametrize("memory", ["1Gi", "1024Mi", "1g", "1gb", "1073741824", "'1073741824'", "1.0Gi"])
def test_memory_in_every_spelling(memory: str) -> None:
    assert service(f"resources: {{memory: {memory}}}").resources.memory == 1 << 30


@pytest.mark.parametrize(("swap", "value"), [("-1", -1), ("2Gi", 2 << 30), ("1Gi", 1 << 30)])
def test_swap_is_a_size_or_without_end(swap: str, value: int) -> None:
    assert service(f"resources: {{memory: 1Gi, memory_swap: {swap}}}").resources.memory_swap == value


def test_a_bad_memory_is_not_told_as_a_missing_one() -> None:
    with pytest.raises(Invalid) as caught:
        service("resources: {memory: much, memory_swap: 1Gi}")
    assert [p.path for p in caught.value.problems] == ["services.web.resources.memory"]


def test_pids_without_end_is_no_limit() -> None:
    assert service("resources: {pids_limit: -1}").resources.pids_limit is None


@pytest.mark.parametrize(
    ("text", "soft", "hard"),
    [("{soft: 5}", 5, 5), ("{hard: 7}", 7, 7), ("{soft: 5, hard: -1}", 5, -1), ("{soft: -1, hard: -1}", -1, -1)],
)
def test_a_missing_ulimit_copies_the_other(text: str, soft: int, hard: int) -> None:
    assert service(f"ulimits: {{RLIMIT_NOFILE: {text}}}").ulimits == {"nofile": UlimitSpec(soft=soft, hard=hard)}


def test_without_end_is_above_any_hard_limit() -> None:
    with pytest.raises(Invalid, match="is above hard"):
        service("ulimits: {nofile: {soft: -1, hard: 5}}")
