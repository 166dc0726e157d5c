"""Deep dreams, from the view of a client."""

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import DeepDream
from tests.support.drawings import draw_png


def test_every_target_class_gets_its_own_deep_dream(client: Client) -> None:
    image = client.upload(draw_png(2, 3)).id
    params = {"objective": {"kind": "class"}, "side": 80}
    request = DeepDream(method="deep_dream", model="shapes", images=[image], targets=["bee", "daisy"], params=params)
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    for pair in job.metrics["pairs"]:
        assert pair["after"] > pair["before"] + 0.5
        assert pair["verdict"]["probability"] > pair["probability"]
    names = {artifact.name.rpartition("-")[2] for artifact in job.artifacts if artifact.target}
    assert {"bee.png", "daisy.gif"} <= names
