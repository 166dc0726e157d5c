"""Octaves: the same ascent on canvases from small to large, each starting from the result of the one before."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import Tensor

from worker.engine.ascent.batch import Batch, State
from worker.engine.ascent.config import Ascent, End, Slot, Step
from worker.engine.ascent.initial import Given
from worker.engine.ascent.loop import advance, begin
from worker.engine.ascent.transforms import fit
from worker.engine.model.classifier import Classifier

OctaveState = tuple[int, State]
"""The octave that a slot is in, and its state in that octave."""


@dataclass(frozen=True)
class SlotPlan:
    """Everything that a slot does, from its first octave to its last.

    Attributes:
        ascents: One per octave.
        image: The image of the slot (C, H, W) in 0..1. If given, each octave starts from this image at its own size
            plus what the octaves before have changed, so that detail lost on smaller canvases comes back.
    """

    slot: Slot
    ascents: Sequence[Ascent]
    image: Tensor | None = None

    @property
    def steps(self) -> int:
        """Steps of all octaves."""
        return self.count_steps_before(len(self.ascents))

    def count_steps_before(self, octave: int) -> int:
        """Steps of all octaves before this one."""
        return sum(ascent.steps for ascent in self.ascents[:octave])


def ascend_octaves(
    classifier: Classifier,
    ascents: Sequence[Ascent],
    slots: Sequence[Slot],
    *,
    at_once: int | None = None,
    images: Tensor | None = None,
) -> Iterator[Step]:
    """Runs one ascent after another: a small canvas finds large shapes, a large canvas adds detail.

    The octaves of Mordvintsev et al. 2015 ("Inceptionism"). A slot that leaves an octave before the octave's last step
    has ended; the other slots continue from their enlarged image.

    Args:
        classifier: The network.
        ascents: One per octave, the same for all slots.
        slots: The slots, numbered by their position.
        at_once: Maximum number of slots in one pass through the network.
        images: The image of each slot (N, C, H, W) in 0..1; see `SlotPlan.image`.

    Yields:
        The steps of all octaves, counted through, with the positions in `slots` as numbers.
    """
    running = RunningBatch(classifier, at_once=at_once or len(slots))
    plans = [SlotPlan(slot, ascents, None if images is None else images[number]) for number, slot in enumerate(slots)]
    running.join(dict(enumerate(plans)))
    while running.numbers:
        yield from running.step()


class RunningBatch:
    """Slots that take their steps side by side. Slots join and leave between steps without effect on the others.

    Within an octave, all slots must have the same ascent except for its steps, schedule, start and origins: they share
    a batch.
    """

    def __init__(self, classifier: Classifier, *, at_once: int) -> None:
        """Creates an empty batch.

        Args:
            classifier: The network.
            at_once: Maximum number of slots in one pass through the network; it shrinks when memory runs out.
        """
        self._classifier = classifier
        self._limit = at_once
        self._plans: dict[int, SlotPlan] = {}
        self._octaves: dict[int, Batch] = {}

    @property
    def numbers(self) -> Collection[int]:
        """Numbers of the running slots."""
        return self._plans.keys()

    def join(self, plans: Mapping[int, SlotPlan]) -> None:
        """Adds slots before their first step, under numbers that no running slot has."""
        self._plans |= plans
        for _, group in groupby(plans.items(), key=lambda item: id(item[1].ascents)):
            together = dict(group)
            ascents = next(iter(together.values())).ascents
            slots = {number: plan.slot for number, plan in together.items()}
            self._enter(0, begin(self._classifier, ascents[0], slots))

    def leave(self, numbers: Collection[int]) -> None:
        """Removes slots; numbers that are not running are ignored."""
        for number in numbers:
            self._plans.pop(number, None)
        for octave, batch in list(self._octaves.items()):
            rows = [row for row, number in enumerate(batch.numbers) if number not in numbers]
            self._replace(octave, batch.take(rows))

    def states(self, numbers: Collection[int]) -> dict[int, OctaveState]:
        """The states of running slots, by their numbers, for `restore`."""
        states: dict[int, OctaveState] = {}
        for octave, batch in self._octaves.items():
            rows = [row for row, number in enumerate(batch.numbers) if number in numbers]
            chosen = batch.take(rows).states() if rows else {}
            states |= {number: (octave, state) for number, state in chosen.items()}
        return states

    def restore(self, plans: Mapping[int, SlotPlan], states: Mapping[int, OctaveState]) -> None:
        """Adds slots in the states that `states` returned, with the plans that they had then.

        A plan whose ascent starts from an image, or has origins, must hold those of its own slot alone: (1, C, H, W).
        """
        self._plans |= plans
        for number, plan in plans.items():
            octave, state = states[number]
            started = begin(self._classifier, plan.ascents[octave], {number: plan.slot})
            self._enter(octave, started.restore([state]))

    def step(self, numbers: Collection[int] | None = None) -> list[Step]:
        """Lets all slots, or some of them, take one step; returns one `Step` per octave that these slots are in.

        If the network raises, no slot has taken a step.
        """
        before = dict(self._plans), dict(self._octaves)
        try:
            return self._step_all(numbers)
        except BaseException:
            self._plans, self._octaves = before
            raise

    def _step_all(self, numbers: Collection[int] | None) -> list[Step]:
        steps = []
        for octave in sorted(self._octaves, reverse=True):  # a slot that enters the next octave has taken its step
            batch = self._octaves[octave]
            rows = [row for row, number in enumerate(batch.numbers) if numbers is None or number in numbers]
            if rows:
                steps.append(self._step(octave, batch, rows))
        return steps

    def _step(self, octave: int, batch: Batch, rows: Sequence[int]) -> Step:
        moving = batch.take(rows)
        ascent = self._plans[moving.numbers[0]].ascents[octave]
        moved, step, self._limit = advance(self._classifier, ascent, moving, self._limit)
        waiting = [row for row in range(len(batch)) if row not in set(rows)]
        self._replace(octave, moved.join(batch.take(waiting)) if waiting else moved)
        before = {number: self._plans[number].count_steps_before(octave) for number in step.stepped}
        ended = [replace(end, steps=before[end.slot] + end.steps) for end in step.ended]
        onward = [end for end in ended if end.reason == "steps" and octave + 1 < len(self._plans[end.slot].ascents)]
        for end in sorted(onward, key=lambda end: end.slot):
            self._enter_next(octave + 1, end)
        last = tuple(end for end in ended if end not in onward)
        for end in last:
            del self._plans[end.slot]
        taken = tuple(before[number] + taken for number, taken in zip(step.slots, step.taken, strict=True))
        return replace(step, taken=taken, ended=last)

    def _enter_next(self, octave: int, end: End) -> None:
        """Starts a slot in its next octave, from the image that the octave before ended with."""
        plan = self._plans[end.slot]
        ascent, result = plan.ascents[octave], end.image[None]  # (1, C, H, W)
        start = fit(result, ascent.size)
        if plan.image is not None:
            original = plan.image[None]
            change = result - fit(original, plan.ascents[octave - 1].size)
            start = fit(original, ascent.size) + fit(change, ascent.size)
        self._enter(octave, begin(self._classifier, replace(ascent, start=Given(start)), {end.slot: plan.slot}))

    def _enter(self, octave: int, batch: Batch) -> None:
        running = self._octaves.get(octave)
        self._octaves[octave] = batch if running is None else running.join(batch)

    def _replace(self, octave: int, batch: Batch) -> None:
        if len(batch):
            self._octaves[octave] = batch
        else:
            self._octaves.pop(octave, None)
