"""Batch invariance: the result of a target does not depend on the rest of its batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from archetype.contract.parameters.class_model import ClassModelParameters
from shared.catalogue.catalogue import load_catalogue
from shared.catalogue.release import Release
from tests.conftest import write_catalogue
from worker.engine.ascent.octaves import ascend_octaves
from worker.engine.model.classifier import Classifier, in_precision, open_classifier
from worker.engine.model.prepare import prepare
from worker.engine.scores.detect import draw_images
from worker.models.loader import Loader
from worker.optimization.ascent_builder import build_ascents, build_slots

CPU = torch.device("cpu")


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """With one thread, oneDNN runs small batches with other kernels on some processors, which round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def squeezenet(models: Path, tmp_path: Path) -> Release:
    return load_catalogue(write_catalogue(tmp_path)).find("squeezenet")


@contextmanager
def opened(release: Release) -> Iterator[Classifier]:
    shape = release.preprocessing
    inputs = draw_images(shape.channels, shape.size, CPU)
    network = prepare(Loader().load(release, CPU).network, CPU, inputs)
    with open_classifier(network, mean=shape.mean, std=shape.std, size=shape.size, device=CPU) as classifier:
        yield classifier


def make_ascent(classifier: Classifier, steps: int) -> Callable[[Sequence[int]], Tensor]:
    """Returns a function from targets to their images (N, C, H, W)."""
    params = ClassModelParameters(steps=steps)
    ascents = build_ascents(classifier, params, start_image=None, magnitudes=None)

    def draw(targets: Sequence[int]) -> Tensor:
        *_, last = ascend_octaves(classifier, ascents, build_slots(params, list(targets)))
        return torch.stack([end.image for end in sorted(last.ended, key=lambda end: end.slot)])

    return draw


@pytest.mark.slow
def test_a_target_scores_the_same_alone_and_in_a_batch_of_thirty_two(squeezenet: Release) -> None:
    with opened(squeezenet) as classifier:
        draw = make_ascent(classifier, steps=8)
        alone, batched = draw([951])[0], draw([951, *range(31)])[0]
        scores = [
            float(classifier.forward(classifier.normalize(image[None])).scores[0, 951]) for image in (alone, batched)
        ]
    assert abs(scores[0] - scores[1]) < 0.02 * abs(scores[0])
    torch.testing.assert_close(alone, batched, atol=1e-3, rtol=0)


def assert_bitwise_equal(release: Release, precision: torch.dtype, *, steps: int, counts: Sequence[int]) -> None:
    with opened(release) as classifier:
        draw = make_ascent(in_precision(classifier, precision), steps)
        batched = draw(range(max(counts) + 1))
        assert [count for count in counts if not torch.equal(draw(range(count)), batched[:count])] == []


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_with_one_thread_the_images_of_shapes_are_bitwise_equal_in_any_batch(precision: torch.dtype) -> None:
    assert_bitwise_equal(load_catalogue(None).find("shapes"), precision, steps=40, counts=(1, 2, 3, 5, 8))


@pytest.mark.usefixtures("one_thread")
def test_with_one_thread_the_images_of_squeezenet_are_bitwise_equal_in_any_batch(squeezenet: Release) -> None:
    assert_bitwise_equal(squeezenet, torch.float32, steps=8, counts=(1, 2, 3))
