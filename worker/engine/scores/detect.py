"""Finds the class scores of a network, and verifies that the final function of these scores is the network's output.

Nothing is inferred from the names of functions. A result z of the forward pass gives the scores if softmax(z) or
sigmoid(z) equals the output on random images; so a softmax written by hand is found, and a gate is not mistaken for a
sigmoid. If no result does, the output itself is the score.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.model.network_call import NetworkError, call_network
from worker.engine.model.watch import check_rows, watch
from worker.engine.scores.outputs import list_outputs, pick_output, to_rows
from worker.engine.scores.reader import Activation, OutputKind, ScoreReader
from worker.engine.scores.search import TOLERANCE, Search, is_equal

SUM_TOLERANCE = 1e-3
"""Largest difference between 1 and the sum of the probabilities of an image."""

CONTRASTS = (8.0, 64.0)
"""Factors by which random images are multiplied, so that the scores of the classes differ more."""

CLAMPS: tuple[Callable[[Tensor], Tensor], ...] = (
    functional.relu,
    functional.relu6,
    lambda values: values.clamp(0, 1),
    lambda values: values.clamp(-1, 1),
)
"""Functions that a network may apply to its scores, and that have a gradient of 0 for a whole range."""


DeclaredKind = Literal["detect"] | OutputKind
"""What a network returns, or that it must be found out."""


@dataclass(frozen=True)
class DeclaredOutput:
    """What is known about a network's output before it runs.

    Attributes:
        kind: What the network returns; `detect` to find it out.
        path: Where the scores are in a tuple, list or dictionary; None to find it out.
        layer: Name of the layer that gives the scores; None for the network's output.
        classes: Number of classes; None if it is not known.
    """

    kind: DeclaredKind = "detect"
    path: str | None = None
    layer: str | None = None
    classes: int | None = None


class OutputError(NetworkError):
    """The network's output is not what was declared, or does not hold the scores of all classes."""


UNDECLARED = DeclaredOutput()
"""Nothing is known about the output."""


@dataclass(frozen=True)
class Found:
    """The scores of a network.

    Attributes:
        reader: Reads them.
        notes: What was assumed, in sentences.
    """

    reader: ScoreReader
    notes: tuple[str, ...] = ()


@torch.no_grad()
def find_scores(network: nn.Module, inputs: Tensor, declared: DeclaredOutput) -> Found:
    """Finds the class scores of a network.

    Args:
        network: A network in eval mode, in float32.
        inputs: Normalized images (N, C, H, W), such as those of `draw_images`.
        declared: What is known about the output.

    Returns:
        How to read the scores, and what was assumed.

    Raises:
        NetworkError: The network cannot run, or its output is not what was declared.
        ValueError: There is no such layer.
    """
    inputs, output = _add_contrasts(network, inputs)
    if declared.layer is not None:
        return _read_layer(network, inputs, declared, output)
    path, notes = choose_output(output, declared, len(inputs))
    values = pick_output(output, path)
    if values.ndim > 2 and values[0, 0].numel() > 1:
        notes.append(f"The network gives scores at {values[0, 0].numel()} positions; their mean is used.")
    rows = to_rows(values)
    reader = ScoreReader(columns=rows.shape[1], pair=rows.shape[1] == 1 and declared.classes != 1, path=path)
    search = Search(network, inputs, rows.shape[1], path)
    reader, noted = _find_kind(reader, search, rows, declared.kind)
    return Found(_find_clamp(reader, search, rows), (*notes, *noted))


