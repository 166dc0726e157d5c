"""Octaves: the same ascent on canvases from small to large, each beginning with what the one before has found."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from worker.engine.ascend import ascend
from worker.engine.ascent import Ascent, End, Slot, Step
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
    numbers = list(range(len(slots)))
    start, taken = ascents[0].start, 0
    for ascent, following in zip(ascents, [*ascents[1:], None], strict=True):
        carried: dict[int, End] = {}
        climbing = [slots[number] for number in numbers]
        for step in ascend(classifier, replace(ascent, start=start), climbing, at_once=at_once):
            ended = [replace(end, slot=numbers[end.slot], steps=taken + end.steps) for end in step.ended]
            carried |= {end.slot: end for end in ended if following and end.reason == "steps"}
            yield replace(
                step,
                index=taken + step.index,
                slots=tuple(numbers[slot] for slot in step.slots),
                climbed=tuple(numbers[slot] for slot in step.climbed),
                ended=tuple(end for end in ended if end.slot not in carried),
            )
        if following is None or not carried:
            return
        numbers, taken = sorted(carried), taken + ascent.steps
        found = torch.stack([carried[number].picture for number in numbers])
        if pictures is None:
            start = Given(fit(found, following.size))
        else:
            given = pictures[numbers]
            changed = fit(found - fit(given, ascent.size), following.size)
            start = Given(fit(given, following.size) + changed)
