"""Where in a picture features lie: the outputs of convolutions, and tokens of transformers laid out as a grid."""

import torch
from torch import Tensor, nn

from worker.engine.classifier import Classifier, watch


def to_grid(values: Tensor, *, ratio: float) -> Tensor | None:
    """A layer's output as features with places (N, K, h, w); None where it has none.

    Args:
        ratio: Height by width of the picture, which a grid of tokens shares.
    """
    if values.ndim == 4:
        # Swin transformers keep their features last: only then are the first two axes in the picture's ratio, and the
        # last two not.
        first, second, third = values.shape[1:]
        if _in_ratio(first, second, ratio) and not _in_ratio(second, third, ratio):
            return values.permute(0, 3, 1, 2)
        return values if _in_ratio(second, third, ratio) else None
    if values.ndim != 3:
        return None
    tokens = values.shape[1]
    # Class token, distillation token, registers: first what fits just so, then what fits up to what padding adds.
    tries = [(extra, 0.01) for extra in range(10)] + [(extra, 1) for extra in (0, 1, 2, 5)]
    for extra, slack in tries:
        width = round(((tokens - extra) / ratio) ** 0.5) if tokens > extra else 0
        if width > 1 and (tokens - extra) % width == 0 and _in_ratio((tokens - extra) // width, width, ratio, slack):
            grid: Tensor = values[:, extra:].unflatten(1, (-1, width))
            return grid.permute(0, 3, 1, 2)  # (N, K, h, w)
    return None


def to_channels(values: Tensor, *, ratio: float) -> Tensor:
    """A layer's output with its channels second (N, K, …): on a grid where it has places, tokens after one another.

    Args:
        ratio: Height by width of the picture.
    """
    grid = to_grid(values, ratio=ratio)
    if grid is not None:
        return grid
    return values.transpose(1, 2) if values.ndim == 3 else values


def _in_ratio(height: int, width: int, ratio: float, slack: float = 1) -> bool:
    """Whether a grid has the picture's ratio, up to so many cells: 1 is what padding adds."""
    return abs(height - width * ratio) <= slack


@torch.no_grad()
def list_layers(classifier: Classifier) -> dict[str, tuple[int, int]]:
    """The layers whose features have places, in the order in which they ran, with height and width of their grid."""
    height, width = classifier.size
    inputs = torch.zeros(2, classifier.channels, height, width, device=classifier.device)
    # A linear layer inside an attention gives queries, keys and values, which are no features yet.
    layers = [name for name, module in classifier.network.named_modules() if name and type(module) is not nn.Linear]
    with watch(classifier.network, layers, strict=False) as seen:
        classifier.scores(inputs)
    grids = {name: to_grid(values, ratio=height / width) for name, values in seen.items() if len(values) == 2}
    placed = {name: grid for name, grid in grids.items() if grid is not None and grid[0, 0].numel() > 1}
    return {name: (grid.shape[2], grid.shape[3]) for name, grid in placed.items()}


def spread_layers(classifier: Classifier, count: int) -> list[str]:
    """So many layers from the first to the last: the last of each size of grid where there are enough, else evenly.

    Raises:
        ValueError: No layer has places.
    """
    known = list_layers(classifier)
    if not known:
        raise ValueError("no layer of the network gives features with places; name layers in params")
    last_of_size = list({size: name for name, size in known.items()}.values())
    names = last_of_size if len(last_of_size) >= count else list(known)
    steps = [round(number * (len(names) - 1) / max(1, count - 1)) for number in range(count)]
    return list(dict.fromkeys(names[step] for step in steps))
