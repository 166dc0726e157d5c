"""Distances of class models depend on what they show, not on its position."""

import numpy as np
import pytest
import torch

from tests.support.networks import Small, seeded
from worker.audit.model_distance import (
    KINDS,
    choose_layers,
    convert_channels,
    describe_frequencies,
    describe_images,
    pairwise_distances,
)
from worker.engine.model.classifier import open_classifier

SIZE = 32


@pytest.fixture(scope="module")
def classifier():
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as opened:
        yield opened


def paint(color: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-20, 20, (SIZE, SIZE, 3))
    return np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)


def test_a_shift_gives_a_small_distance_and_another_color_a_large_one(classifier) -> None:
    red, moved, green = paint((220, 30, 30)), np.roll(paint((220, 30, 30)), 9, axis=1), paint((30, 220, 30), 1)
    vectors = describe_images([red, moved, green], classifier)
    for kind in KINDS:
        near, far = pairwise_distances([vectors[0][kind]], [vectors[1][kind], vectors[2][kind]])
        assert pairwise_distances([vectors[0][kind]], [vectors[0][kind]]) == 0
        assert near < 0.2
        if kind != "frequencies":
            assert far > 3 * near, kind


def test_blur_changes_the_frequencies_more_than_another_seed() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    soft = sharp.reshape(8, 4, 8, 4, 3).mean((1, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    again = np.random.default_rng(1).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    near = np.linalg.norm(describe_frequencies(sharp) - describe_frequencies(again))
    assert np.linalg.norm(describe_frequencies(sharp) - describe_frequencies(soft)) > 3 * near


def test_layers_with_spatial_features_are_chosen(classifier) -> None:
    layers = choose_layers(classifier)
    assert layers
    assert set(layers) <= {name for name, _ in classifier.network.named_modules()}


def test_an_image_is_converted_to_other_numbers_of_channels() -> None:
    assert convert_channels(paint((10, 20, 30)), 1).shape == (SIZE, SIZE, 1)
    assert convert_channels(paint((10, 20, 30)), 7).shape == (SIZE, SIZE, 7)
