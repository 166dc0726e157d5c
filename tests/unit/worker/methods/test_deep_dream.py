"""`deep_dream`: objectives, octaves and batches."""

import numpy as np
import pytest
from pydantic import ValidationError

from archetype.contract.request import REQUEST
from tests.support.networks import Small, seeded
from tests.support.run_method import noise, work

WISHES = [
    {"kind": "norm"}, {"kind": "norm", "layer": "features.0"}, {"kind": "channel", "layer": "features.4", "channel": 3},
]  # fmt: skip


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: "-".join(map(str, wish.values())))
def test_the_objective_is_larger_after_than_before(wish: dict[str, object]) -> None:
    params = {"objective": wish, "side": 48, "jitter": 0}
    result = work(seeded(Small), {"method": "deep_dream", "params": params}, [noise(30, 60), noise(64, 20, seed=1)])
    for pair in result.metrics["pairs"]:
        assert pair["after"] > pair["before"]
    sizes = {result.pixels(name).shape[:2] for name in result.files if name.startswith("0") and name.endswith(".png")}
    assert {(24, 48), (48, 15)} <= sizes


def test_a_deep_dream_does_not_depend_on_the_rest_of_its_batch() -> None:
    pictures = [noise(40, 40, seed=seed) for seed in range(4)] + [noise(20, 40)]
    params = {"side": 40, "octaves": 2, "steps": 6, "objective": {"kind": "norm", "layer": "features.4"}}
    body = {"method": "deep_dream", "params": params}
    many, alone = work(seeded(Small), body, pictures, batch=8), work(seeded(Small), body, pictures[:1])
    name = "000000000000-features-4.png"
    assert np.array_equal(many.pixels(name), alone.pixels(name))
    assert len(many.metrics["pairs"]) == 5


def test_an_ascent_that_changes_nothing_leaves_the_image_intact_through_every_octave() -> None:
    picture = noise(40, 40)
    params = {"side": 40, "octaves": 4, "steps": 4, "learning_rate": 1e-9, "jitter": 0, "objective": WISHES[1]}
    result = work(seeded(Small), {"method": "deep_dream", "params": params}, [picture])
    assert np.abs(result.pixels("000000000000-features-0.png").astype(int) - picture).max() <= 1


def test_targets_need_the_objective_class_and_the_other_way_round() -> None:
    for change in ({"targets": [1]}, {"params": {"objective": {"kind": "class"}}}):
        with pytest.raises(ValidationError, match="go together"):
            REQUEST.validate_python({"method": "deep_dream", "model": "shapes", "images": ["0" * 64], **change})
