"""Grad-CAM and Layer-CAM: where the features of a layer that a class score depends on are active."""

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.layer_choice import list_layers
from worker.engine.model.network_call import NetworkError, compute_gradients
from worker.engine.scores.detect import draw_images
from worker.engine.scores.outputs import to_rows

SCORE_TOLERANCE = 1e-4
"""A layer gives the scores themselves if the mean over its positions differs from them by less, relatively."""


def grad_cam(classifier: Classifier, inputs: Tensor, targets: Tensor, layer: str) -> Tensor:
    """Computes ReLU(Σ_k a_k A_k), where a_k is the spatial mean of ∂S_t/∂A_k (Selvaraju et al. 2016, arXiv 1610.02391).

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).
        layer: Name of the layer whose output A is used: (N, K, h, w), (N, h, w, K), or tokens (N, T, K) of a grid.

    Returns:
        Maps (N, h, w) at the layer's resolution, at least 0.

    Raises:
        ValueError: There is no such layer, or its output has no spatial axes.
        NetworkError: The scores do not depend on the layer, or have no gradient.
    """
    features, gradient = read_grids(classifier, inputs, targets, layer)
    return (gradient.mean((2, 3), keepdim=True) * features).sum(1).clamp_min(0).float()


def layer_cam(classifier: Classifier, inputs: Tensor, targets: Tensor, layer: str) -> Tensor:
    """Computes ReLU(Σ_k ReLU(∂S_t/∂A_k) ⊙ A_k), a weight for each place (Jiang et al. 2021, IEEE TIP 30, equation 8).

    It is also useful for early layers, whose feature maps are large. Arguments, result and errors are those of
    `grad_cam`.
    """
    features, gradient = read_grids(classifier, inputs, targets, layer)
    return (gradient.clamp_min(0) * features).sum(1).clamp_min(0).float()


def read_grids(classifier: Classifier, inputs: Tensor, targets: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Reads the features A of a layer and the gradient ∂S_t/∂A, as (N, K, h, w); see `grad_cam` for the arguments."""
    if len(inputs) == 1:  # as a pair, because the classifier doubles a single image
        features, gradient = read_grids(classifier, inputs.repeat(2, 1, 1, 1), targets.repeat(2), layer)
        return features[:1], gradient[:1]
    limit = classifier.traits.max_batch
    if limit is not None and len(inputs) > limit:
        parts = zip(inputs.split(limit), targets.split(limit), strict=True)
        grids = [read_grids(classifier, *part, layer) for part in parts]
        return torch.cat([features for features, _ in grids]), torch.cat([gradient for _, gradient in grids])
    outputs = classifier.forward(inputs.detach().requires_grad_(), [layer], clamped=True, on_path=True)
    if classifier.traits.max_batch != limit:  # found by this pass, which joined the outputs of several
        return read_grids(classifier, inputs, targets, layer)
    layout, features = outputs.layout(layer), outputs.activations[layer]
    (gradient,) = compute_gradients(outputs.scores.gather(1, targets[:, None]).sum(), [features])
    grid, gradient_grid = layout.to_grid(features.detach()), layout.to_grid(gradient)
    if grid is None or gradient_grid is None:
        raise ValueError(f"layer {layer!r} gives {tuple(features.shape[1:])}, which is not a grid of features")
    return grid, gradient_grid


def find_layer(classifier: Classifier) -> str:
    """Finds the layer for Grad-CAM: the last one with a feature grid on which the scores depend.

    Layers that give the scores themselves are left out. In a transformer whose head reads the class token only, the
    result lies before the last attention: after it, the scores do not depend on the other tokens. In a network without
    gradients, the result is the last layer with a grid.

    Raises:
        ValueError: The network has no such layer.
    """
    layers = list(list_layers(classifier))
    images = draw_images(classifier.channels, classifier.size, classifier.device)
    inputs = classifier.normalize(images).requires_grad_()
    outputs = classifier.forward(inputs, layers, clamped=True, on_path=True)
    reached = [layer for layer in layers if outputs.activations[layer].requires_grad]
    try:
        features = [outputs.activations[layer] for layer in reached]
        gradients = compute_gradients(outputs.scores.square().sum(), features, lenient=True)
    except NetworkError:
        gradients, reached = (), []
    grids = [outputs.layout(layer).to_grid(gradient) for layer, gradient in zip(reached, gradients, strict=True)]
    candidates = [
        layer for layer, grid in zip(reached, grids, strict=True) if grid is not None and bool((grid != 0).any())
    ]
    for layer in reversed(candidates or layers):
        if not _gives_scores(outputs.channels(layer), outputs.scores):
            return layer
    raise ValueError(
        "no layer of the network gives a grid of features; name one in params.layer, or ask for kind gradient"
    )


def _gives_scores(features: Tensor, scores: Tensor) -> bool:
    """Whether features (N, K, …) are the scores (N, K) at each position, before or after a ReLU."""
    if features.shape[1] != scores.shape[1]:
        return False
    tolerance = SCORE_TOLERANCE * max(1e-6, float(scores.detach().abs().max()))
    return any(
        bool(((to_rows(values) - scores).abs() <= tolerance).all()) for values in (features, features.clamp_min(0))
    )
