"""What a network says of pictures as they are saved: in float32, on the 8-bit pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.catalogue import Release
from worker.engine.classifier import Classifier
from worker.preprocess import to_tensor


@torch.no_grad()
def score_views(classifier: Classifier, views: Sequence[NDArray[np.uint8]]) -> Tensor:
    """The scores (N, K), on the CPU, of views (h, w, C)."""
    pictures = torch.stack([to_tensor(view) for view in views]).to(classifier.device)  # (N, C, H, W)
    return classifier.scores(classifier.normalise(pictures)).cpu()


def judge(
    classifier: Classifier, release: Release, views: Sequence[NDArray[np.uint8]], targets: Sequence[int]
) -> list[dict[str, Any]]:
    """What the network says of each view and its target."""
    rows = score_views(classifier, views)
    return [describe_verdict(release, row, target) for row, target in zip(rows, targets, strict=True)]


def describe_verdict(release: Release, scores: Tensor, target: int) -> dict[str, Any]:
    """The target's score and probability, its rank, 1 at best, and the class predicted, from scores (K,)."""
    chances = scores.softmax(0)
    best = int(scores.argmax())
    return {
        "score": float(scores[target]),
        "probability": float(chances[target]),
        "rank": int((scores > scores[target]).sum()) + 1,
        "predicted": {"index": best, "name": release.classes[best], "probability": float(chances[best])},
    }
