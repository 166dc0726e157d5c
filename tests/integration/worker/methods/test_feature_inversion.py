"""Feature inversion, from the view of a client."""

from archetype.client import Client
from archetype.contract.job import State
from archetype.contract.request import FeatureInversion
from tests.support.drawings import draw_png


def test_early_layers_reconstruct_the_image_better_than_late_ones(client: Client) -> None:
    images = [client.upload(draw_png(label, 50)).id for label in (0, 4)]
    params = {"layers": ["features.0", "features.3"], "steps": 100}
    request = FeatureInversion(method="feature_inversion", model="shapes", images=images, params=params)
    job = client.wait(client.submit(request).id, timeout=400)
    assert job.state is State.SUCCEEDED, job.error
    for picture in job.metrics["pictures"]:
        early, late = picture["layers"]
        assert (early["layer"], late["layer"]) == ("features.0", "features.3")
        assert early["distance"] < 0.02
        assert late["distance"] < 0.2
    kinds = {artifact.name.rpartition(".")[2] for artifact in job.artifacts}
    assert kinds == {"png", "gif", "webp", "npz", "json"}
