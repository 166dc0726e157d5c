"""Class models are told apart by what is in them, and not by where it is."""

import numpy as np
import pytest
import torch

from tests.networks import Small, seeded
from worker.audit.appearance import KINDS, bring_to, choose_layers, describe, describe_frequencies, distances
from worker.engine.classifier import open_classifier

SIZE = 32


@pytest.fixture(scope="module")
def classifier():
    still = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **still) as opened:
        yield opened


def paint(colour: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-20, 20, (SIZE, SIZE, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def test_what_is_moved_stays_near_and_what_is_repainted_goes_far(classifier) -> None:
    red, moved, green = paint((220, 30, 30)), np.roll(paint((220, 30, 30)), 9, axis=1), paint((30, 220, 30), 1)
    told = describe([red, moved, green], classifier)
    for kind in KINDS:
        near, far = distances([told[0][kind]], [told[1][kind], told[2][kind]])
        assert distances([told[0][kind]], [told[0][kind]]) == 0
        assert near < 0.2
        if kind != "frequencies":
            assert far > 3 * near, kind


def test_blur_is_seen_in_the_frequencies() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    soft = sharp.reshape(8, 4, 8, 4, 3).mean((1, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    again = np.random.default_rng(1).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    near = np.linalg.norm(describe_frequencies(sharp) - describe_frequencies(again))
    assert np.linalg.norm(describe_frequencies(sharp) - describe_frequencies(soft)) > 3 * near


def test_layers_with_places_are_chosen_by_themselves(classifier) -> None:
    layers = choose_layers(classifier)
    assert layers
    assert set(layers) <= {name for name, _ in classifier.network.named_modules()}


def test_a_picture_is_brought_to_other_channels() -> None:
    assert bring_to(paint((10, 20, 30)), 1).shape == (SIZE, SIZE, 1)
    assert bring_to(paint((10, 20, 30)), 7).shape == (SIZE, SIZE, 7)
