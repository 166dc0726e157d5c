"""Grad-CAM against Captum's, and on the tokens of transformers."""

import pytest
import torch
from torch import nn

from tests.attributions import PICTURES, TARGETS, opened
from tests.networks import Small, seeded
from worker.engine.saliency.grad_cam import find_layer, grad_cam, to_grid
from worker.engine.torchvision_import import import_torchvision


@pytest.mark.parametrize("layer", ["features.0", "features.4", "features"])
def test_it_equals_captums(layer: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is what is compared with")
    network = seeded(Small)
    with opened(network) as classifier:
        ours = grad_cam(classifier, PICTURES, TARGETS, layer)
        method = attr.LayerGradCam(network, network.get_submodule(layer))
        theirs = method.attribute(PICTURES.clone(), target=TARGETS, relu_attributions=True)
    assert ours.abs().max() > 0
    assert (ours - theirs[:, 0]).abs().max() <= 1e-5


def build(name: str) -> nn.Module:
    torch.manual_seed(1)
    network: nn.Module = import_torchvision().models.get_model(name, weights=None, num_classes=7)
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():  # a ViT's head begins at zero
            nn.init.normal_(module.weight)
    return network


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("resnet18", 64, "layer4"),
        ("squeezenet1_1", 64, "classifier.0"),
        ("mobilenet_v3_small", 64, "features"),
        ("vit_b_32", 224, "encoder.layers.encoder_layer_11.ln_1"),
        ("swin_t", 64, "permute"),
    ],
)
def test_the_layer_is_found_by_itself(name: str, size: int, layer: str) -> None:
    with opened(build(name), (size, size)) as classifier:
        assert find_layer(classifier) == layer
        maps = grad_cam(classifier, torch.randn(2, 3, size, size), torch.tensor([1, 5]), layer)
    assert maps.shape[0] == 2
    assert maps.shape[1] == maps.shape[2] > 1
    assert maps.isfinite().all()
    assert not any(module._forward_hooks for module in classifier.network.modules())


def test_a_network_without_places_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.ReLU(), nn.Linear(6, 3))
    with opened(network, (8, 8)) as classifier, pytest.raises(ValueError, match="no layer of the network"):
        find_layer(classifier)
    with opened(network, (8, 8)) as classifier, pytest.raises(ValueError, match="no places"):
        grad_cam(classifier, torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), "1")


def test_tokens_and_channels_last_become_grids() -> None:
    tokens = torch.arange(2 * 7 * 4.0).view(2, 7, 4)  # a class token, then 2 x 3 places
    grid = to_grid(tokens, ratio=2 / 3)
    assert grid is not None
    assert grid.shape == (2, 4, 2, 3)
    assert torch.equal(grid[0, :, 1, 2], tokens[0, 6])
    last = torch.rand(2, 5, 5, 9)
    assert torch.equal(to_grid(last, ratio=1.0), last.permute(0, 3, 1, 2))
