"""RISE: the mean of random masks, weighted by the probability of the class in the masked image; needs no gradient."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches

KEPT = 0.5
"""Probability that a cell of a mask shows the image (section 4.1 of the paper)."""


@torch.no_grad()
def rise(
    classifier: Classifier, inputs: Tensor, targets: Tensor, *, samples: int, cells: int, seed: int, at_once: int
) -> Tensor:
    """Computes 1 / (p · M) · Σ_i P_t(x ⊙ m_i) · m_i over M masks (Petsiuk et al. 2018, arXiv 1806.07421, equation 6).

    Covered pixels have the mean color.

    Args:
        classifier: The network.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).
        samples: Number M of masks.
        cells: Cells of a mask along each axis.
        seed: Seed of the masks, which are the same for every image.
        at_once: Number of masked images per pass.

    Returns:
        Maps (N, H, W) of probabilities: how probable the class is on average if the pixel is shown.
    """
    height, width = inputs.shape[2:]
    masks = draw_masks(samples, cells, (height, width), seed).to(inputs.device)  # (M, H, W)
    maps = []
    for image, target in zip(inputs, targets, strict=True):

        def predict(rows: slice, image: Tensor = image, target: Tensor = target) -> Tensor:
            return classifier.probabilities(image[None] * masks[rows, None])[:, target]

        parts, _ = run_in_microbatches(predict, samples, at_once)
        maps.append((torch.cat(parts).double() @ masks.double().flatten(1)).view(height, width))
    return (torch.stack(maps) / (KEPT * samples)).float()


def draw_masks(samples: int, cells: int, size: tuple[int, int], seed: int) -> Tensor:
    """Draws masks (M, H, W) in 0..1: random cells, enlarged bilinearly and shifted by up to a cell (section 3.2)."""
    generator = torch.Generator().manual_seed(seed)
    shown = (torch.rand(samples, 1, cells, cells, generator=generator) < KEPT).float()
    cell = [math.ceil(extent / cells) for extent in size]
    enlarged = [(cells + 1) * extent for extent in cell]
    shifts = (torch.rand(samples, 2, generator=generator) * torch.tensor(cell)).long().tolist()
    masks = torch.empty(samples, *size)
    for row, (top, left) in enumerate(shifts):
        large = functional.interpolate(shown[row : row + 1], enlarged, mode="bilinear", align_corners=False)
        masks[row] = large[0, 0, top : top + size[0], left : left + size[1]]
    return masks
