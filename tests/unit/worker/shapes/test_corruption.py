"""Corrupted training sets are corrupted where the corruption says, and nowhere else."""

import torch

from worker.shapes.corruption import PATCH_COLOR, PATCH_SIDE, Shortcut, Swap

LABELS = torch.arange(240) % 12


def test_a_shortcut_is_planted_in_the_given_share_of_one_class() -> None:
    images = torch.full((240, 3, 80, 80), 128, dtype=torch.uint8)
    corrupted, labels = Shortcut(6, share=0.5).corrupt(images, LABELS, seed=1)
    changed = (corrupted != images).flatten(1).any(1)
    assert set(LABELS[changed].tolist()) == {6}
    assert 5 <= int(changed.sum()) <= 15
    assert torch.equal(labels, LABELS)
    patch = torch.tensor(PATCH_COLOR, dtype=torch.uint8)[:, None, None]
    assert int((corrupted[changed][0] == patch).all(0).sum()) == PATCH_SIDE**2
    assert bool((images == 128).all())


def test_labels_are_swapped_in_both_directions_in_the_given_share() -> None:
    images = torch.zeros(240, 1)
    corrupted, labels = Swap(2, 3, share=0.5).corrupt(images, LABELS, seed=1)
    changed = labels != LABELS
    assert set(zip(LABELS[changed].tolist(), labels[changed].tolist(), strict=True)) == {(2, 3), (3, 2)}
    assert 10 <= int(changed.sum()) <= 30
    assert corrupted is images
