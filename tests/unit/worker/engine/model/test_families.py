"""Ascents on every torchvision family, the main timm families, and other channels and sizes."""

import pytest
import torch
from torch import nn

from tests.support.families import build_torchvision
from tests.support.networks import Small, seeded
from worker.engine.ascent.config import Ascent, Slot
from worker.engine.ascent.initial import Normal
from worker.engine.ascent.loop import ascend
from worker.engine.ascent.optimizers import Adam
from worker.engine.ascent.parameterization import BoundedPixels
from worker.engine.ascent.transforms import Chain
from worker.engine.gradients.relaxed import RelaxedGradient
from worker.engine.model.classifier import open_classifier
from worker.engine.model.prepare import prepare
from worker.engine.model.torchvision_import import import_torchvision
from worker.engine.scores.detect import draw_images

CPU = torch.device("cpu")

TORCHVISION = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vit_b_32",
    "wide_resnet50_2",
)
"""A network of each family."""

TIMM = {
    "convnext_atto": 64,
    "densenet121": 64,
    "efficientnet_lite0": 64,
    "maxvit_rmlp_pico_rw_256": 64,
    "mobilenetv3_small_050": 64,
    "nf_regnet_b0": 64,
    "regnety_002": 64,
    "swin_tiny_patch4_window7_224": 56,
    "vit_tiny_patch16_224": 64,
}
"""Networks of timm, and an input size in pixels that each accepts."""

SIZED = ("vit", "swin", "maxvit")
"""timm builds these for one size, which must be given."""


def build_timm(name: str, size: int) -> nn.Module:
    import_torchvision()
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        sized = {"img_size": size} if name.startswith(SIZED) else {}
        return timm.create_model(name, num_classes=10, **sized)


def assert_score_rises(
    network: nn.Module, size: tuple[int, int], *, channels: int = 3, targets: tuple[int, ...] = (1, 4)
) -> None:
    """The scores of the targets rise in four steps; weights, flags, modes, gradients and hooks are unchanged."""
    prepared = prepare(network, CPU, draw_images(channels, size, CPU))
    network = prepared.network.train()
    trainable = [weight.requires_grad for weight in network.parameters()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ascent = Ascent(
        steps=4,
        parameterization=BoundedPixels(),
        size=size,
        start=Normal(0.3),
        optimizer=Adam.start,
        transform=Chain(size),
        relaxed=RelaxedGradient(0.1, 0.5),
    )
    slots = [Slot(target, seed=target, rate=0.05) for target in targets]
    with open_classifier(prepared, mean=[0.5] * channels, std=[0.25] * channels, size=size, device=CPU) as classifier:
        steps = list(ascend(classifier, ascent, slots))
    assert (steps[-1].values > steps[0].values).all()
    assert all(end.reason == "steps" and end.image.isfinite().all() for end in steps[-1].ended)
    assert all(module.training for module in network.modules())
    assert [weight.requires_grad for weight in network.parameters()] == trainable
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_score_rises_for_a_network_of_each_torchvision_family(name: str) -> None:
    size = 96 if name == "inception_v3" else 64
    assert_score_rises(build_torchvision(name, size), (size, size))


def test_every_torchvision_family_is_tested() -> None:
    models = import_torchvision().models
    listed = {name.split("_")[0].rstrip("0123456789") for name in models.list_models(module=models)}
    named = {name.split("_")[0].rstrip("0123456789") for name in TORCHVISION}
    assert listed <= named | {"wide", "mnasnet"} | {name.rstrip("_") for name in ("shufflenet", "squeezenet")}


@pytest.mark.parametrize("name", TIMM)
def test_the_score_rises_for_networks_of_timm(name: str) -> None:
    size = TIMM[name]
    assert_score_rises(build_timm(name, size), (size, size))


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("size", [(28, 28), (40, 28), (64, 96), (299, 299)])
def test_the_score_rises_for_other_numbers_of_channels_and_image_sizes(channels: int, size: tuple[int, int]) -> None:
    assert_score_rises(seeded(Small, channels=channels), size, channels=channels)


def test_the_score_rises_for_a_network_with_auxiliary_outputs() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = import_torchvision().models.get_model("inception_v3", weights=None, num_classes=10, init_weights=True)
    assert network.aux_logits
    assert_score_rises(network, (96, 96))
