"""Class models, as a client gets them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.client import Client
from shared.jobs import State
from shared.methods import ClassModel, ClassModelParameters

TEN = ["lemon", "cup", "flamingo", "goldfish", "dumbbell", "bell pepper", "ostrich", "tarantula", "pirate", "zebra"]


def test_the_network_recognises_every_class_model_of_its_own(client: Client) -> None:
    job = client.wait(client.submit(ClassModel(method="class_model", model="shapes", targets="all")).id, timeout=120)
    assert job.state is State.SUCCEEDED
    assert [measured["rank"] for measured in job.metrics["targets"]] == [1] * 12
    assert len(job.artifacts) == 14


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"scale": [1, 1], "rotation": 0, "l2": 0.0005},
        {"optimizer": "sgd", "image": "pixels", "start": "zero", "learning_rate": 1.0},
        {"optimizer": "sgd", "image": "pixels", "start": "noise", "learning_rate": 20.0, "add_mean": False},
        {"optimizer": "adam", "image": "pixels", "start": "mean", "learning_rate": 0.02},
        {"optimizer": "adam", "image": "bounded", "start": "mean", "l2": 0.0},
    ],
)
def test_every_way_of_climbing_reaches_the_class(client: Client, params: dict[str, object]) -> None:
    plain = {"scale": [1, 1], "rotation": 0, "l2": 0.0002} if "image" in params else {}
    parameters = ClassModelParameters.model_validate({"steps": 100, **plain, **params})
    request = ClassModel(method="class_model", model="shapes", targets=["strawberry", "bee"], params=parameters)
    job = client.wait(client.submit(request).id, timeout=60)
    assert [measured["rank"] for measured in job.metrics["targets"]] == [1, 1]


def test_the_same_request_twice_gives_the_same_bytes(client: Client) -> None:
    request = ClassModel(
        method="class_model", model="shapes", targets=["daisy", "die"], params=ClassModelParameters(steps=20, seed=5)
    )
    one, two = (client.wait(client.submit(request).id, timeout=60) for _ in range(2))
    assert {a.name: a.sha256 for a in one.artifacts} == {a.name: a.sha256 for a in two.artifacts}
    other = request.model_copy(update={"params": ClassModelParameters(steps=20, seed=6)})
    assert client.wait(client.submit(other).id, timeout=60).artifacts[0].sha256 != one.artifacts[0].sha256


def test_the_canvas_is_as_large_as_asked(client: Client) -> None:
    sizes = {}
    for name, params in {
        "default": ClassModelParameters(steps=4),
        "wide": ClassModelParameters(steps=4, canvas=(96, 160)),
        "plain": ClassModelParameters(steps=4, scale=(1, 1), rotation=0),
    }.items():
        request = ClassModel(method="class_model", model="shapes", targets=["bee"], params=params)
        job = client.wait(client.submit(request).id, timeout=60)
        sizes[name] = Image.open(io.BytesIO(client.fetch(job.artifacts[0]))).size
    assert sizes == {"default": (91, 91), "wide": (160, 96), "plain": (80, 80)}


def test_a_flat_picture_is_a_failure_and_never_a_result(client: Client) -> None:
    params = ClassModelParameters(steps=1, learning_rate=1e-6)
    job = client.wait(
        client.submit(ClassModel(method="class_model", model="shapes", targets=[0], params=params)).id, timeout=60
    )
    assert (job.state, job.error.type, job.artifacts) == (State.FAILED, "/problems/dead-target", [])
    assert "learning_rate" in job.error.detail


def test_ten_imagenet_classes_are_what_squeezenet_says_they_are(client: Client, models: Path) -> None:
    params = ClassModelParameters(steps=64)
    request = ClassModel(method="class_model", model="squeezenet", targets=list(TEN), params=params)
    job = client.wait(client.submit(request).id, timeout=280)
    assert job.state is State.SUCCEEDED
    measured = json.loads(client.fetch(next(a for a in job.artifacts if a.name == "metrics.json")))["targets"]
    assert sum(target["rank"] == 1 for target in measured) >= 9
    pictures = [client.fetch(artifact) for artifact in job.artifacts if artifact.target]
    assert len(pictures) == 10
    assert all(np.asarray(Image.open(io.BytesIO(picture))).std() > 5 for picture in pictures)
