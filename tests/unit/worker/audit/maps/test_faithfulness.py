"""The kind of map that ranks the parts of an image as the network does is chosen; without one, the gate abstains."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archetype.contract.audit import Estimate, MapFaithfulness
from archetype.contract.parameters.saliency import SaliencyParameters
from tests.support.generators import finish
from worker.audit.maps.faithfulness import (
    GRID,
    LabeledView,
    MapMaker,
    MapPlan,
    choose_kind,
    correlate_with_shuffled,
    list_kinds,
    map_probes,
    replace_maps,
    spread,
)
from worker.engine.model.classifier import Classifier, open_classifier
from worker.inputs.view import View
from worker.job.member_results import ProbePrediction

SIDE = 28
GRADIENT, TIMES_INPUT = (
    SaliencyParameters(kind="gradient", outputs=["raw"]),
    SaliencyParameters(kind="gradient_x_input", channels="signed", outputs=["raw"]),
)


class Weighted(nn.Module):
    """Two scores, each a sum of all pixels with weights of its own; with `scale` 0, nothing has an effect."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weights = nn.Parameter(scale * torch.randn(2, 3, SIDE, SIDE, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None] * self.weights).sum((2, 3, 4))


@contextmanager
def opened(network: nn.Module) -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIDE, SIDE), "device": torch.device("cpu")}
    with open_classifier(network, **options) as classifier:
        yield classifier


def draw_probes(count: int) -> list[LabeledView]:
    random = np.random.default_rng(3)
    size = (SIDE, SIDE)
    area = (0.0, 0.0, float(SIDE), float(SIDE))
    return [
        LabeledView(f"{number:064x}", View(random.integers(0, 255, (*size, 3), dtype=np.uint8), area, size), number % 2)
        for number in range(count)
    ]


def test_the_kind_that_agrees_with_deletion_is_chosen_and_printed_next_to_random_and_edge_maps() -> None:
    with opened(Weighted()) as classifier:
        result = finish(choose_kind(classifier, draw_probes(16), [GRADIENT, TIMES_INPUT]))
    assert result is not None
    params, measured = result
    assert (params, measured.kind, measured.probes) == (TIMES_INPUT, "gradient_x_input", 8)
    assert measured.correlation.value > 0.6  # the part of a map that speaks against the class counts as 0
    assert measured.kinds["gradient"] < measured.kinds["gradient_x_input"]
    assert abs(measured.random) < 0.2
    assert abs(measured.edges) < 0.2
    assert measured.faithful


def test_maps_that_are_no_better_than_chance_make_the_gate_abstain() -> None:
    with opened(Weighted(scale=0)) as classifier:
        result = finish(choose_kind(classifier, draw_probes(16), [TIMES_INPUT]))
    assert result is not None
    assert not result[1].faithful
    assert "are not more faithful to the subject" in (MapPlan(*result).abstention or "")


def test_every_kind_that_the_network_has_is_tried() -> None:
    with opened(Weighted()) as classifier:  # it has no ReLU and no layer with positions
        result = finish(choose_kind(classifier, draw_probes(6), list_kinds((SIDE, SIDE))))
    assert result is not None
    assert {"gradient", "gradient_x_input", "smoothgrad", "integrated_gradients", "occlusion"} == set(result[1].kinds)


def test_few_probes_or_a_small_input_measure_nothing() -> None:
    with opened(Weighted()) as classifier:
        assert finish(choose_kind(classifier, draw_probes(5), [GRADIENT])) is None
    assert MapPlan(GRADIENT).abstention is None
    assert GRID <= SIDE


def test_a_faithful_kind_does_not_abstain() -> None:
    interval = Estimate(value=0.5, low=0.3, high=0.7)
    measured = MapFaithfulness(
        kind="gradient", probes=8, correlation=interval, random=0, edges=0.1, faithful=True, kinds={}
    )
    assert MapPlan(GRADIENT, measured).abstention is None


def test_probes_are_spread_over_the_classes() -> None:
    probes = draw_probes(6)
    many = [LabeledView(probe.image, probe.view, 0) for probe in probes[:5]] + [LabeledView("z", probes[5].view, 1)]
    assert [probe.image for probe in spread(many, 2)] == [many[0].image, "z"]
    assert spread(many, 100) == [many[0], many[5], *many[1:5]]


def test_mapped_probes_get_the_evidence_for_their_class_and_the_others_an_empty_map() -> None:
    probes = draw_probes(3)
    old = np.ones((SIDE, SIDE), np.float32)
    looks = {probe.image: ProbePrediction(probe.image, probe.target, {"rank": 1}, old, old) for probe in probes}
    with opened(Weighted()) as classifier:
        maker = MapMaker(classifier, TIMES_INPUT)
        maps = finish(map_probes(maker, probes[:2]))
        correlations = correlate_with_shuffled(maker, probes[:2], maps)
    replaced = replace_maps(looks, maps, {probe.image: probe.view for probe in probes})
    assert [look.is_mapped for look in replaced.values()] == [True, True, False]
    weights = Weighted().weights.detach()
    for probe in probes[:2]:
        inputs = (torch.from_numpy(probe.view.levels).permute(2, 0, 1) / 255 - 0.5) / 0.25
        expected = (inputs * weights[probe.target]).sum(0).clamp_min(0)
        assert torch.allclose(torch.from_numpy(replaced[probe.image].view), expected, atol=1e-4)
    assert all(abs(correlation) < 0.3 for correlation in correlations)


@pytest.mark.parametrize("size", [(28, 28), (224, 160)])
def test_the_squares_of_occlusion_fit_the_input(size: tuple[int, int]) -> None:
    (occlusion,) = (params for params in list_kinds(size) if params.kind == "occlusion")
    assert min(size) / GRID < occlusion.square <= min(size) / 4
