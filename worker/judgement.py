"""What a network says of pictures as they are saved: in float32, on the 8-bit pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.catalogue import Release
from worker.engine.classifier import Classifier
from worker.preprocess import to_tensor


@torch.no_grad()
def judge(
    classifier: Classifier, release: Release, views: Sequence[NDArray[np.uint8]], targets: Sequence[int]
) -> list[dict[str, Any]]:
    """Each view's score and probability of its target, the class predicted, and the target's rank, 1 at best."""
    pictures = torch.stack([to_tensor(view) for view in views]).to(classifier.device)  # (N, C, H, W)
    scores = classifier.scores(classifier.normalise(pictures))  # (N, K)
    probabilities = scores.softmax(1)
    verdicts = []
    for row, chances, target in zip(scores, probabilities, targets, strict=True):
        best = int(row.argmax())
        verdicts.append(
            {
                "score": float(row[target]),
                "probability": float(chances[target]),
                "rank": int((row > row[target]).sum()) + 1,
                "predicted": {"index": best, "name": release.classes[best], "probability": float(chances[best])},
            }
        )
    return verdicts
