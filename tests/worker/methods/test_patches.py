"""The patches that matter."""

import httpx2
import numpy as np
import pytest
import torch

from deploy.local import Stack
from shared.client import Client
from shared.jobs import State
from shared.methods import Patches
from tests.networks import Small, seeded
from tests.tasks import encode, noise, work
from tests.worker.methods.test_saliency import drawn
from worker.engine.patches import average_squares, place_squares
from worker.shapes.drawing import draw_numbered


def test_the_first_patch_lies_on_the_object(client: Client) -> None:
    hits = 0
    for number in range(6):
        drawing = draw_numbered(number, seed=11)
        image = client.upload(encode(np.asarray(drawing.picture))).id
        job = client.wait(client.submit(Patches(method="patches", model="shapes", images=[image])).id, timeout=60)
        assert job.state is State.SUCCEEDED, job.error
        best = job.metrics["pairs"][0]["patches"][0]
        left, top, right, bottom = drawing.box
        middle = (best["left"] + best["right"]) / 2, (best["top"] + best["bottom"]) / 2
        hits += left <= middle[0] <= right and top <= middle[1] <= bottom
    assert hits >= 5


def test_a_square_that_fits_no_picture_is_refused(stack: Stack, client: Client) -> None:
    image = client.upload(drawn(0, 1)).id
    body = {"method": "patches", "model": "shapes", "images": [image], "params": {"square": 81}}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["given"]) == ("/params/square", 81)
    assert "80 x 80" in error["detail"]


def test_more_squares_than_one_picture_may_have_are_refused(stack: Stack, client: Client) -> None:
    image = client.upload(encode(noise(120, 120))).id
    body = {"method": "patches", "model": "shapes", "images": [image], "params": {"square": 2, "stride": 1}}
    answer = httpx2.post(f"{stack.url}/v1/jobs", json=body)
    assert answer.status_code == 422
    assert "14161 squares" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "/params/stride"


@pytest.mark.parametrize("size", [(20, 60), (60, 20), (9, 9), (3, 200)])
def test_patches_are_cut_out_of_pictures_of_any_shape(size: tuple[int, int]) -> None:
    picture = noise(*size)
    result = work(seeded(Small), {"method": "patches", "targets": {"top": 2}}, [picture])
    assert len(result.metrics["pairs"]) == 2
    for pair in result.metrics["pairs"]:
        target = pair["target"]["index"]
        for number, patch in enumerate(pair["patches"], 1):
            cut = result.pixels(f"000000000000-{target:04d}-class-{target}-patch-{number}.png")
            assert np.array_equal(cut, picture[patch["top"] : patch["bottom"], patch["left"] : patch["right"]])
            assert cut.shape[:2] == (pair["square"], pair["square"])


def test_squares_lie_wholly_in_the_picture_in_rows() -> None:
    squares = place_squares((5, 8), 4, 2)
    assert squares.tolist() == [[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4]]
    with pytest.raises(ValueError, match="does not fit"):
        place_squares((5, 3), 4, 2)


def test_a_pixel_has_the_mean_of_the_squares_that_cover_it() -> None:
    values = average_squares(torch.tensor([1.0, 3.0]), torch.tensor([[0, 0, 2, 2], [1, 0, 3, 2]]), (3, 4))
    assert values.tolist() == [[1, 2, 3, 0], [1, 2, 3, 0], [0, 0, 0, 0]]


def test_marks_and_maps_lie_where_the_patches_do_on_a_narrow_picture() -> None:
    picture = np.full((2000, 30, 3), 200, np.uint8)
    picture[1700:1730] = noise(30, 30)
    result = work(seeded(Small), {"method": "patches", "params": {"square": 30, "stride": 30, "count": 1}}, [picture])
    (pair,) = result.metrics["pairs"]
    target = pair["target"]["index"]
    heat_map = result.pixels(f"000000000000-{target:04d}-class-{target}-heat-map.png").sum((1, 2)).astype(int)
    middle = (pair["patches"][0]["top"] + 15) * len(heat_map) / 2000
    assert abs(int(heat_map.argmax()) - middle) <= 6
