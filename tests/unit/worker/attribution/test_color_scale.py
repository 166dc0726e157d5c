"""The colors of a map: their unit, a common limit, and no color for effects that do not matter."""

import numpy as np
import pytest

from archetype.contract.parameters.saliency import Kind, SaliencyParameters
from worker.attribution.color_scale import UNITS, choose_scale
from worker.attribution.evidence import MapEvidence, choose_reading


def scale_of(kind: Kind, largest: float, *, score: float = 12.0, **params: object):  # type: ignore[no-untyped-def]
    parameters = SaliencyParameters.model_validate({"kind": kind, **params})
    values = np.linspace(0, largest, 100, dtype=np.float32).reshape(10, 10)
    return choose_scale(parameters, MapEvidence.of(values, choose_reading(parameters)), score)


def test_every_kind_has_a_unit() -> None:
    kinds = SaliencyParameters.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    assert set(UNITS) == set(kinds)


@pytest.mark.parametrize(
    ("kind", "largest", "is_negligible"),
    [
        ("occlusion", 0.005, True),  # of a score of 12
        ("occlusion", 0.02, False),
        ("kernel_shap", 0.005, True),
        ("rise", 0.0005, True),
        ("rise", 0.002, False),
        ("integrated_gradients", 1e-6, False),  # a pixel alone never matters much
        ("gradient", 1e-6, False),
    ],
)
def test_an_effect_that_does_not_matter_is_not_brightened(kind: Kind, largest: float, is_negligible: bool) -> None:
    scale = scale_of(kind, largest)
    assert scale.is_negligible is is_negligible
    assert (scale.limit > 1.5 * largest) is is_negligible
    assert scale.largest == pytest.approx(largest)


def test_a_limit_of_the_request_is_that_of_every_map() -> None:
    assert scale_of("occlusion", 3.0, color_limit=2.0).limit == 2.0
    assert scale_of("occlusion", 1e-9, color_limit=2.0).limit == 2.0


def test_a_map_of_zeros_has_a_limit_and_is_not_called_negligible() -> None:
    scale = scale_of("gradient", 0.0)
    assert scale.limit > 0
    assert not scale.is_negligible


def test_the_reason_names_effect_and_unit() -> None:
    assert "by at most 0.005" in scale_of("occlusion", 0.005).explain_negligible(12.0)
    assert "0.05 percentage points" in scale_of("rise", 0.0005).explain_negligible(12.0)
