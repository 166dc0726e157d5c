"""Checks of one network of `benchmarks.families`: loads it as a worker does, and compares it with the plain network."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from archetype.contract.model import Capability, Layer
from archetype.contract.parameters.class_model import ClassModelParameters
from archetype.contract.parameters.saliency import SaliencyParameters
from archetype.contract.request import ClassModel
from benchmarks.architectures import read_plain
from benchmarks.registration import EXPECTED
from shared.catalogue.release import Release
from worker.attribution.saliency_maps import choose_map
from worker.engine.attribution.cam.grad_cam import find_layer
from worker.engine.model.classifier import Classifier
from worker.engine.model.plan.autotune import measure_plan
from worker.engine.model.plan.execution_plan import apply_plan
from worker.engine.model.watch import watch
from worker.job.cobatch import run_alone
from worker.job.context import JobContext
from worker.methods import class_model
from worker.models.loader import Loader, ModelCache
from worker.models.trial import try_network

CPU = torch.device("cpu")

MAX_SCORE_ERROR, MAX_GRADIENT_ERROR, MAX_LAYER_ERROR = 1e-4, 1e-3, 1e-3
"""Largest difference from the plain network, relative to its largest score, gradient or feature."""

PLAN_BATCHES = (2, 4)
"""Batch sizes among which the execution plan is chosen."""

TINY = 1e-12
"""Replaces the length of a gradient of zero, as of a class whose score a final ReLU sets to zero."""

MAX_SWITCHED_ERROR = 0.05
"""Rounding may switch a ReLU or a maximum, which changes the gradients of some images, hardly of all, by so much."""

MAX_AMPLIFICATION = 10
"""Deep random networks amplify rounding: gradients may differ from those in float64 by so many times what the plain
network's gradients in float32 differ."""


@dataclass
class Row:
    """What the sweep found for one network.

    Attributes:
        name: The architecture as a release names it.
        family: Its family.
        parameters: Number of parameters.
        size: Height and width of its inputs in pixels.
        score_error: Largest difference of a score from the plain network, relative to the largest score.
        gradient_error: Relative distance of the gradients of the image for which it is smallest.
        layer: The layer that Grad-CAM chose.
        seconds: Seconds to load the network and run everything.
        failures: What did not work, in sentences.
    """

    name: str
    family: str
    parameters: int
    size: tuple[int, int]
    score_error: float | None = None
    gradient_error: float | None = None
    layer: str | None = None
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def examine(release: Release, plain: nn.Module, row: Row) -> None:
    """Examines a release in the engine, with the code that runs a job."""
    networks = ModelCache(Loader(), device=CPU)
    with networks.open(release) as (classifier, loaded):
        images = torch.rand(3, 3, *release.preprocessing.size, generator=torch.Generator().manual_seed(7))
        inputs = classifier.normalize(images)
        targets = torch.tensor([1, 4, 7])
        compare(classifier, plain, inputs, targets, row)
        compare_layers(classifier, plain, inputs[:2], row)
        check_channels(plain, loaded.description.layers, row)
        row.failures += list_missing(try_network(classifier, loaded.description, release).capabilities)
        for kind in ("gradient", "grad_cam"):
            collect(row, kind, partial(check_map, classifier, kind, inputs[:2], targets[:2], row))
        collect(row, "class_model", partial(run_class_model, release, classifier))


def list_missing(capabilities: Sequence[Capability] | None) -> list[str]:
    """Returns a sentence for each method or kind that every network should support, and this one does not."""
    return [
        f"{entry.kind or entry.method} is not available: {entry.reason}"
        for entry in capabilities or ()
        if not entry.available and (entry.method, entry.kind) in EXPECTED
    ]


def compare(classifier: Classifier, plain: nn.Module, inputs: Tensor, targets: Tensor, row: Row) -> None:
    """Compares scores and gradients for inputs (N, C, H, W), together and one at a time, with the plain network."""
    scores, gradients = differentiate(plain, inputs, targets)
    with torch.no_grad():
        found = [classifier.scores(inputs), torch.cat([classifier.scores(image[None]) for image in inputs])]
    row.score_error = max(relative_error(values, scores) for values in found)
    if not row.score_error <= MAX_SCORE_ERROR:
        row.failures.append(f"scores differ from the plain network by {row.score_error:.1g}")
    gradient = choose_map(classifier, SaliencyParameters(channels="signed"), 2)(inputs, targets)
    errors = image_errors(gradient, gradients)
    row.gradient_error = float(errors.min())
    if row.gradient_error <= MAX_GRADIENT_ERROR and float(errors.max()) <= MAX_SWITCHED_ERROR:
        return
    _, exact = differentiate(copy.deepcopy(plain).double(), inputs.double(), targets)
    errors, rounding = image_errors(gradient, exact), image_errors(gradients, exact)
    is_rounding = bool(errors.max() <= MAX_AMPLIFICATION * rounding.max())
    if not (errors.max() <= MAX_SWITCHED_ERROR and (errors.min() <= MAX_GRADIENT_ERROR or is_rounding)):
        row.failures.append(
            f"gradients differ from the exact ones by {float(errors.max()):.1g}, those of the plain network by "
            f"{float(rounding.max()):.1g}"
        )


