from __future__ import annotations

import pytest

from zlayer.spec.load import load
from zlayer.spec.model import AdaptiveScale, DependencySpec, FixedScale, ManualScale, Scale

HEAD = "version: v1\ndeployment: shop\nservices:\n  db: {image: {name: a}}\n  web:\n    image: {name: a}\n"


@pytest.mark.parametrize(
    ("text", "scale"),
    [("", AdaptiveScale()), ("scale: {mode: adaptive}", AdaptiveScale()), ("scale: {mode: manual}", ManualScale()),
     ("scale: {mode: adaptive, min: 0, max: 3, cooldown: 1m}", AdaptiveScale(min=0, max=3, cooldown=60.0)),
     ("scale: {mode: fixed, replicas: 0}", FixedScale(replicas=0))],
)  # fmt: skip
def test_modes(text: str, scale: Scale) -> None:
    assert load(f"{HEAD}    {text}").services["web"].scale == scale


def test_dependencies() -> None:
    text = f"{HEAD}    depends: [{{service: db, condition: started, timeout: 1m, on_timeout: warn}}]"
    expected = DependencySpec(service="db", condition="started", timeout=60.0, on_timeout="warn")
    assert load(text).services["web"].depends == (expected,)
