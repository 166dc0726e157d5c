"""Early stopping: evaluates images without transforms, keeps the best, and stops slots that meet a criterion."""

from dataclasses import replace

import torch
from torch import Tensor

from worker.engine.ascent.batch import Batch, PassResult, column, list_rows, to_device
from worker.engine.ascent.config import Ascent, Reason
from worker.engine.ascent.transforms import Chain, fit
from worker.engine.model.classifier import Classifier

BEST = ("best", "best_penalized", "best_step")
"""The fields of a batch that a check changes."""


def check_if_due(
    classifier: Classifier, ascent: Ascent, batch: Batch, result: PassResult
) -> tuple[Batch, dict[int, Reason]]:
    """Checks the slots that have taken a multiple of `check_every` steps.

    Args:
        classifier: The network.
        ascent: The settings.
        batch: The slots.
        result: The pass of the slots' parameters.

    Returns:
        The batch with the best images, and the reasons of the rows that stop.
    """
    due = [row for row, taken in enumerate(batch.taken) if taken % ascent.check_every == 0]
    if not due or not ascent.needs_checks:
        return batch, {}
    checked, leaving = check(classifier, ascent, batch.take(due), result.take(due))
    return batch.put(due, checked, BEST), {due[row]: reason for row, reason in leaving.items()}


@torch.no_grad()
def check(
    classifier: Classifier, ascent: Ascent, batch: Batch, result: PassResult | None = None
) -> tuple[Batch, dict[int, Reason]]:
    """Evaluates the images of all slots without transforms.

    Args:
        classifier: The network.
        ascent: The settings.
        batch: The slots.
        result: The pass of the slots' parameters, if there is one; used if it had no transforms.

    Returns:
        The batch with the best images, and the reasons of the rows that meet a stopping criterion.
    """
    had_no_transforms = ascent.transform == Chain(classifier.size) and not ascent.as_saved
    if result is not None and had_no_transforms and not classifier.reader.clamps:
        penalized, scores = result.penalized, result.scores
    else:
        penalized, scores = _evaluate(classifier, ascent, batch)
    taken = to_device(torch.tensor(batch.taken), batch.best_step)
    is_better = penalized > batch.best_penalized
    batch = replace(
        batch,
        best=torch.where(column(is_better, batch.parameters), batch.parameters, batch.best),
        best_penalized=torch.where(is_better, penalized, batch.best_penalized),
        best_step=torch.where(is_better, taken, batch.best_step),
    )
    leaving: dict[int, Reason] = {}
    if ascent.stop_plateau is not None:
        leaving |= dict.fromkeys(list_rows(taken - batch.best_step >= ascent.stop_plateau), "plateau")
    if ascent.stop_probability is not None:
        probabilities = classifier.reader.probabilities(scores).gather(1, batch.targets[:, None]).squeeze(1)  # (N,)
        leaving |= dict.fromkeys(list_rows(probabilities > ascent.stop_probability), "probability")
    return batch, leaving


def _evaluate(classifier: Classifier, ascent: Ascent, batch: Batch) -> tuple[Tensor, Tensor]:
    """The objective minus penalties (N,), and the scores (N, K) of the whole network, of the images as they are."""
    images = ascent.parameterization.image(batch.parameters)  # (N, C, H, W)
    evaluated = ascent.round_as_saved(images, batch.origins) if ascent.as_saved else images
    inputs = classifier.normalize(fit(evaluated, classifier.size))
    outputs = classifier.forward(inputs, ascent.objective.layers, optional=ascent.feature_layers)
    penalties = ascent.penalize(batch.weights, batch.parameters, images)
    penalties = penalties + ascent.penalize_features(batch.weights, outputs)
    penalized = ascent.objective(outputs, batch.targets) - penalties
    return penalized, classifier.scores(inputs) if classifier.reader.clamps else outputs.scores
