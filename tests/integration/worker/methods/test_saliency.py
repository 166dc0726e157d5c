"""Saliency, from the view of a client."""

import io
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.parameters.inputs import ImageInput, Top, TrueBox
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import Saliency
from archetype.errors import InvalidRequest
from tests.support.drawings import draw_png
from worker.shapes.drawing import CLASSES, draw_numbered


def test_without_targets_each_image_gets_a_map_of_its_predicted_class(client: Client) -> None:
    labels = [0, 4, 7]
    images = [client.upload(draw_png(label, 50 + label)).id for label in labels]
    job = client.wait(client.submit(Saliency(method="saliency", model="shapes", images=images)).id, timeout=400)
    assert job.state is State.SUCCEEDED
    assert [pair["target"]["name"] for pair in job.metrics["pairs"]] == [CLASSES[label] for label in labels]
    assert [pair["image"] for pair in job.metrics["pairs"]] == images
    assert sum(artifact.name.endswith("-overlay.png") for artifact in job.artifacts) == 3


def test_every_image_is_paired_with_every_target(client: Client) -> None:
    images = [client.upload(draw_png(label, 60 + label)).id for label in range(7)]
    request = Saliency(method="saliency", model="shapes", images=[*images, images[0]], targets=["lemon", 3, "bee"])
    job = client.wait(client.submit(request).id, timeout=400)
    pairs = [(pair["image"], pair["target"]["index"]) for pair in job.metrics["pairs"]]
    assert pairs == [(image, target) for image in images for target in (0, 3, 7)]
    assert (job.progress.done, job.progress.unit) == (21, "map")
    heat_map = next(
        artifact
        for artifact in job.artifacts
        if artifact.image == images[2] and artifact.target.index == 3 and artifact.name.endswith("heat-map.png")
    )
    assert Image.open(io.BytesIO(client.fetch(heat_map))).size == (80, 80)


KINDS = [
    {"kind": "gradient", "crops": 10}, {"kind": "gradient", "channels": "signed", "view": "whole"},
    {"kind": "deconvnet"}, {"kind": "guided"}, {"kind": "gradient_x_input", "gradient": "guided"},
    {"kind": "smoothgrad", "samples": 5, "gradient": "deconvnet"}, {"kind": "integrated_gradients", "steps": 4},
    {"kind": "grad_cam"}, {"kind": "grad_cam", "crops": 10}, {"kind": "occlusion", "square": 20, "stride": 20},
    {"kind": "integrated_gradients", "steps": 4, "baseline": "uniform"}, {"kind": "layer_cam"}, {"kind": "score_cam"},
    {"kind": "rise", "masks": 20}, {"kind": "kernel_shap", "masks": 20, "cells": 3, "target_minus": "daisy"},
    {"kind": "gradient", "target_minus": "daisy"},
]  # fmt: skip


def test_a_figure_has_a_color_bar_and_the_metrics_give_its_unit(client: Client) -> None:
    image = client.upload(draw_png(4, 54)).id
    params = {"kind": "occlusion", "square": 40, "stride": 40, "outputs": ["figure"], "color_limit": 7.5}
    request = Saliency(method="saliency", model="shapes", images=[image], targets=["lemon"], params=params)
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    (pair,) = job.metrics["pairs"]
    assert pair["scale"].items() >= {"limit": 7.5, "unit": "score", "has_sign": True}.items()
    (figure,) = [artifact for artifact in job.artifacts if artifact.name.endswith("-figure.png")]
    assert Image.open(io.BytesIO(client.fetch(figure))).size == (688, 294)


@pytest.mark.parametrize("params", KINDS, ids=lambda params: "-".join(map(str, params.values())))
def test_every_kind_computes_maps_of_images_of_any_shape(client: Client, params: dict[str, Any]) -> None:
    wide = Image.open(io.BytesIO(draw_png(0, 3))).resize((160, 90))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    images = [client.upload(data).id for data in (draw_png(4, 54), buffer.getvalue())]
    request = Saliency(method="saliency", model="shapes", images=images, targets=Top(top=2), params=params)
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    assert len(job.metrics["pairs"]) == 4
    raw = next(one for one in job.artifacts if one.image == images[1] and one.name.endswith(".npz"))
    with np.load(io.BytesIO(client.fetch(raw))) as maps:
        assert maps["picture"].shape == (90, 160)
        assert maps["picture"].dtype == np.float32
        larger = params.get("crops") == 10
        assert maps["view"].shape == ((91, 91) if larger else (80, 80))
        assert np.isfinite(maps["view"]).all()
        assert maps["view"].any()
        whole = params.get("view") == "whole"
        assert maps["area"] == pytest.approx([0, 0, 160, 90] if whole else [35, 0, 125, 90], abs=0.6)


