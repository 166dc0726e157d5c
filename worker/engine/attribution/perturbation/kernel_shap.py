"""KernelSHAP on a grid: the Shapley value of each cell of the image for the class score; needs no gradient.

Lundberg and Lee 2017 (arXiv 1705.07874), theorem 2: Shapley values are the solution of a weighted least squares problem
over coalitions of cells. Coalitions are drawn in pairs of complements (Covert and Lee 2021, arXiv 2012.01536, section
4.2); if there are enough samples for all coalitions, the values are exact.
"""

import itertools

import torch
from torch import Tensor

from worker.engine.model.classifier import Classifier
from worker.engine.model.microbatch import run_in_microbatches

Problem = tuple[Tensor, Tensor]
"""Coalitions (S, M) of 0 and 1, without the empty and the full one, and their weights (S,), float64."""


@torch.no_grad()
def kernel_shap(
    classifier: Classifier,
    inputs: Tensor,
    targets: Tensor,
    *,
    samples: int,
    cells: int,
    fill: float,
    seed: int,
    at_once: int,
) -> Tensor:
    """Computes the Shapley value of each cell, as a map.

    Args:
        classifier: The network; the final ReLU is part of it.
        inputs: Normalized images (N, C, H, W).
        targets: A class index for each image (N,).
        samples: Number of coalitions of an image; the image itself and the covered image come in addition.
        cells: Cells of the grid along each axis.
        fill: Value of covered pixels in units of the normalized inputs; 0 is the mean color.
        seed: Seed of the coalitions, which are the same for every image.
        at_once: Number of images per pass.

    Returns:
        Maps (N, H, W) in units of the score. The values of all cells of an image add up to its score minus that of the
        covered image; a cell that lowers the score has a negative value.
    """
    coalitions, weights = choose_coalitions(cells * cells, samples, seed)
    ends = torch.stack([torch.zeros(cells * cells), torch.ones(cells * cells)]).double()
    everything = torch.cat([ends, coalitions]).to(inputs.device, inputs.dtype)  # (2 + S, M)
    places = number_cells(cells, inputs.shape[2], inputs.shape[3]).to(inputs.device)  # (H, W)
    maps = []
    for image, target in zip(inputs, targets, strict=True):

        def score(rows: slice, image: Tensor = image, target: Tensor = target) -> Tensor:
            shown = everything[rows][:, places][:, None]  # (S, 1, H, W)
            return classifier.scores(image * shown + fill * (1 - shown))[:, target]

        parts, _ = run_in_microbatches(score, len(everything), at_once)
        scores = torch.cat(parts).double().cpu()  # (2 + S,)
        values = solve((coalitions, weights), scores[2:] - scores[0], float(scores[1] - scores[0]))
        maps.append(values.float().to(inputs.device)[places])
    return torch.stack(maps)


def number_cells(cells: int, height: int, width: int) -> Tensor:
    """The number of the cell of each pixel (H, W)."""
    rows, columns = (torch.arange(extent) * cells // extent for extent in (height, width))
    return rows[:, None] * cells + columns[None, :]


def choose_coalitions(members: int, samples: int, seed: int) -> Problem:
    """All coalitions with the weights of the Shapley kernel, or random ones that are drawn with these weights."""
    if 2**members - 2 <= samples:
        everything = torch.tensor(list(itertools.product((0.0, 1.0), repeat=members)), dtype=torch.float64)[1:-1]
        sizes = everything.sum(1).long()
        counts = torch.bincount(sizes, minlength=members + 1)
        return everything, weigh_sizes(members)[sizes - 1] / counts[sizes]
    generator = torch.Generator().manual_seed(seed)
    count = (samples + 1) // 2
    sizes = 1 + torch.multinomial(weigh_sizes(members), count, replacement=True, generator=generator)  # (S / 2,)
    ranks = torch.rand(count, members, generator=generator).argsort(1).argsort(1)
    drawn = (ranks < sizes[:, None]).double()
    return torch.cat([drawn, 1 - drawn])[:samples], torch.ones(samples, dtype=torch.float64)


def weigh_sizes(members: int) -> Tensor:
    """The total weight of the coalitions of each size, 1 to M − 1, up to a factor (M − 1,)."""
    sizes = torch.arange(1, members, dtype=torch.float64)
    return 1 / (sizes * (members - sizes))


def solve(problem: Problem, gains: Tensor, total: float) -> Tensor:
    """The values (M,) that explain the gains (S,) of the coalitions best, and add up to the total.

    The constraint is used to eliminate the last value.
    """
    coalitions, weights = problem
    last = coalitions[:, -1]
    design, wanted = coalitions[:, :-1] - last[:, None], gains - last * total
    root = weights.sqrt()
    values = torch.linalg.lstsq(design * root[:, None], wanted * root, driver="gelsd").solution
    return torch.cat([values, (total - values.sum())[None]])
