"""Patches, from the view of a client."""

import httpx2
import numpy as np

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import Patches
from deploy.local import Stack
from tests.support.drawings import draw_png
from tests.support.run_method import encode, noise
from worker.shapes.drawing import draw_numbered


def test_the_first_patch_lies_on_the_object(client: Client) -> None:
    hits = 0
    for number in range(6):
        drawing = draw_numbered(number, seed=11)
        image = client.upload(encode(np.asarray(drawing.image))).id
        job = client.wait(client.submit(Patches(method="patches", model="shapes", images=[image])).id, timeout=400)
        assert job.state is State.SUCCEEDED, job.error
        best = job.metrics["pairs"][0]["patches"][0]
        left, top, right, bottom = drawing.box
        middle = (best["left"] + best["right"]) / 2, (best["top"] + best["bottom"]) / 2
        hits += left <= middle[0] <= right and top <= middle[1] <= bottom
    assert hits >= 5


def test_a_square_that_is_larger_than_the_image_is_refused(stack: Stack, client: Client) -> None:
    image = client.upload(draw_png(0, 1)).id
    body = {"method": "patches", "model": "shapes", "images": [image], "params": {"square": 81}}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["given"]) == ("/params/square", 81)
    assert "80 x 80" in error["detail"]


def test_more_squares_than_one_image_may_have_are_refused(stack: Stack, client: Client) -> None:
    image = client.upload(encode(noise(120, 120))).id
    body = {"method": "patches", "model": "shapes", "images": [image], "params": {"square": 2, "stride": 1}}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "14161 squares" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "/params/stride"
