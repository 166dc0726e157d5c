"""Pictures that fool a network, as they are saved."""

import io

import numpy as np
import pytest
from PIL import Image

from shared.catalogue import Preprocessing
from shared.client import Client
from shared.errors import DeadTarget
from shared.jobs import State
from shared.methods import Fool, Saliency
from tests.networks import Small, seeded
from tests.tasks import noise, work
from tests.worker.methods.test_saliency import drawn
from worker.view import crop_levels, open_framed


def test_the_saved_picture_fools_the_network_when_it_is_uploaded_again(client: Client) -> None:
    wide = Image.open(io.BytesIO(drawn(4, 54))).resize((150, 100))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    images = [client.upload(data).id for data in (drawn(0, 50), buffer.getvalue())]
    request = Fool(
        method="fool", model="shapes", images=images, targets=["bee", "daisy"], params={"learning_rate": 0.01}
    )
    job = client.wait(client.submit(request).id, timeout=120)
    assert job.state is State.SUCCEEDED, job.error
    assert job.metrics["summary"] == {"fooled": 1, "reached": 1}
    assert len(job.metrics["pairs"]) == 4
    for pair in job.metrics["pairs"]:
        assert pair["before"]["predicted"]["index"] != pair["target"]["index"]
        assert pair["after"]["probability"] > 0.9
        assert 0 < pair["change"]["mean"] < pair["change"]["linf"]
    saved = next(
        artifact for artifact in job.artifacts
        if artifact.name.endswith("-bee.png") and artifact.image == images[1]
    )  # fmt: skip
    again = Saliency(method="saliency", model="shapes", images=[client.upload(client.fetch(saved)).id])
    seen = client.wait(client.submit(again).id, timeout=60).metrics["pairs"][0]
    assert seen["predicted"]["name"] == "bee"
    assert seen["probability"] > 0.9


@pytest.mark.parametrize(("norm", "radius"), [("linf", 4 / 255), ("linf", 0.01), ("l2", 0.5), ("l2", 0.3)])
def test_a_bound_holds(norm: str, radius: float) -> None:
    bound = {"kind": norm, "radius": radius}
    body = {"method": "fool", "targets": [2], "params": {"bound": bound, "steps": 30, "min_prob": 0.99}}
    result = work(seeded(Small), body, [noise(16, 16, seed=3)])
    (pair,) = result.metrics["pairs"]
    assert pair["steps"] == 30
    assert not pair["reached"]
    assert 0.6 * radius < pair["change"][norm] <= radius + 1e-9


def test_a_pair_is_the_same_alone_and_in_company() -> None:
    pictures = [noise(16, 16, seed=seed) for seed in range(5)]
    body = {"method": "fool", "params": {"steps": 12, "noise": 0.02}}
    many = work(seeded(Small), body | {"targets": [1, 2, 3]}, pictures, batch=8)
    alone = work(seeded(Small), body | {"targets": [2]}, pictures[:1])
    name = "000000000000-0002-class-2.png"
    assert np.array_equal(many.pixels(name), alone.pixels(name))
    assert len(many.metrics["pairs"]) == 15


def test_a_seed_changes_the_noise_and_nothing_else_does() -> None:
    body = {"method": "fool", "targets": [1], "params": {"steps": 3, "noise": 0.1}}
    first, again = (work(seeded(Small), body, [noise(16, 16)]) for _ in range(2))
    other = work(seeded(Small), body | {"params": body["params"] | {"seed": 9}}, [noise(16, 16)])
    assert first.files == again.files
    assert first.files != other.files


def test_a_picture_that_is_the_target_already_is_left_as_it_is() -> None:
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
def test_what_is_put_back_is_seen_as_it_was(size: tuple[int, int], shape: Preprocessing) -> None:
    framed = open_framed(noise(*size), shape)
    changed = noise(*shape.size, seed=9)
    assert framed.levels.shape == (*shape.size, 3)
    assert np.array_equal(crop_levels(framed.put_back(changed), shape), changed)


def test_a_network_without_gradient_fails_the_job_with_what_to_try() -> None:
    network = seeded(Small)
    for weight in network.parameters():
        weight.data.zero_()
    for method, more in (("fool", {"targets": [1]}), ("feature_inversion", {"params": {"layers": ["features.0"]}})):
        with pytest.raises(DeadTarget, match=r"no gradient|has a gradient"):
            work(network, {"method": method, **more}, [noise(16, 16)])


def test_noise_to_begin_with_is_within_the_bound_too() -> None:
    params = {"bound": {"kind": "linf", "radius": 0.01}, "noise": 0.5, "min_prob": 0.01, "steps": 5}
    (pair,) = work(seeded(Small), {"method": "fool", "targets": [2], "params": params}, [noise(16, 16)]).metrics[
        "pairs"
    ]
    assert (pair["steps"], pair["stopped"]) == (0, "probability")
    assert 0 < pair["change"]["linf"] <= 0.01
