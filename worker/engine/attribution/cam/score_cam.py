"""Score-CAM: weights the feature maps of a layer by the scores of the images that they reveal; needs no gradient."""

import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches


@torch.no_grad()
def score_cam(classifier: Classifier, inputs: Tensor, targets: Tensor, layer: str, *, at_once: int) -> Tensor:
    """Computes ReLU(Σ_k a_k A_k), with a = softmax over k of S_t(x ⊙ Â_k) (Wang et al. 2019, arXiv 1910.01279).

    Â_k is the feature map, enlarged to the image and scaled to 0..1. It takes a pass for each channel of the layer.

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).
        layer: Name of the layer whose output A is used.
        at_once: Number of images per pass.

    Returns:
        Maps (N, h, w) at the layer's resolution, at least 0.

    Raises:
        ValueError: There is no such layer, or its output has no spatial axes.
    """
    outputs = classifier.forward(inputs, [layer], clamped=True, on_path=True)
    features = outputs.grid(layer)  # (N, K, h, w)
    if features is None:
        raise ValueError(f"layer {layer!r} gives no grid of features")
    return torch.stack(
        [
            _combine(classifier, image, target, grid.float(), at_once)
            for image, target, grid in zip(inputs, targets, features[: len(inputs)], strict=True)
        ]
    )


def _combine(classifier: Classifier, image: Tensor, target: Tensor, grid: Tensor, at_once: int) -> Tensor:
    """The map (h, w) of an image (C, H, W) from its features (K, h, w)."""

    def score(rows: slice) -> Tensor:
        masks = functional.interpolate(grid[rows][:, None], image.shape[1:], mode="bilinear", align_corners=False)
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        revealed = image[None] * ((masks - low) / (high - low + 1e-8))  # (K, C, H, W)
        return classifier.scores(revealed)[:, target]

    parts, _ = run_in_microbatches(score, len(grid), at_once)
    weights = torch.cat(parts).softmax(0)  # (K,)
    return (weights[:, None, None] * grid).sum(0).clamp_min(0)
