"""Layer-CAM and Score-CAM against literal loops over their equations."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.networks import Small, seeded
from worker.engine.attribution.cam.grad_cam import layer_cam
from worker.engine.attribution.cam.score_cam import score_cam


def read_features(network: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, K, h, w) of a layer, and scores (N, classes). The layer must not be followed by an in-place ReLU."""
    kept: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        scores = network(images.clone().requires_grad_())
    finally:
        handle.remove()
    return kept[0], scores


@pytest.mark.parametrize("layer", ["features.3", "features"])
def test_layer_cam_is_the_sum_of_the_features_times_their_positive_gradients(layer: str) -> None:
    network = seeded(Small).eval()
    with opened(network) as classifier:
        ours = layer_cam(classifier, IMAGES, TARGETS, layer)
        alone = layer_cam(classifier, IMAGES[2:3], TARGETS[2:3], layer)
    network.requires_grad_(requires_grad=False)
    features, scores = read_features(network, layer, IMAGES)
    (gradient,) = torch.autograd.grad(scores.gather(1, TARGETS[:, None]).sum(), features)
    for row, values in enumerate(features.detach()):
        expected = torch.zeros_like(values[0])
        for channel, weights in zip(values, gradient[row], strict=True):
            expected += torch.where(weights > 0, weights, 0) * channel
        torch.testing.assert_close(ours[row], expected.clamp_min(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone[0], ours[2], atol=1e-5, rtol=1e-5)
    assert ours.max() > 0


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_the_weight_of_a_channel_in_score_cam_is_the_score_of_what_it_shows(at_once: int) -> None:
    network = seeded(Small).eval()
    with opened(network) as classifier:
        ours = score_cam(classifier, IMAGES, TARGETS, "features", at_once=at_once)
    with torch.no_grad():
        features, _ = read_features(network, "features", IMAGES)
        for row, image in enumerate(IMAGES):
            scores = []
            for channel in features[row]:
                mask = functional.interpolate(channel[None, None], image.shape[1:], mode="bilinear")[0, 0]
                mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
                scores.append(network((image * mask)[None])[0, TARGETS[row]])
            weights = torch.stack(scores).softmax(0)
            expected = sum(weight * channel for weight, channel in zip(weights, features[row], strict=True))
            torch.testing.assert_close(ours[row], expected.clamp_min(0), atol=1e-5, rtol=1e-4)
    assert ours.max() > 0


def test_score_cam_refuses_a_layer_without_a_grid() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.ReLU(), nn.Linear(6, 3))
    with opened(network, (8, 8)) as classifier, pytest.raises(ValueError, match="no grid of features"):
        score_cam(classifier, torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), "1", at_once=4)