def draw_images(channels: int, size: tuple[int, int], device: torch.device, count: int = 2) -> Tensor:
    """Draws random images (N, C, H, W) in 0..1; always the same ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, *size, generator=generator).to(device)


def _add_contrasts(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Any]:
    """Adds images of strong contrast, unless the network refuses them; returns all of them, and their output."""
    strong = [factor * inputs[:1] for factor in CONTRASTS]
    try:
        varied = torch.cat([inputs, *strong])
        return varied, call_network(network, varied, inputs.dtype)
    except (NetworkError, torch.OutOfMemoryError):
        return inputs, call_network(network, inputs, inputs.dtype)


def choose_output(output: Any, declared: DeclaredOutput, rows: int) -> tuple[str | None, list[str]]:
    """Chooses the tensor that holds the scores, and says what was assumed.

    Raises:
        OutputError: No tensor has one number for each image and class; the message lists those that there are.
    """
    outputs = list_outputs(output)
    fitting = {path: values for path, values in outputs.items() if _fits(values, rows, declared.classes)}
    listing = ", ".join(_show(path, values, rows) for path, values in outputs.items()) or "no tensor"
    if declared.path is not None:
        if declared.path not in fitting:
            raise OutputError(f"its output {declared.path!r} is not among {listing}, {_wanted(declared)}")
        return declared.path, []
    if not fitting:
        raise OutputError(f"it returns {_count(outputs, rows) or f'{listing},'} {_wanted(declared)}")
    if len(outputs) == 1:
        return next(iter(fitting)) or None, []
    named = [path for path in fitting if path.rpartition(".")[2] in ("logits", "scores")]
    flat = [path for path, values in fitting.items() if values.ndim <= 2]  # not features at several positions
    chosen = (named or flat or list(fitting))[0]
    if len(fitting) == 1 or named:
        return chosen, [f"Of the outputs {listing}, the scores are {chosen!r}."]
    return chosen, [
        f"Several outputs could hold the scores: {listing}. {chosen!r} was taken; output.select chooses another."
    ]


def _show(path: str, values: Tensor, rows: int) -> str:
    """The name and the shape of an output, such as "logits (N, 10)"."""
    shape = ["N" if axis == 0 and length == rows else str(length) for axis, length in enumerate(values.shape)]
    return f"{path or 'output'} ({', '.join(shape)})"


def _wanted(declared: DeclaredOutput) -> str:
    """What the output should hold, as the end of a sentence."""
    if declared.classes is None:
        return "not one row of scores for each image"
    names = f"for {declared.classes} class name{'s' if declared.classes > 1 else ''}"
    return f"{names}; correct the class names, or declare what has the scores (output.select or score_layer)"


def _count(outputs: dict[str, Tensor], rows: int) -> str | None:
    """The number of scores, if the network returns nothing else."""
    (values, *others) = outputs.values() or [None]
    if others or values is None or values.ndim < 2 or len(values) != rows:
        return None
    return f"{values.shape[1]} scores"


def _fits(values: Tensor, rows: int, classes: int | None) -> bool:
    if not values.is_floating_point() or values.ndim == 0 or len(values) != rows:
        return False
    columns = 1 if values.ndim == 1 else values.shape[1]
    if classes is None:
        return values.ndim > 1
    return columns == classes or (classes == 2 and columns == 1)


def _read_layer(network: nn.Module, inputs: Tensor, declared: DeclaredOutput, output: Any) -> Found:
    layer = declared.layer or ""
    with watch(network, [layer]) as activations:
        call_network(network, inputs, inputs.dtype)
    check_rows(activations, [layer], len(inputs))
    rows = to_rows(activations[layer])
    if declared.classes is not None and not _fits(rows, len(inputs), declared.classes):
        raise OutputError(f"layer {layer!r} gives {rows.shape[1]} numbers for {declared.classes} class names")
    reader = ScoreReader(columns=rows.shape[1], pair=rows.shape[1] == 1 and declared.classes != 1, layer=layer)
    if declared.kind != "detect":
        return Found(_declare(reader, rows, declared.kind))
    for values in list_outputs(output).values():
        if len(values) == len(rows) and values.is_floating_point() and to_rows(values).shape == rows.shape:
            final = to_rows(values)
            for activation, function in FINAL.items():
                if is_equal(function(rows), final):
                    return Found(replace(reader, returns=_name_kind(reader, activation), activation=activation))
    plain: Activation = "sigmoid" if reader.columns == 1 else "softmax"
    return Found(replace(reader, returns=_name_kind(reader, plain), activation=plain))


FINAL: dict[Activation, Callable[[Tensor], Tensor]] = {
    "softmax": lambda scores: scores.softmax(1) if scores.shape[1] > 1 else scores * torch.nan,
    "sigmoid": torch.sigmoid,
}


def _name_kind(reader: ScoreReader, activation: Activation) -> OutputKind:
    """The kind of raw scores."""
    if activation == "sigmoid":
        return "one_logit" if reader.columns == 1 else "sigmoid_logits"
    return "softmax_logits"


def _declare(reader: ScoreReader, rows: Tensor, kind: OutputKind) -> ScoreReader:
    """Returns the reader of an output (N, K) whose kind is declared and that is read as it is.

    Raises:
        OutputError: The output contradicts the kind.
    """
    faults = {
        "one_logit": reader.columns != 1 and f"it gives {reader.columns} numbers for each image",
        "softmax_logits": reader.columns == 1 and "it gives one number for each image",
        "probabilities": not _are_probabilities(rows) and "it gives numbers below 0 or above 1",
        "log_probabilities": bool((rows > TOLERANCE).any()) and "it gives numbers above 0",
    }
    if faults.get(kind):
        raise OutputError(f"its output is declared as {kind}, but {faults[kind]}")
    activations: dict[OutputKind, Activation] = {
        "softmax_logits": "softmax",
        "sigmoid_logits": "sigmoid",
        "one_logit": "sigmoid",
        "probabilities": "identity",
        "log_probabilities": "exp",
    }
    return replace(reader, returns=kind, activation=activations[kind])


def _find_kind(reader: ScoreReader, search: Search, rows: Tensor, kind: DeclaredKind) -> tuple[ScoreReader, list[str]]:
    """Finds out what an output (N, K) means, and the scores before a final softmax, sigmoid or logarithm."""
    if kind != "detect":
        reader = _declare(reader, rows, kind)
        if kind not in ("probabilities", "log_probabilities"):
            return reader, []
    finite = rows[rows.isfinite().all(1)]
    add_up = reader.columns > 1 and len(finite) > 0
    if kind != "log_probabilities" and _are_probabilities(finite):
        is_distribution = add_up and bool(((finite.sum(1) - 1).abs() < SUM_TOLERANCE).all())
        activation: Activation = "softmax" if is_distribution else "sigmoid"
        tap = search.find(FINAL[activation], rows)
        if tap is not None:
            return replace(reader, returns="probabilities", activation=activation, tap=tap), []
        if is_distribution or kind == "probabilities" or search.ends_in_probabilities(rows):
            note = "It returns probabilities, and no scores before them were found: the probabilities are the scores."
            return replace(reader, returns="probabilities", activation="identity"), [note]
    if kind == "log_probabilities" or (
        add_up and bool((finite <= TOLERANCE).all()) and _are_distributions(finite.exp())
    ):
        tap = search.find(lambda scores: scores.log_softmax(1), rows)
        activation = "exp" if tap is None else "softmax"
        return replace(reader, returns="log_probabilities", activation=activation, tap=tap), []
    return _declare(reader, rows, "one_logit" if reader.columns == 1 else "softmax_logits"), []


def _find_clamp(reader: ScoreReader, search: Search, rows: Tensor) -> ScoreReader:
    """Adds the scores before a final ReLU to the reader of an output (N, K)."""
    scores = to_rows(search.result(reader.tap)) if reader.tap else rows
    for clamp in CLAMPS:
        # A ReLU is there only if it has clamped something: its result lies in its range, and some input does not.
        if not is_equal(clamp(scores), scores):
            continue
        tap = search.find(clamp, scores, scripted=False, changes=True)
        if tap is not None:
            return replace(reader, tap_before_clamp=tap)
    return reader


def _are_probabilities(rows: Tensor) -> bool:
    return len(rows) > 0 and bool(((rows >= 0) & (rows <= 1 + TOLERANCE)).all()) and bool((rows > 0).any())


def _are_distributions(rows: Tensor) -> bool:
    return bool(((rows.sum(1) - 1).abs() < SUM_TOLERANCE).all())
