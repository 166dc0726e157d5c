"""A target's result does not depend on its company, on real networks with the default recipe."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shared.catalogue import Release, load_catalogue
from shared.parameters.class_model import ClassModelParameters
from tests.conftest import write_catalogue
from worker.engine.classifier import Classifier, in_precision, open_classifier
from worker.engine.octaves import ascend_octaves
from worker.engine.prepare import prepare
from worker.networks import Loader
from worker.recipe import plan_ascents, plan_slots

CPU = torch.device("cpu")


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def squeezenet(models: Path, tmp_path: Path) -> Release:
    return load_catalogue(write_catalogue(tmp_path)).find("squeezenet")


@contextmanager
def opened(release: Release) -> Iterator[Classifier]:
    shape = release.preprocessing
    network = prepare(Loader().load(release, CPU).network, CPU)
    with open_classifier(network, mean=shape.mean, std=shape.std, size=shape.size, device=CPU) as classifier:
        yield classifier


def climb(classifier: Classifier, steps: int) -> Callable[[Sequence[int]], Tensor]:
    """From targets to their pictures (N, C, H, W)."""
    params = ClassModelParameters(steps=steps)
    ascents = plan_ascents(classifier, params, picture=None, magnitudes=None)

    def pictures(targets: Sequence[int]) -> Tensor:
        *_, last = ascend_octaves(classifier, ascents, plan_slots(params, list(targets)))
        return torch.stack([end.picture for end in sorted(last.ended, key=lambda end: end.slot)])

    return pictures


def test_alone_and_among_thirty_two_a_target_scores_the_same(squeezenet: Release) -> None:
    with opened(squeezenet) as classifier:
        draw = climb(classifier, steps=8)
        alone, crowded = draw([951])[0], draw([951, *range(31)])[0]
        scores = [
            float(classifier.look(classifier.normalise(picture[None])).scores[0, 951]) for picture in (alone, crowded)
        ]
    assert abs(scores[0] - scores[1]) < 0.02 * abs(scores[0])
    torch.testing.assert_close(alone, crowded, atol=1e-3, rtol=0)


def check_every_bit(release: Release, precision: torch.dtype, *, steps: int, counts: Sequence[int]) -> None:
    with opened(release) as classifier:
        draw = climb(in_precision(classifier, precision), steps)
        crowded = draw(range(max(counts) + 1))
        assert [count for count in counts if not torch.equal(draw(range(count)), crowded[:count])] == []


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_with_one_thread_it_is_the_same_picture_to_the_last_bit(precision: torch.dtype) -> None:
    check_every_bit(load_catalogue(None).find("shapes"), precision, steps=40, counts=(1, 2, 3, 5, 8))


@pytest.mark.usefixtures("one_thread")
def test_of_an_imagenet_network_too(squeezenet: Release) -> None:
    check_every_bit(squeezenet, torch.float32, steps=8, counts=(1, 2, 3))
