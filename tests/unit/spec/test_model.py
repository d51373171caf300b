from __future__ import annotations

import pytest
from pydantic import ValidationError

from zlayer.spec.model import DeploymentSpec, HealthSpec, ImageSpec, ResourcesSpec, ServiceSpec, TmpfsSpec
from zlayer.spec.nodes import Scalar, Source


def test_units_are_written_as_people_write_them() -> None:
    resources = ResourcesSpec.model_validate({"memory": 512 << 20, "memory_swap": -1})
    assert resources.model_dump(mode="json")["memory"] == "512Mi"
    assert resources.model_dump(mode="json")["memory_swap"] == "-1"
    assert resources.model_dump()["memory"] == 512 << 20
    assert HealthSpec().model_dump(mode="json")["interval"] == "10s"
    assert TmpfsSpec(target="/a").model_dump(mode="json")["size"] is None


def test_a_spec_is_frozen_and_closed() -> None:
    spec = ServiceSpec(image=ImageSpec(name="a"))
    with pytest.raises(ValidationError):
        spec.tty = True  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ImageSpec.model_validate({"name": "a", "nmae": "b"})


def test_where_it_was_written_is_no_part_of_it() -> None:
    one, two = DeploymentSpec(deployment="shop"), DeploymentSpec(deployment="shop")
    two.written_in(Source("shop.yml", Scalar(1, 1, "x", "x")))
    assert one == two
    assert two.source.file == "shop.yml"
    assert one.model_dump() == two.model_dump()
