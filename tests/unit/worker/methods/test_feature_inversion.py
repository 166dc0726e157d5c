"""`feature_inversion`: distances, regularizers and batches."""

import numpy as np
import pytest

from tests.support.networks import Small, seeded
from tests.support.run_method import noise, work


def test_an_inversion_does_not_depend_on_the_rest_of_its_batch() -> None:
    pictures = [noise(16, 16, seed=seed) for seed in range(3)]
    params = {"steps": 8, "layers": ["features.0", "features.4", "classifier"]}
    many = work(seeded(Small), {"method": "feature_inversion", "params": params}, pictures, batch=9)
    alone = work(
        seeded(Small), {"method": "feature_inversion", "params": params | {"layers": ["features.4"]}}, pictures[:1]
    )
    name = "000000000000-features-4.png"
    assert np.array_equal(many.pixels(name), alone.pixels(name))
    assert len(many.metrics["pictures"]) == 3


def test_the_distance_is_that_of_the_saved_image() -> None:
    picture = noise(16, 16, seed=2)
    params = {"steps": 150, "layers": ["features.0"], "image": "pixels", "learning_rate": 0.1}
    result = work(seeded(Small), {"method": "feature_inversion", "params": params}, [picture])
    said = result.metrics["pictures"][0]["layers"][0]["distance"]
    maps = [
        work(seeded(Small), {"method": "activations", "params": {"layers": ["features.0"], "channels": "first"}}, [one])
        .arrays("000000000000-features-0.npz")["maps"]
        for one in (picture, result.pixels("000000000000-features-0.png"))
    ]  # fmt: skip
    assert said == pytest.approx(np.square(maps[1] - maps[0]).sum() / np.square(maps[0]).sum(), rel=1e-3)
    assert said < 0.1


def test_the_alpha_norm_keeps_values_small() -> None:
    body = {"method": "feature_inversion", "params": {"steps": 60, "layers": ["features.4"], "image": "pixels"}}
    heavy = {"params": body["params"] | {"alpha_norm": {"weight": 0.01, "alpha": 6}}}
    free, held = (work(seeded(Small), one, [noise(16, 16)]) for one in (body, body | heavy))
    spans = [np.abs(one.arrays("000000000000-features-4.npz")["picture"] - 0.45).max() for one in (free, held)]
    assert spans[1] < 0.7 * spans[0]
