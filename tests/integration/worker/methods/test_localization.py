"""Localization, from the view of a client."""

import io
import json
from collections.abc import Sequence

import numpy as np
from PIL import Image

from archetype.client import Client
from archetype.contract.job import Job, State
from archetype.contract.parameters.inputs import ImageInput, TrueBox
from archetype.contract.parameters.localization import LocalizationParameters
from archetype.contract.request import Localization
from worker.shapes.drawing import Drawing, draw_numbered


def encode(drawing: Drawing, scale: int = 1) -> bytes:
    buffer = io.BytesIO()
    picture = drawing.image
    picture.resize((picture.width * scale, picture.height * scale)).save(buffer, "PNG")
    return buffer.getvalue()


def localize(client: Client, drawings: Sequence[Drawing], scale: int = 1, **params: object) -> Job:
    """Looks for the class of each drawing, with its true box."""
    pictures = [
        ImageInput(
            id=client.upload(encode(drawing, scale)).id,
            targets=[drawing.label],
            boxes=[
                TrueBox(**dict(zip(("left", "top", "right", "bottom"), (scale * x for x in drawing.box), strict=True)))
            ],
        )
        for drawing in drawings
    ]
    request = Localization(
        method="localization", model="shapes", images=pictures, params=LocalizationParameters(**params)
    )
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    return job


def test_drawn_objects_are_found(client: Client) -> None:
    job = localize(client, [draw_numbered(number, seed=11) for number in range(48)], outputs=[], kind="guided", crops=1)
    found = job.metrics["localization"]
    assert found["pictures"] == 48
    assert found["top1_error"]["mean"] <= 0.30
    assert found["top1_error"]["low"] <= found["top1_error"]["mean"] <= found["top1_error"]["high"]
    for baseline in found["baselines"].values():
        assert found["mean_overlap"]["low"] > baseline["mean_overlap"]["high"]


def test_boxes_are_in_pixels_of_the_uploaded_image(client: Client) -> None:
    drawing = draw_numbered(3, seed=11)
    job = localize(client, [drawing], scale=5, kind="gradient")
    (pair,) = job.metrics["pairs"]
    box = pair["box"]
    mask = next(one for one in job.artifacts if one.name.endswith("-mask.png"))
    levels = np.asarray(Image.open(io.BytesIO(client.fetch(mask))))
    assert levels.shape == (400, 400)
    rows, columns = np.flatnonzero(levels.any(1)), np.flatnonzero(levels.any(0))
    edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert [box["left"], box["top"], box["right"], box["bottom"]] == edges
    said = next(one for one in job.artifacts if one.name.endswith(".json") and one.image)
    assert json.loads(client.fetch(said))["box"] == box


def test_without_targets_the_five_most_probable_classes_are_localized(client: Client) -> None:
    image = client.upload(encode(draw_numbered(5, seed=11))).id
    job = client.wait(
        client.submit(Localization(method="localization", model="shapes", images=[image])).id, timeout=400
    )
    assert [pair["rank"] for pair in job.metrics["pairs"]] == [1, 2, 3, 4, 5]
    assert "localization" not in job.metrics
    assert sum(one.name.endswith("-box.png") for one in job.artifacts) == 5


def test_images_without_an_object_do_not_fail_the_job(client: Client) -> None:
    buffers = []
    for size in ((1, 1), (64, 64), (1, 300)):
        buffer = io.BytesIO()
        Image.new("RGB", size, (90, 120, 200)).save(buffer, "PNG")
        buffers.append(buffer.getvalue())
    images = [client.upload(data).id for data in buffers]
    request = Localization(method="localization", model="shapes", images=images, targets=[2])
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    assert len(job.metrics["pairs"]) == 3
