"""Grad-CAM against Captum's, and on the tokens of transformers."""

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.support.attributions import IMAGES, TARGETS, opened
from tests.support.families import build_torchvision
from tests.support.networks import Small, seeded, with_statistics
from worker.engine.attribution.cam.grad_cam import find_layer, grad_cam
from worker.engine.model.prepare import prepare
from worker.engine.scores.detect import draw_images


@pytest.mark.parametrize("layer", ["features.0", "features.4", "features"])
def test_grad_cam_equals_captums(layer: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is the reference")
    network = seeded(Small)
    with opened(network) as classifier:
        ours = grad_cam(classifier, IMAGES, TARGETS, layer)
        method = attr.LayerGradCam(network, network.get_submodule(layer))
        theirs = method.attribute(IMAGES.clone(), target=TARGETS, relu_attributions=True)
    assert ours.abs().max() > 0
    assert (ours - theirs[:, 0]).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("squeezenet1_1", "classifier.0"),
        ("mobilenet_v3_small", "features"),
        ("vit_b_32", "encoder.layers.encoder_layer_2.ln_1"),
        ("swin_t", "permute"),
    ],
)
def test_the_last_layer_with_a_feature_grid_is_found_automatically(name: str, layer: str) -> None:
    size = 64
    with opened(build_torchvision(name, size), (size, size)) as classifier:
        assert find_layer(classifier) == layer
        maps = grad_cam(classifier, torch.randn(2, 3, size, size), torch.tensor([1, 5]), layer)
    assert maps.shape[0] == 2
    assert maps.shape[1] == maps.shape[2] > 1
    assert maps.isfinite().all()
    assert not any(module._forward_hooks for module in classifier.network.modules())


def test_grad_cam_refuses_networks_and_layers_without_a_feature_grid() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.ReLU(), nn.Linear(6, 3))
    with opened(network, (8, 8)) as classifier, pytest.raises(ValueError, match="no layer of the network"):
        find_layer(classifier)
    with opened(network, (8, 8)) as classifier, pytest.raises(ValueError, match="not a grid of features"):
        grad_cam(classifier, torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), "1")


def test_grad_cam_of_a_folded_convolution_is_that_of_the_convolution() -> None:
    attr = pytest.importorskip("captum.attr", reason="Captum is the reference")
    network, inputs = with_statistics(seeded(Small)), draw_images(3, (18, 24), torch.device("cpu"), 3)
    with opened(prepare(copy.deepcopy(network), torch.device("cpu"), inputs)) as classifier:
        assert "features.0" in classifier.prepared.folded
        ours = grad_cam(classifier, IMAGES, TARGETS, "features.0")
    theirs = attr.LayerGradCam(network, network.features[0]).attribute(
        IMAGES.clone(), target=TARGETS, relu_attributions=True
    )
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours, theirs[:, 0], atol=1e-5, rtol=1e-4)


class EqualChannels(nn.Module):
    """As many channels as classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.relu = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.ReLU()
        self.head = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.last(self.first(x).relu())).mean((2, 3)))


def test_a_layer_with_as_many_channels_as_classes_can_be_the_last_one() -> None:
    with opened(seeded(EqualChannels)) as classifier:
        assert find_layer(classifier) == "relu"


class FourAtOnce(Small):
    """Takes at most four images."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 4:
            raise ValueError(f"{len(x)} images are too many")
        return super().forward(x)


def test_grad_cam_works_with_a_network_that_takes_few_images() -> None:
    with opened(seeded(FourAtOnce)) as classifier, opened(seeded(Small)) as plain:
        many = torch.cat([IMAGES, IMAGES, IMAGES])[:9]
        targets = torch.cat([TARGETS, TARGETS, TARGETS])[:9]
        expected = grad_cam(plain, many, targets, "features.4")
        torch.testing.assert_close(grad_cam(classifier, many, targets, "features.4"), expected)
        assert classifier.traits.max_batch == 4


def test_grad_cam_of_one_image_is_that_of_a_batch() -> None:
    with opened(seeded(Small)) as classifier:
        maps = grad_cam(classifier, IMAGES, TARGETS, "features.4")
        torch.testing.assert_close(grad_cam(classifier, IMAGES[:1], TARGETS[:1], "features.4"), maps[:1])


class Detached(Small):
    """Computes its features without gradients."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.features(x)
        return self.classifier(features).mean((2, 3))


def test_the_last_layer_of_a_network_without_gradients_is_found() -> None:
    with opened(seeded(Detached)) as classifier:
        assert find_layer(classifier) == "features"
