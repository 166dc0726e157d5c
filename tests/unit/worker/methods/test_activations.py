"""`activations`: channels and layers."""

import pytest
import torch

from tests.support.networks import Small, seeded
from tests.support.run_method import noise, work


def test_the_strongest_channels_come_first() -> None:
    params = {"layers": ["features.4"], "channels": "strongest", "count": 5}
    result = work(seeded(Small), {"method": "activations", "params": params}, [noise(16, 16)])
    assert result.arrays("000000000000-features-4.npz")["maps"].shape == (5, 4, 4)
    for picture in result.metrics["pictures"]:
        layer = picture["layers"]["features.4"]
        assert layer["means"] == sorted(layer["means"], reverse=True)
        assert len(set(layer["channels"])) == 5


class Listed(torch.nn.Module):
    """A network with a list that is never called, and a layer that folds places into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList([torch.nn.Conv2d(3, 5, 1)])
        self.folded = torch.nn.Identity()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.parts[0](pictures)
        return features.mean((2, 3)) + 0 * self.folded(features.flatten(0, 1)).sum()


@pytest.mark.parametrize("method", ["activations", "feature_inversion", "deep_dream"])
@pytest.mark.parametrize("layer", ["parts", "folded"])
def test_a_layer_that_gives_no_features_is_refused_by_name(method: str, layer: str) -> None:
    params = {"objective": {"kind": "norm", "layer": layer}} if method == "deep_dream" else {"layers": [layer]}
    with pytest.raises(ValueError, match=f"layer '{layer}'"):
        work(Listed(), {"method": method, "params": params}, [noise(16, 16)])
