"""Chooses the kind of saliency map that is most faithful to the subject, and maps the probes with it.

A map is faithful if it ranks the parts of an image as the score does when each part is deleted alone; see
`worker.engine.attribution.perturbation.single_deletion`. One half of the measured probes chooses the kind, the other
measures it.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archetype.contract.audit import MapFaithfulness
from archetype.contract.parameters.saliency import SaliencyParameters
from worker.attribution.evidence import MapEvidence, choose_reading
from worker.attribution.saliency_maps import choose_map
from worker.audit.statistics import estimate_mean
from worker.engine.attribution.metrics import rank_correlation, shuffle_weights
from worker.engine.attribution.perturbation.single_deletion import correlate_ranks, draw_edges, measure_falls
from worker.engine.model.classifier import Classifier
from worker.engine.model.network_call import NetworkError
from worker.inputs.preprocess import to_tensor
from worker.inputs.view import View
from worker.job.member_results import NO_MAP, ProbePredictions

GRID = 7
"""Cells along each axis of an image, of which each is deleted alone."""

MEASURED, MIN_MEASURED = 16, 6
"""Largest and least number of probes on which faithfulness is measured. Half of them choose the kind."""

MAX_MAPPED = 64
"""Probes that are mapped for the gate `focus`, spread over the classes."""

MAX_CONTROLS = 12
"""Probes whose maps are compared with those of shuffled weights."""

AT_ONCE = 16
SEED = 0

ProbeMaps = dict[str, NDArray[np.float32]]
"""Maps (h, w) by image id."""


@dataclass(frozen=True)
class LabeledView:
    """A probe as the networks see it, with its true class.

    Attributes:
        image: Id of the image.
        view: The part of the image that the networks see.
        target: Class index.
    """

    image: str
    view: View
    target: int


def list_kinds(size: tuple[int, int]) -> list[SaliencyParameters]:
    """The kinds of maps to choose from, with parameters that fit an input of this height and width.

    A map takes at most some thirty passes. The squares of `occlusion` are larger than the cells of the measure, which
    would otherwise measure itself.
    """
    square = max(2, min(size) // 5)
    fields: list[dict[str, object]] = [
        {"kind": "gradient"},
        {"kind": "guided"},
        {"kind": "gradient_x_input", "channels": "signed"},
        {"kind": "smoothgrad", "samples": 16},
        {"kind": "smoothgrad", "samples": 16, "gradient": "guided"},
        {"kind": "integrated_gradients", "channels": "signed", "steps": 16},
        {"kind": "grad_cam"},
        {"kind": "occlusion", "square": square, "stride": square},
    ]
    return [SaliencyParameters.model_validate({"outputs": ["raw"], **each}) for each in fields]


def name_kind(params: SaliencyParameters) -> str:
    """Name of a kind: `smoothgrad of guided` if it follows a rule other than the gradient."""
    return params.kind if params.gradient == "gradient" else f"{params.kind} of {params.gradient}"


@dataclass(frozen=True)
class MapMaker:
    """Computes maps of one kind for one network.

    Raises `NetworkError` or `ValueError` if the network lacks what the kind needs.
    """

    classifier: Classifier
    params: SaliencyParameters

    def draw(self, probes: Sequence[LabeledView]) -> Tensor:
        """The evidence for the class of each probe, at least 0: (N, h, w), on the CPU."""
        inputs, targets = stack(self.classifier, probes)
        maps = choose_map(self.classifier, self.params, AT_ONCE)(inputs, targets).float().nan_to_num().cpu().numpy()
        reading = choose_reading(self.params)
        return torch.from_numpy(np.stack([MapEvidence.of(each, reading).positive for each in maps]))


def stack(classifier: Classifier, probes: Sequence[LabeledView]) -> tuple[Tensor, Tensor]:
    """The normalized inputs (N, C, h, w) and classes (N,) of probes."""
    images = torch.stack([to_tensor(probe.view.levels) for probe in probes]).to(classifier.device)
    targets = torch.tensor([probe.target for probe in probes], device=classifier.device)
    return classifier.normalize(images), targets


def spread(probes: Sequence[LabeledView], count: int) -> list[LabeledView]:
    """Up to so many probes, the same number of each class as far as possible, in their order within a class."""
    places: dict[int, int] = {}
    ranked = []
    for position, probe in enumerate(probes):
        places[probe.target] = places.get(probe.target, -1) + 1
        ranked.append((places[probe.target], position, probe))
    return [probe for _, _, probe in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def choose_kind(
    classifier: Classifier, probes: Sequence[LabeledView], kinds: Sequence[SaliencyParameters]
) -> Generator[None, None, tuple[SaliencyParameters, MapFaithfulness] | None]:
    """Measures all kinds on a few probes, and yields after each.

    Returns:
        The most faithful kind, with what was measured; None if there are too few probes, or the network takes no kind.
    """
    measured = spread(probes, MEASURED)
    if len(measured) < MIN_MEASURED or min(classifier.size) < GRID:
        return None
    choosing, confirming = measured[::2], measured[1::2]
    falls = [_measure(classifier, half) for half in (choosing, confirming)]
    yield
    found: dict[str, tuple[float, SaliencyParameters]] = {}
    for params in kinds:
        try:
            maps = MapMaker(classifier, params).draw(choosing)
        except (NetworkError, ValueError):  # without a ReLU or a layer with positions, some kinds do not exist
            continue
        found[name_kind(params)] = float(correlate_ranks(maps, falls[0], GRID).mean()), params
        yield
    if not found:
        return None
    best = max(found, key=lambda name: found[name][0])
    chosen = found[best][1]
    correlations = correlate_ranks(MapMaker(classifier, chosen).draw(confirming), falls[1], GRID)
    ranking = {name: score for name, (score, _) in found.items()}
    return chosen, _compare_with_controls(classifier, confirming, falls[1], correlations, best, ranking)


def _measure(classifier: Classifier, probes: Sequence[LabeledView]) -> Tensor:
    return measure_falls(classifier, *stack(classifier, probes), grid=GRID, at_once=AT_ONCE)


def _compare_with_controls(
    classifier: Classifier,
    probes: Sequence[LabeledView],
    falls: Tensor,
    correlations: NDArray[np.float64],
    kind: str,
    ranking: Mapping[str, float],
) -> MapFaithfulness:
    """Compares the correlations (N,) of the chosen kind with those of maps that know nothing of the network."""
    inputs, _ = stack(classifier, probes)
    generator = torch.Generator().manual_seed(SEED)
    chance = correlate_ranks(torch.rand(len(probes), *inputs.shape[2:], generator=generator), falls, GRID)
    edges = correlate_ranks(draw_edges(inputs), falls, GRID)
    margins = [estimate_mean(correlations - control) for control in (chance, edges)]
    return MapFaithfulness(
        kind=kind,
        probes=len(probes),
        correlation=estimate_mean(correlations),
        random=float(chance.mean()),
        edges=float(edges.mean()),
        faithful=all(margin.low > 0 for margin in margins),
        kinds=dict(ranking),
    )


@dataclass(frozen=True)
class MapPlan:
    """How an audit maps probes.

    Attributes:
        params: The kind of maps.
        faithfulness: What was measured of the kind on the subject; None if there are too few probes.
        is_computed: Whether the audit computes the maps. If not, the plan names the kind, and jobs have computed them.
        correlations: Rank correlations of maps of the subject with those of its network with shuffled weights.
    """

    params: SaliencyParameters
    faithfulness: MapFaithfulness | None = None
    is_computed: bool = False
    correlations: Sequence[float] = ()

    @property
    def abstention(self) -> str | None:
        """Why the gate `focus` abstains; None if it does not."""
        measured = self.faithfulness
        if measured is None or measured.faithful:
            return None
        maps = f"the saliency maps ({measured.kind})"
        return f"{maps} are not more faithful to the subject than random maps and edge maps"


def map_probes(maker: MapMaker, probes: Sequence[LabeledView]) -> Generator[None, None, ProbeMaps]:
    """Maps up to `MAX_MAPPED` probes, and yields after each batch."""
    maps: ProbeMaps = {}
    chosen = spread(probes, MAX_MAPPED)
    for start in range(0, len(chosen), AT_ONCE):
        batch = chosen[start : start + AT_ONCE]
        maps |= dict(zip((probe.image for probe in batch), maker.draw(batch).numpy(), strict=True))
        yield
    return maps


def replace_maps(looks: ProbePredictions, maps: ProbeMaps, views: Mapping[str, View]) -> ProbePredictions:
    """Predictions with other maps; those of probes without a map are empty."""
    return {
        image: replace(look, view=maps[image], picture=views[image].place_map(maps[image]))
        if image in maps
        else replace(look, view=NO_MAP, picture=NO_MAP)
        for image, look in looks.items()
    }


def choose_controls(probes: Sequence[LabeledView]) -> list[LabeledView]:
    """The probes whose maps are compared with those of shuffled weights."""
    return spread(probes, MAX_CONTROLS)


def correlate_with_shuffled(maker: MapMaker, probes: Sequence[LabeledView], maps: ProbeMaps) -> list[float]:
    """Rank correlations of the maps of some probes with those of the network with shuffled weights.

    This is the parameter randomization of Adebayo et al. 2018 (arXiv 1810.03292).
    """
    if not probes or next(maker.classifier.network.parameters(), None) is None:  # a black box has no weights to shuffle
        return []
    shuffled = replace(maker, classifier=shuffle_weights(maker.classifier, SEED)).draw(probes).numpy()
    return [rank_correlation(maps[probe.image], other) for probe, other in zip(probes, shuffled, strict=True)]
