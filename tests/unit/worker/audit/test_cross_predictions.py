"""A network predicts the saved class models of another one, as if each were its only input."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from shared.catalogue.release import Release
from tests.support.networks import Small, seeded
from worker.audit.cross_predictions import add_predictions
from worker.engine.model.classifier import open_classifier
from worker.inputs.preprocess import to_tensor
from worker.job.context import Evaluator
from worker.job.member_results import DrawnModel, Series

SIZE = 32


@pytest.fixture
def judge() -> Iterator[Evaluator]:
    release = Release(name="m", release="1", architecture="builtin:shapes", classes=list("abcde"))
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as opened:
        yield Evaluator(release.model_copy(update={"preprocessing": preprocess(release)}), opened)


def preprocess(release: Release) -> object:
    return release.preprocessing.model_copy(update={"size": (SIZE, SIZE)})


def draw_series(counts: dict[int, int]) -> Series:
    random = np.random.default_rng(0)
    return {
        target: [
            DrawnModel(target, seed, 1, random.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8), {}, {"other": {}})
            for seed in range(count)
        ]
        for target, count in counts.items()
    }


@torch.no_grad()
def test_each_class_model_has_the_probability_of_its_class_by_the_other_network(judge: Evaluator) -> None:
    series = draw_series({0: 3, 4: 20, 2: 0})
    *_, judged = add_predictions(series, judge)
    assert {target: len(models) for target, models in judged.items()} == {0: 3, 4: 20, 2: 0}
    for target, models in judged.items():
        for model, before in zip(models, series[target], strict=True):
            image = (to_tensor(model.pixels)[None] - 0.5) / 0.25
            expected = judge.classifier.network(image).softmax(1)[0, target]
            assert model.judges["m@1"]["probability"] == pytest.approx(float(expected), abs=1e-5)
            assert set(model.judges) == {"other", "m@1"}
            assert before.judges == {"other": {}}  # the given series is unchanged


def test_a_prediction_that_is_not_finite_is_left_out(judge: Evaluator) -> None:
    judge.classifier.network.classifier.weight.data[:] = float("nan")
    *_, judged = add_predictions(draw_series({1: 2}), judge)
    assert [set(model.judges) for model in judged[1]] == [{"other"}, {"other"}]
