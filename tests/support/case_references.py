"""What plain PyTorch and Captum compute for a case: gradients, Grad-CAM, and the outputs of layers."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.support.case_rows import Case, Compute
from tests.support.case_runs import Run


@contextmanager
def quiet() -> Iterator[None]:
    """Ignores warnings: gradient checkpointing warns if nothing has a gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def predict(run: Run, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The right scores and probabilities (N, K) of inputs, computed from two images at least."""
    pair = torch.cat([inputs, inputs]) if len(inputs) == 1 else inputs
    with torch.no_grad(), quiet():
        scores, probabilities = (
            compute(run.network, pair.clone()) for compute in (run.case.score, run.case.probabilities)
        )
    return scores[: len(inputs)], probabilities[: len(inputs)]


def centered(case: Case, values: Tensor, axis: int) -> Tensor:
    """Values relative to their mean over the classes, if they are right up to a constant."""
    return values - values.mean(axis, keepdim=True) if case.centered else values


def varies(run: Run) -> bool:
    """Whether the scores of the plain network differ between pictures."""
    with torch.no_grad(), quiet():
        return bool(run.case.score(run.network, run.inputs).std(0).max() > 1e-7)


def measure_gradient_error(run: Run, found: Tensor, score: Compute) -> float:
    """The largest difference of gradients (K, N, H, W) from those of a function of the plain network.

    It is relative to the largest gradient, unless that is tiny.
    """
    expected = []
    for target in range(len(run.case.classes)):
        inputs = run.inputs.requires_grad_()
        scores = score(run.network, inputs.clone())  # a clone, because networks may change their input in place
        (gradient,) = torch.autograd.grad(scores[:, target].sum(), inputs)
        expected.append(gradient.sum(1))
    right = centered(run.case, torch.stack(expected), 0)
    difference = (centered(run.case, found, 0) - right).abs().max()
    return float(difference / right.abs().max().clamp(1e-6, 1))


def captum(run: Run, layer: str, target: int) -> NDArray[Any]:
    """Captum's Grad-CAM (N, H, W) of the first two pictures, stretched to the input."""
    from captum.attr import LayerAttribution, LayerGradCam  # it takes two seconds in each process that collects tests

    inputs = run.inputs[:2].requires_grad_()

    def score(images: Tensor) -> Tensor:
        return run.case.score(run.network, images.clone())

    module: nn.Module = run.network.get_submodule(layer)
    maps = LayerGradCam(score, module).attribute(inputs, target, relu_attributions=True)
    stretched: Tensor = LayerAttribution.interpolate(maps, run.case.size, "bilinear")
    return stretched[:, 0].detach().numpy()


def read_layer(run: Run, name: str) -> NDArray[Any]:
    """The maps (N, K, h, w) of a layer of the plain network; tokens (N, 1 + h * w, K) are laid out in a square."""
    seen: list[Tensor] = []
    hook = run.network.get_submodule(name).register_forward_hook(lambda _m, _i, found: seen.append(found.clone()))
    try:
        with torch.no_grad(), quiet():
            run.network(run.inputs)
    finally:
        hook.remove()
    values = seen[-1]
    if values.ndim == 3:
        side = round((values.shape[1] - 1) ** 0.5)
        values = values[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    return np.asarray(values)
