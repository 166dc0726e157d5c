"""Tries a network as jobs use it, and reports its capabilities: what works, and why other methods do not."""

import time
from collections.abc import Callable
from typing import get_args

import structlog
import torch
from torch import Tensor

from archetype.contract.model import Capability, Description
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.saliency import KINDS_WITHOUT_GRADIENT, Kind
from shared.catalogue.catalogue import Catalogue
from shared.catalogue.release import Release
from shared.state.locks import Locks
from shared.storage.job_store import JobStore
from worker.engine.attribution.cam.grad_cam import find_layer
from worker.engine.attribution.gradient import gradient
from worker.engine.attribution.guided_backprop import guided
from worker.engine.filters import list_convolutions
from worker.engine.gradients.relaxed import RelaxedGradient
from worker.engine.model.classifier import Classifier
from worker.engine.model.layer_choice import list_layers
from worker.engine.model.network_call import NetworkError, compute_gradients
from worker.engine.model.plan.autotune import BATCH_SIZES
from worker.engine.scores.outputs import agree
from worker.models.architectures import unloadable
from worker.models.loader import ModelCache
from worker.models.tensor_digest import add_tensor_digest

MAX_DESCRIPTION_ATTEMPTS = 2
"""A release that ends the process that describes it must not end every process."""

TOLERANCE = 1e-3
"""Largest relative difference between two passes of the same images; the same kernels give much less."""

MAX_BATCH_SECONDS = 0.5
"""How long the pass of the largest batch may take; slower networks are tried with fewer images."""

LAYER_METHODS = ("deep_dream", "feature_inversion")
"""Methods that need a gradient, and a layer with positions."""

DEFAULTS = ClassModelParameters()
"""A class model as it is made by default."""

log = structlog.get_logger()


def try_network(classifier: Classifier, description: Description, release: Release) -> Description:
    """Runs a network as jobs do: twice, with one image and several, with flat images, forward and backward.

    Args:
        classifier: The prepared network in float32.
        description: Its description so far.
        release: Its catalogue entry.

    Returns:
        The description with capabilities and notes.

    Raises:
        UnloadableModel: The scores of an image are not finite, or differ from pass to pass or with its neighbors.
    """
    images = torch.rand(3, classifier.channels, *classifier.size, generator=torch.Generator().manual_seed(1))
    inputs = classifier.normalize(images.to(classifier.device))
    try:
        notes = [*check_scores(classifier, inputs), *check_batch_sizes(classifier, inputs)]
    except NetworkError as error:
        raise unloadable(release, str(error)) from error
    capabilities = find_capabilities(classifier, description, inputs[:2])
    return description.model_copy(
        update={"capabilities": capabilities, "notes": [*description.notes, *notes]}, deep=True
    )


@torch.no_grad()
def check_scores(classifier: Classifier, inputs: Tensor) -> list[str]:
    """Checks the scores of random images (N, C, H, W), and returns notes on flat ones.

    Raises:
        NetworkError: They are not finite, or the same image has different scores.
    """
    scores = classifier.scores(inputs)
    if not scores.isfinite().all():
        raise NetworkError("its scores of random images are not finite (NaN or infinity)")
    if _differ(classifier.scores(inputs), scores):
        raise NetworkError(
            "it gives different scores for the same images in two passes; it may draw random numbers, such as a "
            "dropout that stays active in eval mode, or count its calls"
        )
    others = [
        (classifier.scores(torch.cat([inputs[:1], inputs[2:]])), torch.cat([scores[:1], scores[2:]])),
        (classifier.scores(inputs.flip(0)), scores.flip(0)),
        (classifier.scores(inputs[:1]), scores[:1]),
    ]
    if any(_differ(values, wanted) for values, wanted in others):
        raise NetworkError(
            "the scores of an image depend on the other images in its batch or on its place among them, as with a "
            "batch norm without running statistics; set track_running_stats, or use a norm that works image by image"
        )
    return _check_flat_images(classifier)


def _check_flat_images(classifier: Classifier) -> list[str]:
    levels = torch.tensor([0.0, 0.5, 1.0], device=classifier.device)[:, None, None, None]
    flat = levels.expand(-1, classifier.channels, *classifier.size)
    try:
        finite = classifier.scores(classifier.normalize(flat)).isfinite().all(1)
    except NetworkError as error:
        return [f"Black, gray or white images fail: {error}."]
    failing = " or ".join(
        name for name, works in zip(("black", "gray", "white"), finite.tolist(), strict=True) if not works
    )
    return [f"The scores of a {failing} image are not finite; such images fail, others do not."] if failing else []


