"""The ascent loop of every method: it runs a group of slots in the lane's batch, step by step, with checkpoints."""

import itertools
import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archetype.contract.job import Progress
from worker.engine.ascent.config import FAILURES, End, Reason, Step
from worker.engine.ascent.octaves import OctaveState, RunningBatch, SlotPlan
from worker.engine.model.classifier import Classifier
from worker.engine.render import RGBImage, to_uint8
from worker.inputs.preprocess import Levels
from worker.job.cobatch import BatchRequest
from worker.optimization.checkpoint import SavedGroup
from worker.optimization.trajectory import Trajectory

NOT_FINITE = "the network gives NaN or infinity for the images of the ascent; try another start or learning_rate"


@dataclass(frozen=True)
class AscentResult:
    """The result of one slot.

    Attributes:
        end: How the slot left the ascent, with its image in floats.
        levels: The image as it is saved: (H, W, C).
        curve: The objective before each step: (steps,).
        frames: Frames of the animation; None if the job saves no animations, floats and curves.
        stills: Images along the way (H, W, C), by step.
    """

    end: End
    levels: Levels
    curve: NDArray[np.float32]
    frames: list[RGBImage] | None
    stills: dict[int, Levels]


@dataclass(frozen=True)
class NoResult:
    """A slot that ended without an image, and why."""

    reason: Reason = "not_finite"

    def describe(self, dead: str) -> dict[str, Any]:
        """The metrics of the slot; `dead` says what it means that there is no gradient, and what to do."""
        return {"error": NOT_FINITE if self.reason == "not_finite" else dead, "stopped": self.reason}


def has_finite_scores(prediction: Mapping[str, Any]) -> bool:
    """Whether a prediction of a saved image can be used: a single score of NaN makes every probability NaN."""
    return math.isfinite(prediction["score"]) and math.isfinite(prediction["probability"])


class RunningAscents:
    """Executor of ascent steps: slots of several jobs take their steps as one batch."""

    def __init__(self, classifier: Classifier, at_once: int) -> None:
        """Creates an executor without slots.

        Args:
            classifier: The network.
            at_once: Maximum number of slots in one pass through the network.
        """
        self._batch = RunningBatch(classifier, at_once=at_once)
        self._numbers = itertools.count()

    def enter(self, plans: Mapping[int, SlotPlan], states: Mapping[int, OctaveState] | None = None) -> dict[int, int]:
        """Adds the slots of a job, from their first step or from saved states.

        Returns:
            The keys of `plans`, by the numbers that the slots have in the batch.
        """
        positions = {next(self._numbers): position for position in plans}
        numbered = {number: plans[position] for number, position in positions.items()}
        if states is None:
            self._batch.join(numbered)
        else:
            self._batch.restore(numbered, {number: states[position] for number, position in positions.items()})
        return positions

    def leave(self, numbers: Collection[int]) -> None:
        """Removes slots, by their numbers in the batch."""
        self._batch.leave(numbers)

    def states(self, positions: Mapping[int, int]) -> dict[int, OctaveState]:
        """The states of the running slots among `positions`, by their positions in their job."""
        return {positions[number]: state for number, state in self._batch.states(positions).items()}

    def compute(self, wants: Sequence[Mapping[int, int]]) -> list[list[Step]]:
        """Takes one step of the slots of all requests.

        Args:
            wants: For each request, the positions of its slots by their numbers in the batch.

        Returns:
            For each request, the steps of its slots, with their positions as numbers.
        """
        steps = self._batch.step({number for positions in wants for number in positions})
        return [[part for step in steps if (part := step.of(positions)).stepped] for positions in wants]


class AscentGroup:
    """Slots of one job that run together. A slot's number is its position in the plans.

    Attributes:
        plans: What each slot does.
        trajectory: Records the steps.
    """

    def __init__(self, plans: Sequence[SlotPlan], trajectory: Trajectory, saved: SavedGroup | None = None) -> None:
        """Creates a group that starts from its first step, or continues from a checkpoint."""
        self.plans = plans
        self.trajectory = trajectory
        self._ends: dict[int, End] = {}
        self._taken = dict.fromkeys(range(len(plans)), 0)
        self._states: Callable[[], Mapping[int, OctaveState] | None] = lambda: None
        if saved is not None:
            self._restore(saved)

    @property
    def steps_taken(self) -> int:
        """Steps of all slots so far; a slot that has ended counts as if it had taken all of its steps."""
        return sum(self._taken.values())

    @property
    def is_complete(self) -> bool:
        """Whether all slots have ended."""
        return len(self._ends) == len(self.plans)

    @contextmanager
    def running_in(self, executor: RunningAscents) -> Iterator[Mapping[int, int]]:
        """Runs the slots that have not ended in an executor; gives their positions by their numbers there."""
        plans = {number: plan for number, plan in enumerate(self.plans) if number not in self._ends}
        positions = executor.enter(plans, self._states())
        self._states = lambda: executor.states(positions)
        try:
            yield positions
        finally:
            executor.leave(positions)

    def record(self, step: Step) -> None:
        """Records a step of some of the slots."""
        self.trajectory.record(step)
        self._taken |= dict(zip(step.slots, step.taken, strict=True))
        self._end({end.slot: end for end in step.ended})

    def save(self) -> SavedGroup:
        """Returns how far the slots are, for a checkpoint."""
        ends = {number: (end.image, end.steps, end.reason) for number, end in self._ends.items()}
        return SavedGroup(states=dict(self._states() or {}), ends=ends, trajectory=self.trajectory.save())

    def results(self) -> dict[int, AscentResult]:
        """The results of the slots that have ended with an image, by their numbers."""
        curves = self.trajectory.curves()
        return {
            number: AscentResult(
                end=end,
                levels=to_uint8(end.image),
                curve=curves[number],
                frames=self.trajectory.frames.get(number, []) if self.trajectory.frames_at is not None else None,
                stills=self.trajectory.stills.get(number, {}),
            )
            for number, end in sorted(self._ends.items())
            if end.reason not in FAILURES
        }

    def failures(self) -> dict[int, NoResult]:
        """The slots that have ended without an image, by their numbers."""
        return {number: NoResult(end.reason) for number, end in self._ends.items() if end.reason in FAILURES}

    def _end(self, ends: Mapping[int, End]) -> None:
        self._ends |= ends
        self._taken |= {number: self.plans[number].steps for number in ends}

    def _restore(self, saved: SavedGroup) -> None:
        self.trajectory.restore(saved["trajectory"])
        self._states = lambda: saved["states"]
        for number, (octave, state) in saved["states"].items():
            self._taken[number] = self.plans[number].count_steps_before(octave) + state["taken"]
        self._end({number: End(number, *end) for number, end in saved["ends"].items()})


def run_ascents(
    executor: RunningAscents,
    group: AscentGroup,
    *,
    report: Callable[[], Progress],
    checkpoint: Callable[[], bytes],
) -> Generator[BatchRequest, list[Step], dict[int, AscentResult]]:
    """Runs a group of slots until all of them have ended: the only ascent loop of the worker.

    Every step is a batch request, so the slots of several jobs may take it together, and the job may be cancelled,
    stopped or saved before it.

    Args:
        executor: Takes the steps.
        group: The slots.
        report: Returns the progress of the job.
        checkpoint: Returns the bytes from which another attempt continues.

    Returns:
        The results of the slots that have ended with an image, by their numbers in the group.
    """
    with group.running_in(executor) as positions:
        while not group.is_complete:
            for step in (yield BatchRequest(executor, positions, report(), checkpoint)):
                group.record(step)
    return group.results()
