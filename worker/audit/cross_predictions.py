"""Predictions of one release for the class models of the other.

They are computed by the audit itself, so that the jobs of a release do not depend on the release that it is compared
with, and later audits can use their results.
"""

from collections.abc import Iterator
from dataclasses import replace

from worker.audit.model_distance import convert_channels
from worker.inputs.predictions import predict
from worker.inputs.view import crop_levels
from worker.job.context import Evaluator
from worker.job.member_results import DrawnModel, Series
from worker.optimization.optimize import has_finite_scores

AT_ONCE = 16
"""Images of a batch."""


def add_predictions(series: Series, network: Evaluator) -> Iterator[Series]:
    """Adds the predictions of a network to the class models of another one. Yields what is complete after each class.

    A prediction that is NaN or infinite is left out.

    Args:
        series: The class models.
        network: The network, whose reference becomes the key of its predictions.
    """
    complete: Series = {}
    for target, models in series.items():
        complete[target] = [
            judged
            for start in range(0, len(models), AT_ONCE)
            for judged in _predict(models[start : start + AT_ONCE], network)
        ]
        yield complete


def _predict(models: list[DrawnModel], network: Evaluator) -> list[DrawnModel]:
    reference, preprocessing = network.release.reference, network.release.preprocessing
    views = [crop_levels(convert_channels(model.pixels, preprocessing.channels), preprocessing) for model in models]
    predictions = predict(network.classifier, network.release, views, [model.target for model in models])
    return [
        replace(model, judges={**model.judges, reference: prediction}) if has_finite_scores(prediction) else model
        for model, prediction in zip(models, predictions, strict=True)
    ]
