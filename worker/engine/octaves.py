"""Octaves: the same ascent on canvases from small to large, each beginning with what the one before has found."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from worker.engine.ascend import advance, begin
from worker.engine.ascent import Ascent, End, Slot, Step
from worker.engine.batch import Batch, State
from worker.engine.classifier import Classifier
from worker.engine.start import Given
from worker.engine.transform import fit


def ascend_octaves(
    classifier: Classifier,
    ascents: Sequence[Ascent],
    slots: Sequence[Slot],
    *,
    at_once: int | None = None,
    pictures: Tensor | None = None,
) -> Iterator[Step]:
    """Climbs one ascent after another; large shapes are found on a small canvas, details on a large one.

    The octaves of Mordvintsev et al. 2015 ("Inceptionism"). A slot that leaves an octave before its last step has
    ended; the others go on from their picture, enlarged.

    Args:
        at_once: How many slots go through the network at a time at most.
        pictures: What each slot begins with (N, C, H, W). With them, each octave begins with the picture at its own
            size and what the one before has changed: what was lost on the smaller canvas is back.

    Yields:
        The steps of all ascents, counted through, with the numbers that the slots have in `slots`.
    """
    running = RunningBatch(classifier, at_once=at_once or len(slots))
    running.join(ascents, dict(enumerate(slots)), pictures=pictures)
    while running.numbers:
        yield from running.step()


@dataclass(frozen=True)
class Climber:
    """A slot with its whole way.

    Attributes:
        ascents: One per octave.
        picture: What it begins with (C, H, W), where octaves are to give that back.
    """

    slot: Slot
    ascents: Sequence[Ascent]
    picture: Tensor | None

    def taken_before(self, octave: int) -> int:
        """Steps of all octaves before this one."""
        return sum(ascent.steps for ascent in self.ascents[:octave])


class RunningBatch:
    """Slots that climb side by side. Others join between two steps, and leave, and nobody notices.

    All must climb in the same way, except for steps, schedule and start: octave by octave they share a batch.
    """

    def __init__(self, classifier: Classifier, *, at_once: int) -> None:
        """Begins with nobody.

        Args:
            at_once: How many slots go through the network at a time at most; it shrinks when memory runs out.
        """
        self._classifier = classifier
        self._limit = at_once
        self._climbers: dict[int, Climber] = {}
        self._octaves: dict[int, Batch] = {}

    @property
    def numbers(self) -> Collection[int]:
        """Of the slots that climb now."""
        return self._climbers.keys()

    def join(self, ascents: Sequence[Ascent], slots: Mapping[int, Slot], *, pictures: Tensor | None = None) -> None:
        """Takes in slots, by numbers that nobody here has; `pictures` as for `ascend_octaves`."""
        for row, (number, slot) in enumerate(slots.items()):
            self._climbers[number] = Climber(slot, ascents, None if pictures is None else pictures[row])
        self._enter(0, begin(self._classifier, ascents[0], slots))

    def leave(self, numbers: Collection[int]) -> None:
        """Lets slots go as they are."""
        for number in numbers:
            self._climbers.pop(number, None)
        for octave, batch in list(self._octaves.items()):
            self._keep(octave, batch.take([row for row, one in enumerate(batch.numbers) if one not in numbers]))

    def states(self, numbers: Collection[int]) -> dict[int, tuple[int, State]]:
        """How far slots are, by their numbers: octave, and state in it."""
        found: dict[int, tuple[int, State]] = {}
        for octave, batch in self._octaves.items():
            rows = [row for row, number in enumerate(batch.numbers) if number in numbers]
            found |= {number: (octave, state) for number, state in batch.take(rows).states().items()} if rows else {}
        return found

    def restore(
        self, ascents: Sequence[Ascent], slots: Mapping[int, Slot], states: Mapping[int, tuple[int, State]]
    ) -> None:
        """Takes in slots where they were when they were put away."""
        for number, slot in slots.items():
            octave, state = states[number]
            self._climbers[number] = Climber(slot, ascents, None)
            started = begin(self._classifier, ascents[octave], {number: slot})
            self._enter(octave, started.restore([state]))

    def step(self, numbers: Collection[int] | None = None) -> list[Step]:
        """One step of everybody, or of some: one `Step` per octave that somebody is in.

        If the network raises, nobody has taken a step.
        """
        before = dict(self._climbers), dict(self._octaves)
        try:
            return self._step_all(numbers)
        except BaseException:
            self._climbers, self._octaves = before
            raise

    def _step_all(self, numbers: Collection[int] | None) -> list[Step]:
        found = []
        for octave in sorted(self._octaves, reverse=True):  # who goes on to the next octave has taken this step
            batch = self._octaves[octave]
            rows = [row for row, number in enumerate(batch.numbers) if numbers is None or number in numbers]
            if rows:
                found.append(self._step(octave, batch, rows))
        return found

    def _step(self, octave: int, batch: Batch, rows: Sequence[int]) -> Step:
        moving = batch.take(rows)
        ascent = self._climbers[moving.numbers[0]].ascents[octave]
        moved, step, self._limit = advance(self._classifier, ascent, moving, self._limit)
        waiting = [row for row in range(len(batch)) if row not in set(rows)]
        self._keep(octave, moved.join(batch.take(waiting)) if waiting else moved)
        before = {number: self._climbers[number].taken_before(octave) for number in step.climbed}
        ended = [replace(end, steps=before[end.slot] + end.steps) for end in step.ended]
        onward = [end for end in ended if end.reason == "steps" and octave + 1 < self._octaves_of(end.slot)]
        if onward:
            self._carry(octave, onward)
        last = tuple(end for end in ended if end not in onward)
        for end in last:
            del self._climbers[end.slot]
        taken = tuple(before[number] + taken for number, taken in zip(step.slots, step.taken, strict=True))
        return replace(step, taken=taken, ended=last)

    def _octaves_of(self, number: int) -> int:
        return len(self._climbers[number].ascents)

    def _carry(self, octave: int, ends: Sequence[End]) -> None:
        """Those who have ended an octave begin the next, with what they have found."""
        for end in sorted(ends, key=lambda end: end.slot):
            one = self._climbers[end.slot]
            size, following = one.ascents[octave].size, one.ascents[octave + 1]
            found = end.picture[None]
            if one.picture is None:
                start = fit(found, following.size)
            else:
                given = one.picture[None]
                start = fit(given, following.size) + fit(found - fit(given, size), following.size)
            self._enter(
                octave + 1, begin(self._classifier, replace(following, start=Given(start)), {end.slot: one.slot})
            )

    def _enter(self, octave: int, batch: Batch) -> None:
        there = self._octaves.get(octave)
        self._octaves[octave] = batch if there is None else there.join(batch)

    def _keep(self, octave: int, batch: Batch) -> None:
        if len(batch):
            self._octaves[octave] = batch
        else:
            self._octaves.pop(octave, None)
