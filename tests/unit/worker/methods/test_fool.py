"""`fool`: bounds, stops and batches."""

import numpy as np
import pytest

from archetype.contract.model import Preprocessing
from shared.errors import DeadTarget
from tests.support.networks import Small, seeded
from tests.support.run_method import noise, work
from worker.inputs.view import crop_levels, open_framed


@pytest.mark.parametrize(("norm", "radius"), [("linf", 4 / 255), ("linf", 0.01), ("l2", 0.5), ("l2", 0.3)])
def test_the_change_stays_within_its_bound(norm: str, radius: float) -> None:
    bound = {"kind": norm, "radius": radius}
    body = {"method": "fool", "targets": [2], "params": {"constraint": bound, "steps": 30, "min_prob": 0.99}}
    result = work(seeded(Small), body, [noise(16, 16, seed=3)])
    (pair,) = result.metrics["pairs"]
    assert pair["steps"] == 30
    assert not pair["reached"]
    assert 0.6 * radius < pair["change"][norm] <= radius + 1e-9


def test_a_pair_does_not_depend_on_the_rest_of_its_batch() -> None:
    pictures = [noise(16, 16, seed=seed) for seed in range(5)]
    body = {"method": "fool", "params": {"steps": 12, "noise": 0.02}}
    many = work(seeded(Small), body | {"targets": [1, 2, 3]}, pictures, batch=8)
    alone = work(seeded(Small), body | {"targets": [2]}, pictures[:1])
    name = "000000000000-0002-class-2.png"
    assert np.array_equal(many.pixels(name), alone.pixels(name))
    assert len(many.metrics["pairs"]) == 15


def test_the_result_depends_on_the_seed_alone() -> None:
    body = {"method": "fool", "targets": [1], "params": {"steps": 3, "noise": 0.1}}
    first, again = (work(seeded(Small), body, [noise(16, 16)]) for _ in range(2))
    other = work(seeded(Small), body | {"params": body["params"] | {"seed": 9}}, [noise(16, 16)])
    assert first.files == again.files
    assert first.files != other.files


def test_an_image_that_is_already_predicted_as_the_target_is_not_changed() -> None:
    picture = noise(16, 16, seed=1)
    found = work(seeded(Small), {"method": "saliency"}, [picture]).metrics["pairs"][0]
    params = {"min_prob": found["probability"] / 2}
    body = {"method": "fool", "targets": [found["target"]["index"]], "params": params}
    (pair,) = work(seeded(Small), body, [picture]).metrics["pairs"]
    assert (pair["steps"], pair["stopped"], pair["change"]["linf"]) == (0, "probability", 0)


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (16, 16), (17, 31), (1, 300), (500, 16)])
@pytest.mark.parametrize(
    "shape",
    [
        Preprocessing(size=(16, 16)),
        Preprocessing(size=(16, 20), resize=25),
        Preprocessing(size=(16, 16), fit="stretch"),
    ],
)
def test_a_view_that_is_put_back_is_cropped_to_the_same_pixels(size: tuple[int, int], shape: Preprocessing) -> None:
    framed = open_framed(noise(*size), shape)
    changed = noise(*shape.size, seed=9)
    assert framed.levels.shape == (*shape.size, 3)
    assert np.array_equal(crop_levels(framed.put_back(changed), shape), changed)


def test_a_network_without_a_gradient_fails_the_job_with_advice() -> None:
    network = seeded(Small)
    for weight in network.parameters():
        weight.data.zero_()
    for method, more in (("fool", {"targets": [1]}), ("feature_inversion", {"params": {"layers": ["features.0"]}})):
        with pytest.raises(DeadTarget, match=r"no gradient|has a gradient"):
            work(network, {"method": method, **more}, [noise(16, 16)])


def test_initial_noise_stays_within_the_bound() -> None:
    params = {"constraint": {"kind": "linf", "radius": 0.01}, "noise": 0.5, "min_prob": 0.01, "steps": 5}
    (pair,) = work(seeded(Small), {"method": "fool", "targets": [2], "params": params}, [noise(16, 16)]).metrics[
        "pairs"
    ]
    assert (pair["steps"], pair["stopped"]) == (0, "probability")
    assert 0 < pair["change"]["linf"] <= 0.01