@torch.no_grad()
def check_batch_sizes(classifier: Classifier, inputs: Tensor) -> list[str]:
    """Runs the largest batch that jobs use, and returns a note if the network takes only fewer images.

    Raises:
        NetworkError: An image has other scores in a large batch.
    """
    started = time.perf_counter()
    scores = classifier.scores(inputs)
    seconds = (time.perf_counter() - started) / len(inputs)
    count = min(max(BATCH_SIZES.get(classifier.device.type, (8,))), int(MAX_BATCH_SECONDS / max(seconds, 1e-6)))
    if count > len(inputs):
        rows = torch.arange(count, device=inputs.device) % len(inputs)
        try:
            large = classifier.scores(inputs[rows])[: len(inputs)]
        except torch.OutOfMemoryError:
            return []
        if _differ(large, scores):
            raise NetworkError(f"the scores of an image in a batch of {count} differ from those in a small batch")
    limit = classifier.traits.max_batch
    return [] if limit is None else [f"It takes at most {limit} images at once; larger batches are split."]


def _differ(scores: Tensor, others: Tensor) -> bool:
    """Whether scores (N, K) differ by more than rounding."""
    return not agree(scores, others, TOLERANCE)


def find_capabilities(classifier: Classifier, description: Description, inputs: Tensor) -> list[Capability]:
    """Tries every method and kind on normalized images (N, C, H, W)."""
    targets = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    no_gradient = _explain(lambda: _check_gradient(gradient(classifier, inputs, targets)))
    no_grid = None if list_layers(classifier) else "no layer of the network gives a grid of features"
    reasons: dict[tuple[str, str | None], str | None] = {("saliency", kind): no_gradient for kind in get_args(Kind)}
    reasons |= {("saliency", kind): None for kind in KINDS_WITHOUT_GRADIENT}
    reasons["saliency", "score_cam"] = _explain(lambda: find_layer(classifier))
    if no_gradient is None:
        # DeconvNet and guided backpropagation replace the same derivatives.
        rule = _explain(lambda: guided(classifier, inputs, targets))
        reasons |= {("saliency", kind): rule for kind in ("guided", "deconvnet")}
        reasons |= {("saliency", kind): reasons["saliency", "score_cam"] for kind in ("grad_cam", "layer_cam")}
    reasons["localization", None] = None  # by at least one kind of saliency map
    reasons["patches", None] = None
    has_layers = any(layer.shape for layer in description.layers)
    reasons["activations", None] = None if has_layers else "no layer of the network gives one row per image"
    has_filters = bool(list_convolutions(classifier.network))
    reasons["filters", None] = None if has_filters else "the network has no convolution over images"
    no_ascent = no_gradient or _explain(lambda: _check_gradient(_take_step(classifier, inputs)))
    reasons |= {("class_model", None): no_ascent, ("fool", None): no_gradient, ("trigger", None): None}
    reasons |= {(method, None): no_gradient or no_grid for method in LAYER_METHODS}
    return [
        Capability(method=method, kind=kind, available=reason is None, reason=reason)
        for (method, kind), reason in reasons.items()
    ]


def _take_step(classifier: Classifier, inputs: Tensor) -> Tensor:
    """The gradient (N, C, H, W) of a step of a class model."""
    inputs = inputs.detach().requires_grad_()
    relaxed = RelaxedGradient(DEFAULTS.relu_leak, DEFAULTS.pool_spread)
    return compute_gradients(classifier.forward(inputs, relaxed=relaxed).scores[:, 0].sum(), [inputs])[0]


def _check_gradient(gradients: Tensor) -> None:
    """Raises `NetworkError` if the gradient (N, C, H, W) of no image is finite."""
    if not gradients.isfinite().flatten(1).all(1).any():
        raise NetworkError("the gradients of random images are not finite (NaN or infinity)")


def _explain(work: Callable[[], object]) -> str | None:
    """Runs a part of the trial; returns why it failed, or None."""
    try:
        work()
    except torch.OutOfMemoryError:
        return None  # a job halves its batch
    except (NetworkError, ValueError) as error:
        return str(error)
    return None


def describe_releases(
    catalogue: Catalogue,
    networks: ModelCache,
    storage: JobStore,
    locks: Locks,
    show_activity: Callable[[], None] = lambda: None,
) -> None:
    """Describes every configured release that has no description, because the API, which shows it, has no torch.

    Registered releases are described when they are checked, so the number of registrations does not delay a start.

    They are not tried here, so that the worker starts soon: the first job of a release does that. A release whose
    weights must be downloaded first is also described by its first job. So is a release that has ended
    `MAX_DESCRIPTION_ATTEMPTS` worker processes.
    """
    for release in catalogue.configured:
        show_activity()
        try:
            description = storage.load_description(release)
            if description is not None or not networks.loader.files.is_local(release):
                continue
            counter = f"describe:{release.identity}"
            if locks.count_attempt(counter) > MAX_DESCRIPTION_ATTEMPTS:
                log.warning("release.shunned", model=release.reference)
                continue
            loaded = networks.loader.load(release, networks.device)
            locks.reset_attempts(counter)
            storage.save_description(release, add_tensor_digest(loaded.description, loaded.network))
        except Exception as error:  # the other releases are described all the same
            log.warning("release.undescribed", model=release.reference, error=str(error))
