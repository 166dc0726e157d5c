"""Execution plans, and the plan that a network starts with."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from worker.engine.model.classifier import Classifier, in_precision
from worker.engine.model.cuda_graph import Graphs
from worker.engine.model.network_call import NetworkError, compute_gradients

Precision = Literal["float32", "bfloat16"]

FIRST_BATCH = {"cpu": 8, "cuda": 32}
"""Batch size of the first plan, by type of device. Few networks are much faster with another one."""

MAX_ERROR = 0.25
"""Largest difference of the scores in bfloat16 from those in float32, relative, as a Euclidean norm."""

MAX_DEPTHWISE = 0.2
"""Part of the convolutions that may be depthwise in bfloat16: those are slower in it."""


@dataclass(frozen=True)
class ExecutionPlan:
    """How a network is run.

    Attributes:
        precision: Precision in which the network computes.
        batch: Images per pass.
        milliseconds: Measured time per image, forward and backward; 0 if it was not measured.
        graphs: Whether passes are recorded as CUDA graphs.
        load: Processors that other processes used while it was measured, on average.
    """

    precision: Precision
    batch: int
    milliseconds: float
    graphs: bool = False
    load: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        """The precision as a torch type."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


def apply_plan(classifier: Classifier, plan: ExecutionPlan) -> Classifier:
    """Returns the classifier in the plan's precision, with CUDA graphs if the plan uses them."""
    return replace(in_precision(classifier, plan.dtype), graphs=Graphs() if plan.graphs else None)


def choose_first_plan(classifier: Classifier) -> ExecutionPlan:
    """Chooses a plan from what is known of the device and the network, in the time of a few passes of two images.

    The network starts with it, before `measure_plan` has found the fastest.

    Returns:
        The plan: bfloat16 if the device has units for it and the network works in it, otherwise float32.
    """
    batch = FIRST_BATCH.get(classifier.device.type, 8)
    limit = classifier.traits.max_batch or batch
    suits_half = has_half_units(classifier.device) and not is_depthwise(classifier.network)
    precision: Precision = "bfloat16" if suits_half and works_in_half(classifier) else "float32"
    return ExecutionPlan(precision, min(batch, limit), 0.0)


def has_half_units(device: torch.device) -> bool:
    """Whether a device computes products in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    abilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(present is True for name, present in abilities.items() if name.endswith("bf16"))


def is_depthwise(network: nn.Module) -> bool:
    """Whether a notable part of the convolutions of a network are depthwise."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    depthwise = [layer for layer in convolutions if layer.groups == layer.in_channels > 1]
    return len(depthwise) > MAX_DEPTHWISE * len(convolutions)


def works_in_half(classifier: Classifier) -> bool:
    """Whether a network runs in bfloat16, forward and backward, with about the scores of float32."""
    inputs = draw_inputs(classifier, 2)
    try:
        exact = classifier.scores(inputs)
        half = in_precision(classifier, torch.bfloat16).scores(inputs.requires_grad_())
        if half.requires_grad:
            compute_gradients(half.sum(), [inputs])
    except NetworkError:  # some networks run only in float32, some have layers without kernels for bfloat16
        return False
    return is_close(half.detach(), exact.detach())


def is_close(scores: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether scores (N, K) are finite and about those of float32 (N, K)."""
    return bool(scores.isfinite().all()) and float((scores - exact).norm()) <= MAX_ERROR * float(exact.norm())


def draw_inputs(classifier: Classifier, count: int) -> torch.Tensor:
    """Draws random normalized images (N, C, H, W), values from -1 to 1."""
    inputs = torch.zeros(count, classifier.channels, *classifier.size, device=classifier.device)
    return inputs.uniform_(-1, 1, generator=torch.Generator(classifier.device).manual_seed(0))
