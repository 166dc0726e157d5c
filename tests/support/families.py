"""Networks of every torchvision family with few layers and channels, so that they are built and run quickly."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from worker.engine.model.torchvision_import import import_torchvision

CLASSES = 10


def build_torchvision(name: str, size: int) -> nn.Module:
    """A network of torchvision with random weights that are the same every time.

    Networks with many weights or layers have a reduced variant: the same modules and forward pass with less of each.

    Args:
        name: As torchvision names it.
        size: Height and width of its inputs in pixels.
    """
    with torch.random.fork_rng():
        torch.manual_seed(1)
        reduced = REDUCED.get(name)
        if reduced is not None:
            return reduced(size)
        options = {"googlenet": {"aux_logits": False, "init_weights": False}, "inception_v3": {"init_weights": True}}
        return import_torchvision().models.get_model(name, weights=None, num_classes=CLASSES, **options.get(name, {}))


def build_narrow_head(name: str, size: int) -> nn.Module:
    """An AlexNet or VGG network whose hidden linear layers have 64 units: nearly all weights are in these layers."""
    with torch.device("meta"):  # so that the wide layers take neither memory nor time
        network: nn.Module = import_torchvision().models.get_model(name, weights=None)
        linear = [number for number, module in enumerate(network.classifier) if isinstance(module, nn.Linear)]
        widths = [network.classifier[linear[0]].in_features, 64, 64, CLASSES]
        for number, (inputs, outputs) in zip(linear, pairwise(widths), strict=True):
            network.classifier[number] = nn.Linear(inputs, outputs)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.reset_parameters()
    return network


def build_vit(size: int) -> nn.Module:
    """A vision transformer with three layers; its head, which torchvision initializes with zeros, is random."""
    models = import_torchvision().models
    network: nn.Module = models.VisionTransformer(
        image_size=size, patch_size=16, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=CLASSES
    )
    nn.init.normal_(network.heads.head.weight)
    return network


def build_swin(version: int, size: int) -> nn.Module:
    """A Swin transformer with two stages."""
    swin = import_torchvision().models.swin_transformer
    modules = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2} if version == 2 else {}
    return swin.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[7, 7],
        num_classes=CLASSES,
        **modules,
    )


def build_resnet(size: int, **width: int) -> nn.Module:
    """A ResNet of bottleneck blocks, one per stage."""
    resnet = import_torchvision().models.resnet
    return resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=CLASSES, **width)


def build_maxvit(size: int) -> nn.Module:
    """A MaxViT with two stages."""
    return import_torchvision().models.MaxVit(
        input_size=(size, size),
        stem_channels=16,
        partition_size=4,
        block_channels=[16, 32],
        block_layers=[1, 1],
        head_dim=8,
        stochastic_depth_prob=0.2,
        num_classes=CLASSES,
    )


REDUCED: dict[str, Callable[[int], nn.Module]] = {
    "alexnet": partial(build_narrow_head, "alexnet"),
    "maxvit_t": build_maxvit,
    "resnext50_32x4d": partial(build_resnet, groups=32, width_per_group=4),
    "swin_t": partial(build_swin, 1),
    "swin_v2_t": partial(build_swin, 2),
    "vgg11": partial(build_narrow_head, "vgg11"),
    "vgg11_bn": partial(build_narrow_head, "vgg11_bn"),
    "vit_b_32": build_vit,
    "wide_resnet50_2": partial(build_resnet, width_per_group=128),
}
