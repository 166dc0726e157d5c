"""A network, together with what is needed to show it pictures and to read its scores."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from worker.engine.backward import PLAIN, Gentle
from worker.engine.cuda_graph import Graphs
from worker.engine.memory import is_out_of_memory
from worker.engine.tail import Tail, find_tail, run_without

T = TypeVar("T")


@dataclass(frozen=True)
class Outputs:
    """What a network did with some pictures.

    Attributes:
        scores: Before a final softmax and a final ReLU: (N, K), float32.
        activations: Outputs of the layers that were watched, by name: (N, …).
        ratio: Height by width of the pictures.
    """

    scores: Tensor
    activations: dict[str, Tensor]
    ratio: float = 1.0

    def first_of_pair(self) -> "Outputs":
        """Of one picture, where there were two."""
        halves = {layer: values[: len(values) // 2] for layer, values in self.activations.items()}
        return Outputs(self.scores[:1], halves, self.ratio)


@dataclass
class Habits:
    """What takes a pass through a network to find out, and is found out once.

    Attributes:
        tail: What it does to its scores after it has computed them.
        takes: Whether it takes pictures of other sizes than its own.
    """

    tail: Tail | None = None
    takes: dict[tuple[int, int], bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Classifier:
    """An image classifier that takes pictures in 0..1.

    Attributes:
        network: In eval mode, weights frozen; see `open_classifier`.
        mean: Per channel, of pictures in 0..1: (C, 1, 1).
        std: Likewise.
        size: Height and width of its inputs in pixels.
        tail: What it does to its scores after it has computed them.
        score_layer: The layer that gives the scores, where that is not the last.
        dtype: What it computes in.
        graphs: Its recorded passes, where recording pays.
        habits: What was found out about it.
    """

    network: nn.Module
    mean: Tensor
    std: Tensor
    size: tuple[int, int]
    tail: Tail
    score_layer: str | None = None
    dtype: torch.dtype = torch.float32
    graphs: Graphs | None = None
    habits: Habits = field(default_factory=Habits, compare=False, repr=False)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    @property
    def channels(self) -> int:
        return len(self.mean)

    def normalise(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in 0..1 to the network's inputs."""
        return (pictures - self.mean) / self.std

    def scores(self, inputs: Tensor) -> Tensor:
        """Class scores (N, K) in float32 of normalised inputs (N, C, H, W), before a final softmax."""
        if len(inputs) == 1 and (pair := _try(self.scores, _pair(inputs))) is not None:
            return pair[:1]
        return read_scores(run_without(self.network, inputs.to(self.dtype), self.tail.probabilities))

    def look(self, inputs: Tensor, layers: Iterable[str] = (), *, gentle: Gentle = PLAIN) -> Outputs:
        """What the network does with normalised inputs (N, C, H, W), its final ReLU and softmax left out.

        Args:
            inputs: As `normalise` gives them.
            layers: Whose outputs are wanted too.
            gentle: How much gentler than it is the gradient is to be.

        Raises:
            ValueError: The network has no such layer, or a layer gives no tensor.
        """
        if len(inputs) == 1 and (pair := _try(partial(self.look, layers=layers, gentle=gentle), _pair(inputs))):
            return pair.first_of_pair()
        if self.graphs is not None and inputs.requires_grad and not layers:
            return Outputs(self.graphs.run(lambda given: self._look(given, (), gentle).scores, inputs, gentle), {})
        return self._look(inputs, layers, gentle)

    def _look(self, inputs: Tensor, layers: Iterable[str], gentle: Gentle) -> Outputs:
        wanted = {*layers} if self.score_layer is None else {*layers, self.score_layer}
        with watch(self.network, sorted(wanted)) as seen, gentle.derivatives():
            skipped = self.tail.probabilities | self.tail.clamps
            output = run_without(self.network, inputs.to(self.dtype), skipped)
        check_rows(seen, wanted, len(inputs))
        ratio = inputs.shape[2] / inputs.shape[3]
        if self.score_layer is None:
            return Outputs(read_scores(output), seen, ratio)
        scores = seen[self.score_layer]
        return Outputs(scores.float().flatten(2).mean(2) if scores.ndim > 2 else scores.float(), seen, ratio)


