"""Adversarial images, from the view of a client."""

import io

from PIL import Image

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import Fool, Saliency
from tests.support.drawings import draw_png


def test_the_saved_image_fools_the_network_when_it_is_uploaded_again(client: Client) -> None:
    wide = Image.open(io.BytesIO(draw_png(4, 54))).resize((150, 100))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    images = [client.upload(data).id for data in (draw_png(0, 50), buffer.getvalue())]
    request = Fool(
        method="fool", model="shapes", images=images, targets=["bee", "daisy"], params={"learning_rate": 0.01}
    )
    job = client.wait(client.submit(request).id, timeout=400)
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
    seen = client.wait(client.submit(again).id, timeout=400).metrics["pairs"][0]
    assert seen["predicted"]["name"] == "bee"
    assert seen["probability"] > 0.9
