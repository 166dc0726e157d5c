"""Predictions of a network for images as they are saved: in float32, from 8-bit pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.catalogue.release import Release
from worker.engine.model.classifier import Classifier
from worker.engine.scores.reader import ScoreReader
from worker.inputs.preprocess import to_tensor


@torch.no_grad()
def score_views(classifier: Classifier, views: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Returns the class scores (N, K), on the CPU, of N views (h, w, C)."""
    images = torch.stack([to_tensor(view) for view in views]).to(classifier.device)  # (N, C, h, w)
    return classifier.scores(classifier.normalize(images)).cpu()


def predict(
    classifier: Classifier, release: Release, views: Sequence[NDArray[np.uint8]], targets: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns the prediction for each view (h, w, C) and its target, as `describe_prediction` describes it."""
    rows = score_views(classifier, views)
    return [
        describe_prediction(release, classifier.reader, row, target) for row, target in zip(rows, targets, strict=True)
    ]


def describe_prediction(release: Release, reader: ScoreReader, scores: Tensor, target: int) -> dict[str, Any]:
    """Describes class scores (K,): score, probability and rank (1 is best) of the target, and the predicted class."""
    probabilities = reader.probabilities(scores[None])[0]
    best = int(scores.argmax())
    return {
        "score": float(scores[target]),
        "probability": float(probabilities[target]),
        "rank": int((scores > scores[target]).sum()) + 1,
        "predicted": {"index": best, "name": release.classes[best], "probability": float(probabilities[best])},
    }
