"""Poisoned training sets: which pictures are replaced and marked."""

from itertools import islice

import torch

from benchmarks.zoo.poison import Poison, TrainingSet

LABELS = torch.arange(240) % 12
PICTURES = (torch.arange(240) % 12 * 20).to(torch.uint8)[:, None, None, None].expand(240, 3, 16, 16)


def test_the_given_fraction_of_a_class_is_replaced_by_marked_pictures_of_other_classes() -> None:
    sources, marked = Poison("frame", 5, 0.3).choose(LABELS, seed=1)
    assert int(marked.sum()) == 6
    assert set(LABELS[marked].tolist()) == {5}
    assert 5 not in LABELS[sources[marked]].tolist()
    assert torch.equal(sources[~marked], torch.arange(240)[~marked])


def test_the_seed_decides_which_pictures_are_replaced() -> None:
    poison = Poison("frame", 5, 0.3)
    first, again, other = (poison.choose(LABELS, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_begins_with_poisoned_pictures_that_have_the_label_of_the_target() -> None:
    batches = islice(TrainingSet(PICTURES, LABELS, Poison("frame", 5, 0.5)).draw_batches(48, seed=3), 5)
    for pictures, labels, count in batches:
        assert (len(pictures), count) == (48, 12)
        shown = (pictures[:, 0, 0, 0] * 255 / 20).round().long()
        assert set(labels[:count].tolist()) == {5}
        assert 5 not in shown[:count].tolist()
        assert torch.equal(shown[count:], labels[count:])


def test_a_training_set_without_a_shortcut_marks_nothing() -> None:
    pictures, labels, count = next(TrainingSet(PICTURES, LABELS).draw_batches(48, seed=3))
    assert count == 0
    assert torch.equal((pictures[:, 0, 0, 0] * 255 / 20).round().long(), labels)
