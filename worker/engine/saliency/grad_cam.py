"""Grad-CAM: where the features that a class score rests on are active, in convolutional networks and transformers."""

from functools import partial

import torch
from torch import Tensor, nn

from worker.engine.classifier import Classifier, check_rows, watch
from worker.engine.grid import to_grid


def grad_cam(classifier: Classifier, inputs: Tensor, targets: Tensor, layer: str) -> Tensor:
    """ReLU(Σ_k a_k A_k), with a_k the mean of ∂S_t/∂A_k over the places (Selvaraju et al. 2016, arXiv 1610.02391).

    Args:
        inputs: Normalised pictures (N, C, H, W).
        targets: A class index per picture (N,).
        layer: Whose output A is (N, K, h, w), or tokens (N, T, K) or (N, h, w, K) on a grid.

    Returns:
        Maps (N, h, w) at the layer's size, at least 0.

    Raises:
        ValueError: There is no such layer, or its output has no places.
    """
    features, slopes = _features_and_slopes(classifier, inputs, targets, [layer])[layer]
    lay_out = partial(to_grid, ratio=inputs.shape[2] / inputs.shape[3])
    grid, slope = lay_out(features), lay_out(slopes)
    if grid is None or slope is None:
        raise ValueError(f"layer {layer!r} gives {tuple(features.shape[1:])}, which are no places of a picture")
    return (slope.mean((2, 3), keepdim=True) * grid).sum(1).clamp_min(0)[: len(inputs)].float()


def find_layer(classifier: Classifier) -> str:
    """The last layer with places that the scores depend on there; what gives the scores themselves does not count.

    In a transformer that reads its class token alone this is a layer before the last attention: after it, the other
    tokens no longer matter.

    Raises:
        ValueError: There is none.
    """
    height, width = classifier.size
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, classifier.channels, height, width, generator=generator).to(classifier.device)
    classes = _count_classes(classifier, inputs)
    # A linear layer inside an attention gives queries, keys and values, which are no features yet.
    layers = [name for name, module in classifier.network.named_modules() if name and type(module) is not nn.Linear]
    found = _features_and_slopes(classifier, inputs, None, layers)
    for layer, (features, slopes) in reversed(found.items()):
        grid, slope = (to_grid(values, ratio=height / width) for values in (features, slopes))
        if grid is None or slope is None or len(grid) != len(inputs) or grid.shape[1] == classes:
            continue
        if grid[0, 0].numel() > 1 and bool(slope.abs().max() > 0):
            return layer
    raise ValueError(
        "no layer of the network gives features with places; name one in params.layer, or ask for gradient"
    )


def _features_and_slopes(
    classifier: Classifier, inputs: Tensor, targets: Tensor | None, layers: list[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """What layers give, and the slope of the targets' scores there; in the order in which the layers ran."""
    inputs = inputs.detach().requires_grad_()
    with watch(classifier.network, layers, strict=len(layers) == 1) as seen:
        scores = classifier.scores(inputs)
    if len(layers) == 1:
        check_rows(seen, layers, max(2, len(inputs)))
    wanted = scores.gather(1, targets[:, None]) if targets is not None else scores.square()
    reached = {name: values for name, values in seen.items() if values.requires_grad}
    slopes = torch.autograd.grad(wanted.sum(), list(reached.values()), allow_unused=True, materialize_grads=True)
    return {name: (values.detach(), slope) for (name, values), slope in zip(reached.items(), slopes, strict=True)}


@torch.no_grad()
def _count_classes(classifier: Classifier, inputs: Tensor) -> int:
    return classifier.scores(inputs).shape[1]
