"""Class visualizations by other libraries, with their own code, one target after another."""

import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

Draw = Callable[[nn.Module, int, int], None]
"""Optimizes a class visualization: arguments are network, target and number of steps."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224


def find_peers() -> dict[str, Draw]:
    """Returns the installed libraries, by name."""
    peers = {"torchbearer": draw_with_torchbearer, "lucent": draw_with_lucent}
    return {name: draw for name, draw in peers.items() if importlib.util.find_spec(name)}


def draw_with_torchbearer(network: nn.Module, target: int, steps: int) -> None:
    """Runs `ClassAppearanceModel` with its defaults, and with the input normalization of its example."""
    import torchbearer
    from torchbearer.callbacks.imaging import ClassAppearanceModel

    device = next(network.parameters()).device
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))

    def normalize(image: Tensor) -> Tensor:
        return (image - mean) / std

    model = ClassAppearanceModel(1000, (3, SIZE, SIZE), steps=steps, target=target, in_transform=normalize)
    state = torchbearer.State()
    state.update(
        {
            torchbearer.MODEL: network,
            torchbearer.DEVICE: device,
            torchbearer.DATA_TYPE: torch.float32,
            torchbearer.EPOCH: 0,
        }
    )
    model.on_batch(state)


def draw_with_lucent(network: nn.Module, target: int, steps: int) -> None:
    """Runs `render_vis` with its defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lucent.optvis.render import render_vis

        render_vis(network, f"labels:{target}", thresholds=(steps,), progress=False, show_image=False)
