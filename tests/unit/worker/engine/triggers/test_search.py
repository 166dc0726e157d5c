"""The search loop, compared with a slow and literal version of the paper, and its independence of the batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from tests.support.marked import CLASSES, PLANTED, SIDE, Marked, make_carriers, make_labeled
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.triggers.families.mask import MaskPattern
from worker.engine.triggers.find import FAMILIES
from worker.engine.triggers.measure import measure
from worker.engine.triggers.search import Draws, Search, Slot, State, search

SHAPE = (3, SIDE, SIDE)
SLOTS = [Slot(0, 7), Slot(PLANTED, 7), Slot(PLANTED, 8)]


@contextmanager
def opened(network: nn.Module) -> Iterator[Classifier]:
    with open_classifier(
        network, mean=[0.5] * 3, std=[0.25] * 3, size=(SIDE, SIDE), device=torch.device("cpu")
    ) as classifier:
        yield classifier


def run(settings: Search, slots: list[Slot], network: nn.Module | None = None, **options: object) -> list[State]:
    with opened(network or Marked()) as classifier:
        return list(search(classifier, settings, slots, make_carriers(), **options))


def search_literally(settings: Search, slot: Slot) -> torch.Tensor:
    """Neural Cleanse for one class: equation 3 with torch's own Adam, the weight adjusted after each step."""
    network, carriers, draws = Marked(), make_carriers(), Draws.of(settings, slot, make_carriers())
    cells = (SIDE // 4) ** 2
    parameters = settings.family.start([slot.seed])[0].requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=settings.family.rate)
    weight = 0.0
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.family.rate * (1 - 0.8 * step / settings.steps)
        mask = parameters[:cells].sigmoid().view(1, 1, SIDE // 4, SIDE // 4)
        mask = torch.nn.functional.interpolate(mask, (SIDE, SIDE), mode="bilinear")[0]
        pattern = parameters[cells:].sigmoid().view(SHAPE)
        loss, turned = weight * 100 * parameters[:cells].sigmoid().mean() / 12, 0
        for row in draws.rows[step].tolist():
            image = (1 - mask) * carriers.images[row] + mask * pattern
            scores = network((image[None] - 0.5) / 0.25)
            loss = loss + nn.functional.cross_entropy(scores, torch.tensor([slot.target])) / settings.at_once
            turned += int(scores.argmax() == slot.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        enough = turned / settings.at_once >= 0.8
        if weight == 0:
            weight = 2.0 if enough else 0.0
        else:
            weight = max(0.05, weight * (1.05 if enough else 1 / 1.07) ** (150 / settings.steps))
    return parameters.detach()


def test_the_mask_search_does_what_neural_cleanse_describes() -> None:
    settings = Search(MaskPattern(SHAPE), steps=12, at_once=3)
    last = run(settings, SLOTS)[-1]
    for row, slot in enumerate(SLOTS):
        assert torch.allclose(last.parameters[row], search_literally(settings, slot), atol=1e-3)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "crop"])
def test_a_slot_has_the_same_result_alone_and_in_a_batch(name: str) -> None:
    settings = Search(FAMILIES[name](SHAPE), steps=8, at_once=3)
    together = run(settings, SLOTS)[-1]
    for row, slot in enumerate(SLOTS):
        alone = run(settings, [slot])[-1]
        assert torch.allclose(together.parameters[row], alone.parameters[0], atol=1e-4)
        assert torch.equal(together.weights[row], alone.weights[0])


def test_a_slot_has_the_same_result_in_small_passes() -> None:
    settings = Search(MaskPattern(SHAPE), steps=8, at_once=3)
    assert torch.allclose(
        run(settings, SLOTS)[-1].parameters, run(settings, SLOTS, at_once=3)[-1].parameters, atol=1e-4
    )


def test_a_search_continues_from_a_saved_state_to_the_same_end() -> None:
    settings = Search(FAMILIES["patch"](SHAPE), steps=6, at_once=3)
    states = run(settings, SLOTS)
    saved = State.unpack(states[2].pack(), torch.device("cpu"))
    rest = run(settings, SLOTS, state=saved)
    assert [state.taken for state in rest] == [4, 5, 6]
    assert torch.equal(rest[-1].parameters, states[-1].parameters)


def test_a_planted_mark_needs_the_smallest_mask() -> None:
    settings = Search(MaskPattern(SHAPE), steps=60, at_once=4)
    slots, carriers = [Slot(target, 1) for target in range(CLASSES)], make_labeled().split()
    with opened(Marked()) as classifier:
        *_, last = search(classifier, settings, slots, carriers[0])
        found = [
            measure(classifier, settings, slot, row, carriers) for slot, row in zip(slots, last.parameters, strict=True)
        ]
    sizes = [trigger.size for trigger in found]
    planted = found[PLANTED]
    assert planted.reached
    assert planted.search.share >= 0.8
    assert planted.size < 0.25 * min(size for target, size in enumerate(sizes) if target != PLANTED)
    masks, _ = MaskPattern(SHAPE).split(planted.parameters[None])
    assert float(masks[0, 0, :4, :4].mean()) > 10 * float(masks[0, 0, 12:, 12:].mean())


def test_a_class_without_carriers_of_other_classes_is_refused() -> None:
    only = make_carriers().take([0, 6])
    with opened(Marked()) as classifier, pytest.raises(ValueError, match="no picture of another class than 0"):
        next(search(classifier, Search(MaskPattern(SHAPE), 2, 2), [Slot(0, 1)], only))


class Broken(Marked):
    """Gives NaN for class 0 alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = super().forward(x)
        return torch.cat([scores[:, :1] * float("nan"), scores[:, 1:]], 1)


def test_scores_that_are_not_finite_end_as_a_trigger_that_was_not_found() -> None:
    settings, carriers = Search(MaskPattern(SHAPE), 3, 2), make_carriers().split()
    with opened(Broken()) as classifier:
        *_, last = search(classifier, settings, SLOTS[:1], carriers[0])
        assert bool(last.parameters.isfinite().all())
        trigger = measure(classifier, settings, SLOTS[1], last.parameters[0], carriers)
    assert not trigger.reached