def image_errors(found: Tensor, expected: Tensor) -> Tensor:
    """Returns the relative distance (N,) of the gradients (N, H, W) of each image."""
    lengths = expected.flatten(1).norm(dim=1).clamp_min(TINY)
    distances: Tensor = (found - expected).flatten(1).norm(dim=1) / lengths
    return distances


def differentiate(plain: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns scores (N, K) and gradients of the targets' scores (N, H, W), summed over channels."""
    leaf = inputs.clone().requires_grad_()
    scores = read_plain(plain, leaf)
    (gradients,) = torch.autograd.grad(scores.gather(1, targets[:, None]).sum(), leaf)
    return scores.detach(), gradients.sum(1)


@torch.no_grad()
def compare_layers(classifier: Classifier, plain: nn.Module, inputs: Tensor, row: Row) -> None:
    """Compares the output of every layer for inputs (N, C, H, W) with that of the plain network.

    Layers of the network as its author wrote it, and, in another pass, those that preparing it left alone.
    """
    with watch(plain, [name for name, _ in plain.named_modules() if name]) as expected:
        plain(inputs)
    names = [name for name, values in expected.items() if len(values) == len(inputs)]
    differing = {
        name: relative_error(values, expected[name])
        for layers in (names, [name for name in names if name not in classifier.prepared.folded])
        for name, values in classifier.forward(inputs, layers).activations.items()
        if not relative_error(values, expected[name]) <= MAX_LAYER_ERROR
    }
    if differing:
        first = next(iter(differing))
        row.failures.append(f"{len(differing)} of {len(names)} layers differ; {first} by {differing[first]:.1g}")


def check_channels(plain: nn.Module, layers: Iterable[Layer], row: Row) -> None:
    """Compares the number of channels that a layer is said to have with that of its module."""
    modules = dict(plain.named_modules())
    wrong = [
        f"{layer.name} ({layer.kind}, shape {layer.shape}) is said to have {layer.channels} channels, not {channels}"
        for layer in layers
        if layer.channels is not None
        and (channels := count_channels(modules[layer.name])) is not None
        and channels != layer.channels
    ]
    if wrong:
        row.failures.append(f"{len(wrong)} layers have wrong channels: {wrong[0]}")


def count_channels(module: nn.Module) -> int | None:
    """Returns the number of channels that a module of torch gives; None for other modules."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.num_features
    return module.out_features if isinstance(module, nn.Linear) else None


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Returns the largest difference, relative to the largest expected value; NaN if a value is not finite."""
    return float((found.detach() - expected.detach()).abs().max() / expected.detach().abs().max())


def check_map(classifier: Classifier, kind: Any, inputs: Tensor, targets: Tensor, row: Row) -> None:
    """Computes maps (N, H, W). Raises `ValueError` if they are not finite, or all are zero."""
    if kind == "grad_cam":
        row.layer = find_layer(classifier)
    maps = choose_map(classifier, SaliencyParameters(kind=kind), 2)(inputs, targets)
    if not bool(maps.isfinite().all()):
        raise ValueError("the map has values that are not finite")
    if kind == "gradient" and not bool(maps.abs().amax((1, 2)).min() > 0):
        raise ValueError("the map is all zero")


def run_class_model(release: Release, classifier: Classifier) -> None:
    """Runs some steps of a class model of two classes by the default recipe. Raises `ValueError` if it has no image."""
    plan = measure_plan(classifier, PLAN_BATCHES)
    params = ClassModelParameters(steps=4, extras=False)
    request = ClassModel(method="class_model", model=release.reference, targets=[1, 4], params=params)
    context = JobContext(
        request=request,
        release=release,
        targets=[1, 4],
        all_targets=[1, 4],
        classifier=classifier,
        fast_classifier=apply_plan(classifier, plan),
        batch=plan.batch,
        load_original=lambda: classifier.network,
        save=lambda *_, **__: None,
    )
    metrics = class_model.gather(context, [run_alone(class_model.run(context))])
    faults = [target["error"]["detail"] for target in metrics["targets"] if "error" in target]
    if faults:
        raise ValueError(faults[0])


def collect(row: Row, name: str, run: Callable[[], None]) -> None:
    """Runs a method and adds its error to the failures of the row."""
    try:
        run()
    except Exception as error:  # the network may raise anything
        row.failures.append(f"{name}: {explain(error)}")


def explain(error: Exception) -> str:
    """Returns the first line of an error, with its type."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
