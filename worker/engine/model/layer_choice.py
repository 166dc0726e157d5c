"""Lists and selects the layers of a network whose outputs are grids of features."""

from torch import nn

from worker.engine.model.classifier import Classifier


def list_layers(classifier: Classifier) -> dict[str, tuple[int, int]]:
    """Lists the layers whose output is a feature grid, in the order of their calls.

    Linear layers are left out: in an attention they give queries, keys and values.

    Returns:
        Height and width of each grid in cells, by layer name.
    """
    modules = dict(classifier.network.named_modules(remove_duplicate=False))
    return {
        name: layout.grid
        for name, layout in classifier.layouts().items()
        if layout.grid is not None and layout.grid != (1, 1) and type(modules[name]) is not nn.Linear
    }


def spread_layers(classifier: Classifier, count: int) -> list[str]:
    """Selects layers with a feature grid, evenly spread from the first to the last.

    If there are at least `count` different sizes of grids, the candidates are the last layers of each size.

    Args:
        classifier: The network.
        count: Maximum number of layers.

    Returns:
        Names of layers, in the order of their calls.

    Raises:
        ValueError: No layer has a feature grid.
    """
    known = list_layers(classifier)
    if not known:
        raise ValueError("no layer of the network gives a grid of features; name layers in params")
    last_of_size = list({size: name for name, size in known.items()}.values())
    names = last_of_size if len(last_of_size) >= count else list(known)
    steps = [round(number * (len(names) - 1) / max(1, count - 1)) for number in range(count)]
    return list(dict.fromkeys(names[step] for step in steps))