def test_maps_in_bfloat16_are_compared_with_float32(client: Client) -> None:
    request = Saliency(
        method="saliency", model="shapes", images=[client.upload(draw_png(4, 54)).id],
        params=SaliencyParameters(precision="bfloat16"),
    )  # fmt: skip
    job = client.wait(client.submit(request).id, timeout=400)
    assert 0.5 < job.metrics["agreement_with_float32"]["least"] < 1


def test_a_map_of_many_passes_is_cancelled_between_passes(client: Client) -> None:
    params = SaliencyParameters(kind="smoothgrad", samples=500)
    images = [client.upload(draw_png(label, 90 + label)).id for label in range(6)]
    job_id = client.submit(Saliency(method="saliency", model="slow", images=images, params=params)).id
    for job in client.watch(job_id, timeout=30):
        if job.state is State.RUNNING:
            break
    time.sleep(2)
    client.cancel(job_id)
    asked = time.monotonic()
    assert client.wait(job_id, timeout=400).state is State.CANCELLED
    assert time.monotonic() - asked < 3


def test_maps_have_the_metrics_that_the_request_asks_for(client: Client) -> None:
    drawings = [draw_numbered(number, seed=11) for number in range(6)]
    pictures = []
    for drawing in drawings:
        buffer = io.BytesIO()
        drawing.image.save(buffer, "PNG")
        edges = dict(zip(("left", "top", "right", "bottom"), map(float, drawing.box), strict=True))
        image = client.upload(buffer.getvalue()).id
        pictures.append(ImageInput(id=image, targets=[drawing.label], boxes=[TrueBox(**edges)]))
    metrics = ["deletion", "insertion", "pointing", "randomization"]
    params = SaliencyParameters(kind="guided", metrics=metrics)
    request = Saliency(method="saliency", model="shapes", images=pictures, params=params)
    job = client.wait(client.submit(request).id, timeout=400)
    found = job.metrics["measures"]
    assert set(found) == {"deletion_auc", "insertion_auc", "pointing", "randomized_rank_correlation"}
    assert found["deletion_auc"]["mean"] < found["insertion_auc"]["mean"]
    assert found["pointing"]["mean"] > 0.8
    assert abs(found["randomized_rank_correlation"]["mean"]) < 0.6
    assert all(set(found) <= set(pair) for pair in job.metrics["pairs"])
    assert any(one.name == "measures.png" for one in job.artifacts)


def test_each_image_may_have_its_own_targets(client: Client) -> None:
    images = [client.upload(draw_png(label, 70 + label)).id for label in (0, 4)]
    request = Saliency(
        method="saliency", model="shapes", images=[ImageInput(id=images[0], targets=["bee", 1]), images[1]], targets=[2]
    )
    job = client.wait(client.submit(request).id, timeout=400)
    pairs = [(pair["image"], pair["target"]["index"]) for pair in job.metrics["pairs"]]
    assert pairs == [(images[0], 7), (images[0], 1), (images[1], 2)]
    assert job.progress.total == 3


def test_guided_backpropagation_is_refused_for_a_network_without_relu(client: Client) -> None:
    image = client.upload(draw_png(4, 54)).id

    def request(kind: str) -> Saliency:
        params = SaliencyParameters.model_validate({"kind": kind})
        return Saliency(method="saliency", model="slow", images=[image], params=params)

    job = client.wait(client.submit(request("gradient")).id, timeout=400)  # the first job of a release tries it
    assert job.state is State.SUCCEEDED, job.error
    with pytest.raises(InvalidRequest, match="no ReLU"):
        client.submit(request("guided"))
