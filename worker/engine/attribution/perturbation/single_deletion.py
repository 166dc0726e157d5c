"""Single deletion: does a map rank the parts of an image as the network's score does when each is deleted alone?

This is the score of Hesse et al. 2024 (arXiv 2407.11910, IDSDS) on the network as it is; they train it on images
with deleted parts first, which an audit cannot do.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from worker.engine.attribution.metrics import rank_correlation
from worker.engine.attribution.perturbation.occlusion import find_falls
from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
"""Filter of horizontal differences; its transpose is that of vertical ones (Sobel and Feldman 1968)."""


def label_cells(height: int, width: int, grid: int) -> Tensor:
    """The number of the cell of each pixel, row by row: (H, W). The cells of a grid differ by one pixel at most.

    Raises:
        ValueError: The image has fewer pixels than the grid has cells along an axis.
    """
    if min(height, width) < grid:
        raise ValueError(f"an image of {height} x {width} pixels has no grid of {grid} x {grid} cells")
    rows, columns = (torch.arange(extent) * grid // extent for extent in (height, width))
    return rows[:, None] * grid + columns


@torch.no_grad()
def measure_falls(
    classifier: Classifier,
    inputs: Tensor,
    targets: Tensor,
    *,
    grid: int,
    at_once: int,
    replacements: Tensor | None = None,
) -> Tensor:
    """How much the score of the target falls when one cell is replaced.

    Args:
        classifier: The network.
        inputs: Normalized images (N, C, H, W), in which the mean color is 0.
        targets: A class index for each image (N,).
        grid: Number of cells along each axis.
        at_once: Number of images per pass.
        replacements: Images (N, C, H, W) from which a deleted cell is taken; None for the mean color.

    Returns:
        Falls (N, grid²); a fall that is no more than rounding is 0.
    """
    cells = label_cells(inputs.shape[2], inputs.shape[3], grid).to(inputs.device)
    keep = torch.stack([cells != number for number in range(grid**2)])  # (grid², H, W)
    keep = torch.cat([torch.ones_like(keep[:1]), keep])  # the whole image first
    count = len(inputs) * len(keep)
    others = torch.zeros_like(inputs) if replacements is None else replacements

    def score(part: slice) -> Tensor:
        numbers = torch.arange(part.start, part.stop, device=inputs.device)
        rows, deleted = numbers // len(keep), numbers % len(keep)
        scores = classifier.scores(torch.where(keep[deleted][:, None], inputs[rows], others[rows]))
        return scores.gather(1, targets[rows, None])[:, 0]

    parts, _ = run_in_microbatches(score, count, at_once)
    scores = torch.cat(parts).view(len(inputs), len(keep))
    return find_falls(scores[:, :1], scores[:, 1:])


def average_cells(maps: Tensor, grid: int) -> Tensor:
    """The mean of maps (N, H, W) in each cell: (N, grid²)."""
    cells = label_cells(maps.shape[1], maps.shape[2], grid).flatten().to(maps.device)
    sums = torch.zeros(len(maps), grid**2, device=maps.device).index_add_(1, cells, maps.float().flatten(1))
    return sums / cells.bincount(minlength=grid**2)


def correlate_ranks(maps: Tensor, falls: Tensor, grid: int) -> NDArray[np.float64]:
    """Spearman's rank correlation of each map's cells with the falls: (N,), from −1 to 1; 0 without contrast.

    Args:
        maps: Maps (N, H, W).
        falls: What `measure_falls` returns for the same images: (N, grid²).
        grid: Number of cells along each axis.
    """
    cells = average_cells(maps, grid).cpu().numpy()
    pairs = zip(cells, falls.float().cpu().numpy(), strict=True)
    return np.array([rank_correlation(cell_means, fall) for cell_means, fall in pairs])


def draw_edges(inputs: Tensor) -> Tensor:
    """Maps of the edges of images (N, C, H, W), which depend on no network: (N, H, W)."""
    horizontal = inputs.new_tensor(SOBEL)
    filters = torch.stack([horizontal, horizontal.T])[:, None]  # (2, 1, 3, 3)
    gray = functional.pad(inputs.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(gray, filters).square().sum(1).sqrt()