@contextmanager
def open_classifier(
    network: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: tuple[int, int],
    device: torch.device,
    score_layer: str | None = None,
    habits: Habits | None = None,
) -> Iterator[Classifier]:
    """Readies a network for looking into it, and gives it back as it was.

    Args:
        network: Any classifier: inputs (N, C, H, W), scores (N, K), perhaps in a tuple or with auxiliary outputs.
        mean: Per channel, of pictures in 0..1.
        std: Likewise.
        size: Height and width of its inputs in pixels.
        device: Where to run; the network is moved there.
        score_layer: The layer that gives the scores; without it they are found.
        habits: What was found out about it before.

    Raises:
        ValueError: The network's output is nothing that scores could be read from.
    """
    network.to(device)
    training = {module: module.training for module in network.modules()}
    trainable = {weight: weight.requires_grad for weight in network.parameters()}
    try:
        network.eval()
        network.requires_grad_(False)
        habits = habits or Habits()
        if habits.tail is None:
            habits.tail = find_tail(network, torch.zeros(1, len(mean), *size, device=device))
        yield Classifier(
            network, _per_channel(mean, device), _per_channel(std, device), size, habits.tail,
            score_layer=score_layer, habits=habits,
        )  # fmt: skip
    finally:
        for module, mode in training.items():
            module.training = mode
        for weight, flag in trainable.items():
            weight.requires_grad_(flag)


@torch.no_grad()
def takes(classifier: Classifier, size: tuple[int, int]) -> bool:
    """Whether the network also takes pictures of this size."""
    known = classifier.habits.takes
    if size not in known:
        try:
            classifier.look(torch.zeros(1, classifier.channels, *size, device=classifier.device))
            known[size] = True
        except (RuntimeError, ValueError, AssertionError):  # however a network that checks its input says so
            known[size] = False
    return known[size]


def in_precision(classifier: Classifier, dtype: torch.dtype) -> Classifier:
    """The same classifier computing in another precision, with weights of its own; itself where it already does."""
    if dtype == classifier.dtype:
        return classifier
    return replace(classifier, network=copy.deepcopy(classifier.network).to(dtype), dtype=dtype, graphs=None)


@contextmanager
def watch(network: nn.Module, layers: Iterable[str], *, strict: bool = True) -> Iterator[dict[str, Tensor]]:
    """Notes the outputs of layers while the network runs; nothing stays on it.

    Args:
        strict: Whether a layer that gives no tensor is an error, or left out.

    Raises:
        ValueError: The network has no such layer, or the layer gives no tensor.
    """
    seen: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    with ExitStack() as hooks:
        for layer in layers:
            if layer not in modules:
                raise ValueError(f"the network has no layer {layer!r}")
            hook = modules[layer].register_forward_hook(partial(_note, seen, layer, strict))
            hooks.callback(hook.remove)
        yield seen


def _note(
    seen: dict[str, Tensor], layer: str, strict: bool, _module: nn.Module, _inputs: Any, output: Any
) -> Tensor | None:
    if not isinstance(output, Tensor):
        if not strict:
            return None
        raise ValueError(f"layer {layer!r} gives {type(output).__name__}, not a tensor")
    seen[layer] = output
    return output.clone()  # goes on in its place: a ReLU that works in place would write over it


def check_rows(seen: Mapping[str, Tensor], layers: Iterable[str], count: int) -> None:
    """Raises `ValueError` where a layer was not run, or gave no row for each of so many pictures."""
    for layer in layers:
        if layer not in seen:
            raise ValueError(f"layer {layer!r} is not run when the network looks at a picture; name one inside it")
        if seen[layer].ndim < 2 or len(seen[layer]) != count:
            shape = tuple(seen[layer].shape)
            raise ValueError(
                f"layer {layer!r} gives {shape} for {count} pictures, and not a row for each; name another"
            )


def read_scores(output: Any) -> Tensor:
    """The scores (N, K) in float32 from what a network returned: a tensor, or one with auxiliary outputs after it."""
    if isinstance(output, dict):
        output = output.get("logits", next(iter(output.values()), None))
    output = getattr(output, "logits", output)
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim < 2:
        raise ValueError(f"the network returned {type(output).__name__}, not a tensor of scores (pictures, classes)")
    if output.ndim > 2 and output[0, 0].numel() != 1:
        raise ValueError(f"the network returned a tensor of shape {tuple(output.shape)}, not (pictures, classes)")
    return output.flatten(1).float()  # (N, K)


def _pair(inputs: Tensor) -> Tensor:
    """A lone picture twice: libraries have kernels for one that round otherwise than theirs for several."""
    return torch.cat([inputs, inputs])


def _try(run: Callable[[Tensor], T], inputs: Tensor) -> T | None:
    """What `run` gives; None where memory runs out."""
    try:
        return run(inputs)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def _per_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)  # (C, 1, 1)
