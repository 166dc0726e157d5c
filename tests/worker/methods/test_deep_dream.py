"""Pictures with more of what a layer sees in them."""

import numpy as np
import pytest
from pydantic import ValidationError

from shared.client import Client
from shared.jobs import State
from shared.methods import REQUEST, DeepDream
from tests.networks import Small, seeded
from tests.tasks import noise, work
from tests.worker.methods.test_saliency import drawn

WISHES = [
    {"kind": "norm"}, {"kind": "norm", "layer": "features.0"}, {"kind": "channel", "layer": "features.4", "channel": 3},
]  # fmt: skip


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: "-".join(map(str, wish.values())))
def test_what_is_wished_for_becomes_more(wish: dict[str, object]) -> None:
    params = {"objective": wish, "side": 48, "jitter": 0}
    result = work(seeded(Small), {"method": "deep_dream", "params": params}, [noise(30, 60), noise(64, 20, seed=1)])
    for pair in result.metrics["pairs"]:
        assert pair["after"] > pair["before"]
    sizes = {result.pixels(name).shape[:2] for name in result.files if name.startswith("0") and name.endswith(".png")}
    assert {(24, 48), (48, 15)} <= sizes


def test_classes_are_dreamt_each_into_its_own_picture(client: Client) -> None:
    image = client.upload(drawn(2, 3)).id
    params = {"objective": {"kind": "class"}, "side": 80}
    request = DeepDream(method="deep_dream", model="shapes", images=[image], targets=["bee", "daisy"], params=params)
    job = client.wait(client.submit(request).id, timeout=120)
    assert job.state is State.SUCCEEDED, job.error
    for pair in job.metrics["pairs"]:
        assert pair["after"] > pair["before"] + 0.5
        assert pair["verdict"]["probability"] > pair["probability"]
    names = {artifact.name.rpartition("-")[2] for artifact in job.artifacts if artifact.target}
    assert {"bee.png", "daisy.gif"} <= names


def test_a_dream_is_the_same_alone_and_in_company() -> None:
    pictures = [noise(40, 40, seed=seed) for seed in range(4)] + [noise(20, 40)]
    params = {"side": 40, "octaves": 2, "steps": 6, "objective": {"kind": "norm", "layer": "features.4"}}
    body = {"method": "deep_dream", "params": params}
    many, alone = work(seeded(Small), body, pictures, batch=8), work(seeded(Small), body, pictures[:1])
    name = "000000000000-features-4.png"
    assert np.array_equal(many.pixels(name), alone.pixels(name))
    assert len(many.metrics["pairs"]) == 5


def test_without_a_wish_the_picture_comes_through_every_octave_unharmed() -> None:
    picture = noise(40, 40)
    params = {"side": 40, "octaves": 4, "steps": 4, "learning_rate": 1e-9, "jitter": 0, "objective": WISHES[1]}
    result = work(seeded(Small), {"method": "deep_dream", "params": params}, [picture])
    assert np.abs(result.pixels("000000000000-features-0.png").astype(int) - picture).max() <= 1


def test_classes_and_the_objective_class_go_together() -> None:
    for change in ({"targets": [1]}, {"params": {"objective": {"kind": "class"}}}):
        with pytest.raises(ValidationError, match="go together"):
            REQUEST.validate_python({"method": "deep_dream", "model": "shapes", "images": ["0" * 64], **change})
