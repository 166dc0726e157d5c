"""What an ascent is made of: how to climb, one target's place in a batch, a step, and how a slot leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from worker.engine.backward import PLAIN, Gentle
from worker.engine.bound import Bound, clip
from worker.engine.image import Image
from worker.engine.objective import ClassScore, Objective
from worker.engine.optimizer import Optimizer
from worker.engine.prior import Prior
from worker.engine.schedule import Schedule, constant
from worker.engine.start import Start
from worker.engine.transform import Transform

RESTARTS = 3
"""How often a target without a gradient is started again before it is given up."""

CLASS_SCORE = ClassScore()

Reason = Literal["steps", "probability", "plateau", "dead"]


@dataclass(frozen=True)
class Slot:
    """One target's place in a batch: all that may differ between targets.

    Attributes:
        target: Class index.
        seed: Of all its randomness.
        rate: Step size.
        weights: Of the ascent's priors, one each.
    """

    target: int
    seed: int
    rate: float
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ascent:
    """How to climb; what a batch has in common.

    Attributes:
        steps: How many to take.
        image: How the pictures are written down.
        size: Height and width of the pictures in pixels.
        start: Where each slot begins.
        optimizer: Gives the optimiser's empty memory for some parameters.
        transform: What the network is shown of the pictures at each step.
        views: How many views of each picture it is shown per step.
        gentle: How much gentler than it is the network's gradient is taken to be.
        objective: What is maximised.
        priors: What is kept small, with each slot's weights.
        schedule: Factor of the step size at each step.
        blur: Every so many steps the pictures are blurred by so many pixels; 0 for never.
        eight_bits: The pictures are rounded to 8 bits after each step.
        origins: Where each slot's picture comes from (N, C, H, W), for the bounds.
        bounds: What brings pictures back after each step that went too far, in this order.
        restarts: How often a slot without a gradient is started again from noise before it is given up.
        keep_best: Give the best picture that was looked at, and not the last.
        stop_probability: A target leaves when its picture, without transforms, has a larger one.
        stop_plateau: A target leaves when its best value is so many steps old.
        look_every: Steps between two looks at the pictures without transforms, for the three above.
        as_saved: Those looks are at the pictures in 8 bits.
    """

    steps: int
    image: Image
    size: tuple[int, int]
    start: Start
    optimizer: Callable[[Tensor], Optimizer]
    transform: Transform
    views: int = 1
    gentle: Gentle = PLAIN
    objective: Objective = CLASS_SCORE
    priors: tuple[Prior, ...] = ()
    schedule: Schedule = constant
    blur: tuple[int, float] = (0, 0.0)
    eight_bits: bool = False
    origins: Tensor | None = None
    bounds: tuple[Bound, ...] = ()
    restarts: int = RESTARTS
    keep_best: bool = False
    stop_probability: float | None = None
    stop_plateau: int | None = None
    look_every: int = 10
    as_saved: bool = False

    @property
    def bounded(self) -> bool:
        """Whether pictures are held near their origins."""
        return any(bound is not clip for bound in self.bounds)

    @property
    def looks(self) -> bool:
        """Whether pictures are looked at without transforms while they climb."""
        return self.keep_best or self.stop_probability is not None or self.stop_plateau is not None


@dataclass(frozen=True)
class End:
    """A slot that has left the batch.

    Attributes:
        slot: Its number.
        picture: (C, H, W), on the CPU.
        steps: How many it took, up to this picture.
        reason: Why it left; `dead` where its gradient was zero or not finite however often it was started again.
    """

    slot: int
    picture: Tensor
    steps: int
    reason: Reason


@dataclass(frozen=True)
class Step:
    """The batch after a step. Tensors stay on the device; nothing waits for them unless they are read.

    Attributes:
        slots: The numbers of the slots that climb on.
        taken: How many steps each of these has taken.
        image: How the parameters are to be read.
        parameters: Of these slots: (N, …).
        climbed: The numbers of the slots that took this step.
        values: What the objective was for each of those before it: (M,).
        ended: The slots that left with this step.
    """

    slots: tuple[int, ...]
    taken: tuple[int, ...]
    image: Image
    parameters: Tensor
    climbed: tuple[int, ...]
    values: Tensor
    ended: tuple[End, ...]

    def of(self, names: Mapping[int, int]) -> "Step":
        """The same for some of the slots, by the numbers that they have elsewhere."""
        rows = [row for row, number in enumerate(self.slots) if number in names]
        climbed = [row for row, number in enumerate(self.climbed) if number in names]
        return Step(
            slots=tuple(names[self.slots[row]] for row in rows),
            taken=tuple(self.taken[row] for row in rows),
            image=self.image,
            parameters=self.parameters if len(rows) == len(self.slots) else self.parameters[rows],
            climbed=tuple(names[self.climbed[row]] for row in climbed),
            values=self.values if len(climbed) == len(self.climbed) else self.values[climbed],
            ended=tuple(replace(end, slot=names[end.slot]) for end in self.ended if end.slot in names),
        )

    def pictures(self, rows: Sequence[int] | None = None) -> Tensor:
        """Of the slots that climb on, or some of them by their rows: (N, C, H, W)."""
        return self.image.picture(self.parameters if rows is None else self.parameters[list(rows)])
