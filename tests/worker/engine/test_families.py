"""Every family of torchvision, the main ones of timm, other channels and shapes: the score climbs, nothing is left."""

import pytest
import torch
from torch import nn

from tests.networks import Small, seeded
from worker.engine.ascend import ascend
from worker.engine.ascent import Ascent, Slot
from worker.engine.backward import Gentle
from worker.engine.classifier import open_classifier
from worker.engine.image import BoundedPixels
from worker.engine.optimizer import Adam
from worker.engine.prepare import prepare
from worker.engine.start import Normal
from worker.engine.torchvision_import import import_torchvision
from worker.engine.transform import Chain

CPU = torch.device("cpu")

TORCHVISION = {
    "alexnet": 64, "convnext_tiny": 64, "densenet121": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64,
    "googlenet": 64, "inception_v3": 96, "maxvit_t": 224, "mnasnet0_5": 64, "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64, "regnet_x_400mf": 64, "resnet18": 64, "resnext50_32x4d": 64, "wide_resnet50_2": 64,
    "shufflenet_v2_x0_5": 64, "squeezenet1_1": 64, "swin_t": 64, "swin_v2_t": 64, "vgg11": 64, "vgg11_bn": 64,
    "vit_b_32": 64,
}  # fmt: skip
"""One network of each family, and a size that it takes."""

TIMM = {
    "convnext_atto": 64, "efficientnet_lite0": 64, "regnety_002": 64, "mobilenetv3_small_050": 64,
    "vit_tiny_patch16_224": 64, "swin_tiny_patch4_window7_224": 56, "maxvit_rmlp_pico_rw_256": 64, "densenet121": 64,
    "nf_regnet_b0": 64,
}  # fmt: skip

SIZED = ("vit", "swin", "maxvit")
"""timm builds these for one size, which must be said."""


def build_torchvision(name: str, size: int) -> nn.Module:
    options = {"googlenet": {"aux_logits": False, "init_weights": False}, "inception_v3": {"init_weights": True}}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        sized = {"image_size": size} if name.startswith("vit") else {}
        sized |= {"input_size": (size, size)} if name.startswith("maxvit") else {}
        models = import_torchvision().models
        network = models.get_model(name, weights=None, num_classes=10, **options.get(name, {}), **sized)
        if name.startswith("vit"):  # torchvision begins with a head of zeros, which no picture could please
            nn.init.normal_(network.heads.head.weight)
        return network


def build_timm(name: str, size: int) -> nn.Module:
    import_torchvision()
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        sized = {"img_size": size} if name.startswith(SIZED) else {}
        return timm.create_model(name, num_classes=10, **sized)


def assert_climbs(
    network: nn.Module, size: tuple[int, int], *, channels: int = 3, targets: tuple[int, ...] = (1, 4)
) -> None:
    """Two targets rise in a few steps; weights, flags, modes, gradients and hooks are as they were."""
    network = prepare(network, CPU).train()
    trainable = [weight.requires_grad for weight in network.parameters()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ascent = Ascent(
        steps=6, image=BoundedPixels(), size=size, start=Normal(0.3), optimizer=Adam.start, transform=Chain(size),
        gentle=Gentle(0.1, 0.5),
    )  # fmt: skip
    slots = [Slot(target, seed=target, rate=0.05) for target in targets]
    with open_classifier(network, mean=[0.5] * channels, std=[0.25] * channels, size=size, device=CPU) as classifier:
        steps = list(ascend(classifier, ascent, slots))
    assert (steps[-1].values > steps[0].values).all()
    assert all(end.reason == "steps" and end.picture.isfinite().all() for end in steps[-1].ended)
    assert all(module.training for module in network.modules())
    assert [weight.requires_grad for weight in network.parameters()] == trainable
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_network_of_torchvision_climbs(name: str) -> None:
    size = TORCHVISION[name]
    assert_climbs(build_torchvision(name, size), (size, size))


def test_no_family_of_torchvision_is_forgotten() -> None:
    models = import_torchvision().models
    listed = {name.split("_")[0].rstrip("0123456789") for name in models.list_models(module=models)}
    named = {name.split("_")[0].rstrip("0123456789") for name in TORCHVISION}
    assert listed <= named | {"wide", "mnasnet"} | {name.rstrip("_") for name in ("shufflenet", "squeezenet")}


@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm_climbs(name: str) -> None:
    size = TIMM[name]
    assert_climbs(build_timm(name, size), (size, size))


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("size", [(28, 28), (40, 28), (64, 96), (299, 299)])
def test_other_channels_and_shapes_climb(channels: int, size: tuple[int, int]) -> None:
    assert_climbs(seeded(Small, channels=channels), size, channels=channels)


def test_a_network_that_returns_auxiliary_outputs_climbs() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = import_torchvision().models.get_model("inception_v3", weights=None, num_classes=10, init_weights=True)
    assert network.aux_logits
    assert_climbs(network, (96, 96))
