"""How much the class models of a class differ between seeds, as the network sees them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from worker.engine.model.classifier import Classifier
from worker.engine.model.last_layer import LastLayer, extract_features
from worker.engine.model.network_call import NetworkError
from worker.inputs.preprocess import Levels, to_tensor


def measure_diversity(classifier: Classifier, layer: LastLayer, views: Sequence[Levels]) -> float | None:
    """Measures the diversity of images of one class.

    Args:
        classifier: The network.
        layer: Its last layer.
        views: At least two images (h, w, C), cropped as the network crops its inputs.

    Returns:
        1 minus the mean cosine similarity of the penultimate features of all pairs: 0 if all images are equal for the
        network, at most 2. None if the network has no such features.
    """
    images = torch.stack([to_tensor(view) for view in views]).to(classifier.device)  # (N, C, h, w)
    try:
        features, _ = extract_features(classifier, layer, classifier.normalize(images))  # (N, D)
    except (NetworkError, ValueError):
        return None
    return spread(features)


def spread(features: Tensor) -> float:
    """1 minus the mean cosine similarity of all pairs of at least two rows (N, D)."""
    unit = normalize(features.double(), dim=1)
    count = len(unit)
    return float(1 - ((unit @ unit.T).sum() - count) / (count * (count - 1)))
