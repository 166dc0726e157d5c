"""Pictures made again from features."""

import numpy as np
import pytest

from shared.client import Client
from shared.jobs import State
from shared.methods import FeatureInversion
from tests.networks import Small, seeded
from tests.tasks import noise, work
from tests.worker.methods.test_saliency import drawn


def test_early_layers_give_the_picture_back_and_later_ones_less_of_it(client: Client) -> None:
    images = [client.upload(drawn(label, 50)).id for label in (0, 4)]
    params = {"layers": ["features.0", "features.3"], "steps": 100}
    request = FeatureInversion(method="feature_inversion", model="shapes", images=images, params=params)
    job = client.wait(client.submit(request).id, timeout=120)
    assert job.state is State.SUCCEEDED, job.error
    for picture in job.metrics["pictures"]:
        early, late = picture["layers"]
        assert (early["layer"], late["layer"]) == ("features.0", "features.3")
        assert early["distance"] < 0.02
        assert late["distance"] < 0.2
    kinds = {artifact.name.rpartition(".")[2] for artifact in job.artifacts}
    assert kinds == {"png", "gif", "webp", "npz", "json"}


def test_layers_and_pictures_share_batches_and_do_not_notice() -> None:
    pictures = [noise(16, 16, seed=seed) for seed in range(3)]
    params = {"steps": 8, "layers": ["features.0", "features.4", "classifier"]}
    many = work(seeded(Small), {"method": "feature_inversion", "params": params}, pictures, batch=9)
    alone = work(
        seeded(Small), {"method": "feature_inversion", "params": params | {"layers": ["features.4"]}}, pictures[:1]
    )
    name = "000000000000-features-4.png"
    assert np.array_equal(many.pixels(name), alone.pixels(name))
    assert len(many.metrics["pictures"]) == 3


def test_the_distance_is_that_of_the_saved_picture() -> None:
    picture = noise(16, 16, seed=2)
    params = {"steps": 150, "layers": ["features.0"], "image": "pixels", "learning_rate": 0.1}
    result = work(seeded(Small), {"method": "feature_inversion", "params": params}, [picture])
    said = result.metrics["pictures"][0]["layers"][0]["distance"]
    maps = [
        work(seeded(Small), {"method": "activations", "params": {"layers": ["features.0"], "channels": "first"}}, [one])
        .arrays("000000000000-features-0.npz")["maps"]
        for one in (picture, result.pixels("000000000000-features-0.png"))
    ]  # fmt: skip
    assert said == pytest.approx(np.square(maps[1] - maps[0]).sum() / np.square(maps[0]).sum(), rel=1e-3)
    assert said < 0.1


def test_the_alpha_norm_holds_large_values() -> None:
    body = {"method": "feature_inversion", "params": {"steps": 60, "layers": ["features.4"], "image": "pixels"}}
    heavy = {"params": body["params"] | {"alpha_norm": {"weight": 0.01, "alpha": 6}}}
    free, held = (work(seeded(Small), one, [noise(16, 16)]) for one in (body, body | heavy))
    spans = [np.abs(one.arrays("000000000000-features-4.npz")["picture"] - 0.45).max() for one in (free, held)]
    assert spans[1] < 0.7 * spans[0]
