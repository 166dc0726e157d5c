"""Class models, from the view of a client."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from archetype.client import Client
from archetype.contract.job import Artifact, Job, State
from archetype.contract.request import ClassModel, ClassModelParameters

TEN = ["lemon", "cup", "flamingo", "goldfish", "dumbbell", "bell pepper", "ostrich", "tarantula", "pirate", "zebra"]


def draw(client: Client, targets: Any, *, model: str = "shapes", timeout: float = 60, **params: Any) -> Job:
    """A finished job of class models."""
    parameters = ClassModelParameters.model_validate(params)
    request = ClassModel(method="class_model", model=model, targets=targets, params=parameters)
    return client.wait(client.submit(request).id, timeout=timeout)


def ranks(job: Job) -> list[int]:
    return [measured["rank"] for measured in job.metrics["targets"]]


def find(job: Job, name: str) -> Artifact:
    return next(artifact for artifact in job.artifacts if artifact.name == name)


def open_picture(client: Client, job: Job, name: str) -> Image.Image:
    return Image.open(io.BytesIO(client.fetch(find(job, name))))


def test_the_network_recognizes_its_own_class_models(client: Client) -> None:
    job = draw(client, "all", timeout=120)
    assert job.state is State.SUCCEEDED
    assert ranks(job) == [1] * 12
    assert job.metrics["summary"]["self"]["top1"] == 1


@pytest.mark.parametrize(
    "params",
    [
        {"transforms": [], "regularizers": [{"kind": "l2", "weight": 0.0005}]},
        {"preset": "simonyan2013", "learning_rate": 1, "regularizers": [{"kind": "l2", "weight": 0.002}]},
        {"preset": "torchbearer", "regularizers": [{"kind": "l1", "weight": 0.0002}]},
        {"preset": "pytorch_cnn_visualizations_blurred"},
        {"preset": "timm_vis", "regularizers": []},  # both presets' own regularizers are too strong here
        {"preset": "keras_vis", "regularizers": []},
        {"preset": "lucid"},
        {"preset": "maco", "canvas": [160, 160], "views": 2, "transforms": [{"kind": "box", "side": [0.8, 1]}]},
        {"image": "pixels", "optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1, "transforms": []},
        {"image": "bounded", "start": "mean", "regularizers": [{"kind": "total_variation", "weight": 1e-4}]},
        {"octaves": 2, "views": 2, "schedule": {"kind": "cosine", "warm_up": 5}},
        {"transforms": [{"kind": "pad", "pixels": 4}, {"kind": "crop"}], "start": "uniform", "keep": "best"},
        {"objective": [{"kind": "score"}, {"kind": "probability", "weight": 3}]},
    ],
    ids=str,
)
def test_every_recipe_reaches_the_class(client: Client, params: dict[str, Any]) -> None:
    job = draw(client, ["strawberry", "bee"], **{"steps": 100, **params})
    assert job.state is State.SUCCEEDED, job.error
    assert ranks(job) == [1, 1]


def test_the_same_request_twice_gives_the_same_bytes(client: Client) -> None:
    one, two, other = (draw(client, ["daisy", "die"], steps=20, seeds=[seed]) for seed in (5, 5, 6))
    assert {a.name: a.sha256 for a in one.artifacts} == {a.name: a.sha256 for a in two.artifacts}
    assert other.artifacts[0].sha256 != one.artifacts[0].sha256


def test_the_canvas_is_as_large_as_asked(client: Client) -> None:
    sizes = {
        name: open_picture(client, draw(client, ["bee"], steps=4, **params), "0007-bee.png").size
        for name, params in {"default": {}, "wide": {"canvas": [96, 160]}, "plain": {"transforms": []}}.items()
    }
    assert sizes == {"default": (91, 91), "wide": (160, 96), "plain": (80, 80)}


def test_a_job_saves_images_floats_animations_stills_and_curves(client: Client) -> None:
    job = draw(client, ["bee"], steps=30, frames=6, stills_every=10)
    assert {artifact.name for artifact in job.artifacts} == {
        "0007-bee.png", "0007-bee.npz", "0007-bee.gif", "0007-bee.webp", "0007-bee-curve.png",
        "0007-bee-step-00010.png", "0007-bee-step-00020.png", "contact-sheet.png", "metrics.json",
    }  # fmt: skip
    saved = np.asarray(open_picture(client, job, "0007-bee.png"))
    floats = np.load(io.BytesIO(client.fetch(find(job, "0007-bee.npz"))))
    assert np.abs(floats["picture"].transpose(1, 2, 0) * 255 - saved).max() <= 0.501
    assert floats["curve"].shape == (30,)
    assert floats["curve"][-1] > floats["curve"][0]
    for name in ("0007-bee.gif", "0007-bee.webp"):
        with open_picture(client, job, name) as animation:
            assert (animation.n_frames, animation.size) == (6, (91, 91))
            animation.seek(5)
            assert np.abs(np.asarray(animation.convert("RGB")).astype(int) - saved).mean() < 12
    curves = json.loads(client.fetch(find(job, "metrics.json")))["curves"]
    assert curves["0007-bee"][0] == pytest.approx(floats["curve"].tolist())


def test_the_best_of_several_candidates_comes_first(client: Client) -> None:
    job = draw(client, ["bee", "die"], steps=12, seeds=[3, 4, 5], extras=False)
    for measured in job.metrics["targets"]:
        tries = measured["tries"]
        assert sorted(one["seed"] for one in tries) == [3, 4, 5]
        assert tries == sorted(tries, key=lambda one: (one["rank"], -one["score"]))
        assert measured["seed"] == tries[0]["seed"]
    assert [a.name for a in job.artifacts if a.target and a.target.name == "bee"] == [
        "0007-bee.png", "0007-bee-2.png", "0007-bee-3.png",
    ]  # fmt: skip


def test_evaluators_predict_the_class_models(client: Client, models: Path) -> None:
    job = draw(client, ["cat", "ship"], model="resnet20", steps=60, judges=["resnet32", "resnet56"])
    assert set(job.metrics["summary"]) == {"self", "resnet32@1", "resnet56@1"}
    for measured in job.metrics["targets"]:
        assert set(measured["judges"]) == {"resnet32@1", "resnet56@1"}
        assert 0 <= measured["judges"]["resnet56@1"]["probability"] <= 1
    assert set(job.provenance["judges"]) == {"resnet32@1", "resnet56@1"}


def test_an_ascent_stops_early_at_its_probability(client: Client) -> None:
    job = draw(client, ["bee", "lemon"], steps=400, stop_probability=0.9, check_every=5, extras=False)
    assert {measured["stopped"] for measured in job.metrics["targets"]} == {"probability"}
    assert all(0 < measured["steps"] < 400 for measured in job.metrics["targets"])
    assert ranks(job) == [1, 1]


def test_an_ascent_can_start_from_an_image(client: Client) -> None:
    lemon = client.upload(Path("deploy/pictures/lemon.png").read_bytes())
    plain = {"transforms": [], "start": "picture", "start_image": lemon.id, "extras": False}
    near = draw(client, ["bee"], steps=1, learning_rate=1e-4, image="bounded", regularizers=[], **plain)
    started = np.asarray(open_picture(client, near, "0007-bee.png")).astype(int)
    given = np.asarray(Image.open("deploy/pictures/lemon.png").convert("RGB").resize((80, 80))).astype(int)
    assert np.abs(started - given).mean() < 3
    assert ranks(draw(client, ["bee"], steps=60, **plain)) == [1]


def test_a_channel_of_a_layer_can_be_the_objective(client: Client) -> None:
    layers = [layer["name"] for layer in client.model("shapes")["layers"] if len(layer["shape"] or []) == 3]
    job = draw(client, ["bee"], steps=20, objective=[{"kind": "channel", "layer": layers[3], "channel": 2}])
    curve = np.load(io.BytesIO(client.fetch(find(job, "0007-bee.npz"))))["curve"]
    assert curve[-1] > curve[0]


def test_a_neuron_that_does_not_exist_fails_the_job_with_advice(client: Client) -> None:
    layers = [layer["name"] for layer in client.model("shapes")["layers"] if len(layer["shape"] or []) == 3]
    unit = {"kind": "neuron", "layer": layers[3], "channel": 1, "row": 500}
    job = draw(client, ["bee"], steps=5, objective=[unit])
    assert (job.state, job.error.type) == (State.FAILED, "/problems/invalid-request")
    assert "there is no unit 500" in job.error.detail


def test_class_models_of_one_and_of_seven_channels_are_saved(client: Client) -> None:
    for model, size in (("grey", (28, 28)), ("multispectral", (7 * 28, 40))):
        job = draw(client, ["two"], model=model, steps=30, transforms=[], regularizers=[])
        assert job.state is State.SUCCEEDED, job.error
        curve = np.load(io.BytesIO(client.fetch(find(job, "0001-two.npz"))))["curve"]
        assert curve[-1] > curve[0]
        assert open_picture(client, job, "0001-two.png").size == size


def test_a_flat_image_is_a_failure_and_never_a_result(client: Client) -> None:
    job = draw(client, [0], steps=1, learning_rate=1e-6)
    assert (job.state, job.error.type, job.artifacts) == (State.FAILED, "/problems/dead-target", [])
    assert "learning_rate" in job.error.detail


def test_provenance_names_request_plan_versions_and_weights(client: Client) -> None:
    job = draw(client, ["bee"], steps=3, preset="torchbearer")
    assert job.provenance["request"]["params"]["image"] == "bounded"
    assert job.provenance["plan"]["precision"] in ("float32", "bfloat16")
    assert {"archetype", "torch", "numpy", "pillow"} <= set(job.provenance["versions"])
    assert len(job.provenance["model"]["sha256"]) == 64


def test_squeezenet_recognizes_its_class_models_of_ten_imagenet_classes(client: Client, models: Path) -> None:
    job = draw(client, list(TEN), model="squeezenet", timeout=280, steps=32)
    assert job.state is State.SUCCEEDED
    assert sum(rank == 1 for rank in ranks(job)) >= 9
    pictures = [
        client.fetch(a) for a in job.artifacts if a.target and a.name.endswith(f"{a.target.name.split()[0]}.png")
    ]
    assert all(np.asarray(Image.open(io.BytesIO(picture))).std() > 5 for picture in pictures)
