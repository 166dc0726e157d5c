"""The configuration of an ascent (`Ascent`, `Slot`), and what the loop yields (`Step`, `End`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from worker.engine.ascent.constraints import Constraint, clip, round_to_8_bits, round_toward
from worker.engine.ascent.initial import InitialImage
from worker.engine.ascent.objectives import ClassScore, Objective
from worker.engine.ascent.optimizers import Optimizer
from worker.engine.ascent.parameterization import Parameterization
from worker.engine.ascent.regularizers.features import FeatureStatistics
from worker.engine.ascent.regularizers.image import Regularizer, sum_penalties
from worker.engine.ascent.schedules import Schedule, constant
from worker.engine.ascent.transforms import Transform
from worker.engine.gradients.relaxed import PLAIN, RelaxedGradient
from worker.engine.model.classifier import Outputs

RESTARTS = 3
"""Restarts of a slot without a gradient before it is given up."""

CLASS_SCORE = ClassScore()

Reason = Literal["steps", "probability", "plateau", "dead", "not_finite"]
"""Why a slot left the batch.

`steps`: it took all its steps. `probability`, `plateau`: it met a stopping criterion. `dead`: its gradient was zero
after every restart. `not_finite`: its objective, gradient, scores or image were NaN or infinite, after every restart.
Slots of the last two reasons have no result.
"""

FAILURES: frozenset[Reason] = frozenset({"dead", "not_finite"})
"""Reasons of slots without a result."""


@dataclass(frozen=True)
class Slot:
    """One image of a batch: all settings that may differ within a batch.

    Attributes:
        target: Class index, or what the objective takes as a target.
        seed: Seed of the initial image, the transforms and the restarts.
        rate: Step size.
        weights: Weight λ of each of the ascent's regularizers, and then of its feature statistics.
    """

    target: int
    seed: int
    rate: float
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ascent:
    """The settings that all slots of a batch share.

    Attributes:
        steps: Number of steps.
        parameterization: How parameters become images.
        size: Height and width of the images in pixels.
        start: Gives the initial parameters.
        optimizer: Gives an optimizer in its initial state for some parameters (N, …).
        transform: Gives the views of the images that the network receives.
        views: Number of views of each image per step; the objective is their mean.
        relaxed: Derivatives of ReLU and max pooling in the backward pass.
        objective: The value that is maximized.
        regularizers: Penalties, weighted by each slot's weights.
        features: A penalty on the features of the views, weighted by the last of each slot's weights; None for none.
        schedule: Factor of the step size for each step.
        blur: Number of steps between two blurs (0 for none), and their standard deviation in pixels.
        eight_bits: Whether the images are rounded to 8 bits after each step.
        origins: Reference image of each slot (N, C, H, W) in 0..1, for the constraints.
        constraints: Projections that are applied to the images after each step, in this order.
        restarts: Restarts from noise of a slot without a gradient before it is given up.
        keep_best: Whether the result is the best image that was evaluated, and not the last one.
        stop_probability: A slot stops when the target's probability is larger; None for never.
        stop_plateau: A slot stops when its best value is this number of steps old; None for never.
        check_every: Steps between two evaluations without transforms, for the three settings above.
        as_saved: Whether these evaluations, and constrained results, use images rounded to 8 bits.
    """

    steps: int
    parameterization: Parameterization
    size: tuple[int, int]
    start: InitialImage
    optimizer: Callable[[Tensor], Optimizer]
    transform: Transform
    views: int = 1
    relaxed: RelaxedGradient = PLAIN
    objective: Objective = CLASS_SCORE
    regularizers: tuple[Regularizer, ...] = ()
    features: FeatureStatistics | None = None
    schedule: Schedule = constant
    blur: tuple[int, float] = (0, 0.0)
    eight_bits: bool = False
    origins: Tensor | None = None
    constraints: tuple[Constraint, ...] = ()
    restarts: int = RESTARTS
    keep_best: bool = False
    stop_probability: float | None = None
    stop_plateau: int | None = None
    check_every: int = 10
    as_saved: bool = False

    @property
    def feature_layers(self) -> frozenset[str]:
        """Names of the layers that the penalty on the features reads."""
        return self.features.layers if self.features else frozenset()

    @property
    def stays_near_origin(self) -> bool:
        """Whether a constraint other than clipping limits the distance from the origins."""
        return any(constraint is not clip for constraint in self.constraints)

    @property
    def needs_checks(self) -> bool:
        """Whether images are evaluated without transforms during the ascent."""
        return self.keep_best or self.stop_probability is not None or self.stop_plateau is not None

    def project(self, parameters: Tensor, origins: Tensor) -> Tensor:
        """Projects parameters (N, …) so that their images satisfy all constraints around origins (N, C, H, W)."""
        if not self.constraints:
            return parameters
        images = self.parameterization.image(parameters)
        for constraint in self.constraints:
            images = constraint(images, origins)
        return self.parameterization.parameters(images)

    def quantize(self, parameters: Tensor) -> Tensor:
        """Changes parameters (N, …) so that their images have 8 bits, if the ascent works in 8 bits."""
        if not self.eight_bits:
            return parameters
        images = self.parameterization.image(parameters)
        return self.parameterization.parameters(round_to_8_bits(images))

    def round_as_saved(self, images: Tensor, origins: Tensor) -> Tensor:
        """Rounds images (N, C, H, W) to 8 bits; toward the origins if the images have to stay near them."""
        return round_toward(images, origins) if self.stays_near_origin else round_to_8_bits(images)

    def penalize(self, weights: Tensor, parameters: Tensor, images: Tensor) -> Tensor:
        """Computes Σ λ · regularizer for each slot.

        Args:
            weights: Weights λ (N, number of regularizers or more).
            parameters: (N, …).
            images: Their images (N, C, H, W).

        Returns:
            Penalties (N,).
        """
        if not self.regularizers:
            return torch.zeros(len(weights), device=weights.device)
        weights = weights[:, : len(self.regularizers)]
        return sum_penalties(self.regularizers, weights, self.parameterization.deviation(parameters, images))

    def penalize_features(self, weights: Tensor, outputs: Outputs) -> Tensor:
        """Computes λ · feature statistics of some views of each slot.

        Args:
            weights: Weights λ (N, number of regularizers + 1).
            outputs: The network's outputs for all first views, then all second views, and so on.

        Returns:
            Penalties (N,), the mean over the views.
        """
        if self.features is None:
            return torch.zeros(len(weights), device=weights.device)
        return weights[:, -1] * self.features(outputs).view(-1, len(weights)).mean(0)


@dataclass(frozen=True)
class End:
    """The result of a slot that has left the batch.

    Attributes:
        slot: The slot's number.
        image: (C, H, W) on the CPU, in 0..1 if the parameterization or a constraint ensures it.
        steps: Number of steps that led to this image.
        reason: Why the slot left.
    """

    slot: int
    image: Tensor
    steps: int
    reason: Reason


@dataclass(frozen=True)
class Step:
    """The batch after a step. Tensors stay on the device, and the host waits for them only when they are read.

    Attributes:
        slots: Numbers of the slots that remain.
        taken: Number of steps that each of these has taken.
        parameterization: How parameters become images.
        parameters: Parameters of these slots (N, …).
        stepped: Numbers of the slots that took this step.
        values: Objective of each of those before the step (M,).
        ended: Results of the slots that left with this step.
    """

    slots: tuple[int, ...]
    taken: tuple[int, ...]
    parameterization: Parameterization
    parameters: Tensor
    stepped: tuple[int, ...]
    values: Tensor
    ended: tuple[End, ...]

    def of(self, names: Mapping[int, int]) -> "Step":
        """Returns the step of some of the slots.

        Args:
            names: The new number of each of these slots, by its number.
        """
        rows = [row for row, number in enumerate(self.slots) if number in names]
        stepped = [row for row, number in enumerate(self.stepped) if number in names]
        return Step(
            slots=tuple(names[self.slots[row]] for row in rows),
            taken=tuple(self.taken[row] for row in rows),
            parameterization=self.parameterization,
            parameters=self.parameters if len(rows) == len(self.slots) else self.parameters[rows],
            stepped=tuple(names[self.stepped[row]] for row in stepped),
            values=self.values if len(stepped) == len(self.stepped) else self.values[stepped],
            ended=tuple(replace(end, slot=names[end.slot]) for end in self.ended if end.slot in names),
        )

    def images(self, rows: Sequence[int] | None = None) -> Tensor:
        """Returns the images (N, C, H, W) of the remaining slots, or of some of their rows."""
        return self.parameterization.image(self.parameters if rows is None else self.parameters[list(rows)])
