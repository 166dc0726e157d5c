"""What of a map is evidence for the class."""

import numpy as np
import pytest

from archetype.contract.parameters.saliency import SaliencyParameters
from worker.attribution.evidence import MapEvidence, choose_reading

VALUES = np.array([[0.5, 0.7], [0.9, 0.6]], np.float32)


def test_probabilities_are_read_above_the_smallest_one() -> None:
    evidence = MapEvidence.of(VALUES, "offset")
    assert evidence.positive == pytest.approx(VALUES - 0.5)
    assert evidence.drawn == pytest.approx(VALUES - 0.5)
    assert MapEvidence.of(VALUES, "magnitude").positive == pytest.approx(VALUES)
    assert MapEvidence.of(VALUES - 0.6, "signed").positive == pytest.approx(np.maximum(VALUES - 0.6, 0))
    assert MapEvidence.of(np.full((2, 2), 0.5, np.float32), "offset").is_empty


@pytest.mark.parametrize(
    ("fields", "reading"),
    [
        ({"kind": "rise"}, "offset"),
        ({"kind": "kernel_shap"}, "signed"),
        ({"kind": "occlusion"}, "signed"),
        ({"kind": "integrated_gradients", "channels": "signed"}, "signed"),
        ({"kind": "gradient", "channels": "signed"}, "magnitude"),
        ({"kind": "layer_cam"}, "magnitude"),
    ],
)
def test_each_kind_is_read_in_its_way(fields: dict[str, str], reading: str) -> None:
    assert choose_reading(SaliencyParameters.model_validate(fields)) == reading
