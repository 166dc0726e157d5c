"""Image classifiers: forward passes, class scores, probabilities, and the outputs of layers."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from worker.engine.gradients.relaxed import PLAIN, RelaxedGradient
from worker.engine.model.cuda_graph import Graphs
from worker.engine.model.feature_grid import Layout, find_layouts, guess_layout
from worker.engine.model.microbatch import is_out_of_memory
from worker.engine.model.network_call import NetworkError, call_network
from worker.engine.model.prepare import PreparedNetwork
from worker.engine.model.watch import check_rows, watch
from worker.engine.scores.detect import UNDECLARED, DeclaredOutput, Found, draw_images, find_scores
from worker.engine.scores.reader import PLAIN_SCORES, ScoreReader

T = TypeVar("T")


@dataclass(frozen=True)
class Outputs:
    """The outputs of a forward pass.

    Attributes:
        scores: Class scores (N, K), float32.
        activations: Outputs of the requested layers by name, each (N, …).
        ratio: Height divided by width of the images.
        layouts: Where the channels and positions of the layers' outputs are, by name.
        reader: Knows what the scores mean.
    """

    scores: Tensor
    activations: dict[str, Tensor]
    ratio: float = 1.0
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    reader: ScoreReader = PLAIN_SCORES

    def probabilities(self) -> Tensor:
        """Returns the probabilities (N, K)."""
        return self.reader.probabilities(self.scores)

    def log_probabilities(self) -> Tensor:
        """Returns the logarithms of the probabilities (N, K)."""
        return self.reader.log_probabilities(self.scores)

    def layout(self, layer: str) -> Layout:
        """Returns the layout of a requested layer; a guess if it is not known."""
        return self.layouts.get(layer) or guess_layout(self.activations[layer], self.ratio)

    def grid(self, layer: str) -> Tensor | None:
        """Returns the features (N, K, h, w) of a requested layer; None if its output has no positions."""
        return self.layout(layer).to_grid(self.activations[layer])

    def channels(self, layer: str) -> Tensor:
        """Returns the output of a requested layer with its channels on the second axis (N, K, …)."""
        return self.layout(layer).to_channels(self.activations[layer])

    def first(self, count: int) -> "Outputs":
        """Returns the outputs of the first images."""
        activations = {layer: values[:count] for layer, values in self.activations.items()}
        return replace(self, scores=self.scores[:count], activations=activations)


@dataclass
class ProbedTraits:
    """Properties of a network that take a forward pass to find; kept so that each is probed once.

    Attributes:
        scores: How the scores are read, with notes; None if not probed yet.
        layouts: Layouts of all layers; None if not probed yet.
        accepted_sizes: Whether the network accepts inputs of a given height and width.
        max_batch: Largest number of images that the network takes at once; None as long as it took any number.
    """

    scores: Found | None = None
    layouts: dict[str, Layout] | None = None
    accepted_sizes: dict[tuple[int, int], bool] = field(default_factory=dict)
    max_batch: int | None = None


@dataclass(frozen=True)
class Classifier:
    """An image classifier with what is needed to run it on images in 0..1.

    Attributes:
        prepared: The network in eval mode with frozen weights; see `open_classifier`.
        mean: Mean of each channel of images in 0..1: (C, 1, 1).
        std: Standard deviation of each channel of images in 0..1: (C, 1, 1).
        size: Height and width of the inputs in pixels.
        reader: How the scores are read.
        dtype: Precision in which the network computes.
        graphs: Recorded passes; None to run every pass in Python.
        reverses_channels: Whether the network takes the channels in reverse order, such as blue, green, red.
        minus: Class whose score is subtracted from all scores, to contrast classes with it; None for none.
        before_pass: Called before every pass; may raise an exception to interrupt the work.
        traits: Properties that were probed.
    """

    prepared: PreparedNetwork
    mean: Tensor
    std: Tensor
    size: tuple[int, int]
    reader: ScoreReader
    dtype: torch.dtype = torch.float32
    graphs: Graphs | None = None
    reverses_channels: bool = False
    minus: int | None = None
    before_pass: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    traits: ProbedTraits = field(default_factory=ProbedTraits, compare=False, repr=False)

    @property
    def network(self) -> nn.Module:
        """The network with the layers as its author wrote them."""
        return self.prepared.original

    @property
    def device(self) -> torch.device:
        """The device on which the network runs."""
        return self.mean.device

    @property
    def channels(self) -> int:
        """Number of channels of the inputs."""
        return len(self.mean)

    def normalize(self, images: Tensor) -> Tensor:
        """Converts images (N, C, H, W) in 0..1 to the network's inputs: zero mean, unit variance per channel."""
        return (images - self.mean) / self.std

    def scores(self, inputs: Tensor) -> Tensor:
        """Computes class scores before a final softmax or sigmoid; a final ReLU is applied.

        Args:
            inputs: Normalized images (N, C, H, W).

        Returns:
            Scores (N, K), float32.
        """
        return self.forward(inputs, clamped=True).scores

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Computes the probabilities (N, K) of normalized images (N, C, H, W)."""
        return self.reader.probabilities(self.scores(inputs))

    def forward(
        self,
        inputs: Tensor,
        layers: Iterable[str] = (),
        *,
        relaxed: RelaxedGradient = PLAIN,
        clamped: bool = False,
        on_path: bool = False,
        optional: Iterable[str] = (),
    ) -> Outputs:
        """Runs the network up to its class scores.

        Args:
            inputs: Normalized images (N, C, H, W).
            layers: Names of layers whose outputs are returned too.
            relaxed: The derivatives of ReLU and max pooling in the backward pass.
            clamped: Whether a final ReLU is applied to the scores; an ascent does without, because its gradient is 0
                where it clamps.
            on_path: Whether the scores have gradients with respect to the outputs of the layers; see `watch`.
            optional: Names of layers whose outputs are returned if they run for these images.

        Returns:
            Scores before a final softmax or sigmoid, and the outputs of the layers.

        Raises:
            NetworkError: The network raised an exception.
            ValueError: The network has no such layer, or a layer's output is not a tensor.
        """
        self.before_pass()
        layers, optional = [*layers], [*optional]
        run = partial(self.forward, layers=layers, relaxed=relaxed, clamped=clamped, on_path=on_path, optional=optional)
        if len(inputs) == 1 and (pair := _try(run, _pair(inputs))) is not None:
            return pair.first(1)
        limit = self.traits.max_batch
        if limit is not None and len(inputs) > limit:
            return _join([run(part) for part in inputs.split(limit)])
        if self.graphs is not None and inputs.requires_grad and not (layers or optional or clamped):
            scores = self.graphs.run(lambda batch: self._run(batch, (), relaxed).scores, inputs, relaxed)
            return Outputs(scores, {}, reader=self.reader)
        try:
            return self._run(inputs, layers, relaxed, clamped=clamped, on_path=on_path, optional=optional)
        except NetworkError:
            limit = self._find_limit(inputs)
            if limit is None:
                raise
            self.traits.max_batch = limit
        return run(inputs)

    @torch.no_grad()
    def _find_limit(self, inputs: Tensor) -> int | None:
        """Finds how many of the inputs (N, C, H, W) the network takes at once, at least two; None for all or fewer."""

        def works(count: int) -> bool:
            try:
                # The same image each time: another one may be what the network does not take.
                call_network(self.prepared.network, inputs[:1].detach().expand(count, -1, -1, -1), self.dtype)
            except NetworkError:
                return False
            return True

        if len(inputs) <= 2 or not works(2) or works(len(inputs)):
            return None
        low, high = 2, len(inputs)  # low works, high does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if works(middle) else (low, middle)
        return low

    def _run(
        self,
        inputs: Tensor,
        layers: Iterable[str],
        relaxed: RelaxedGradient,
        *,
        clamped: bool = False,
        on_path: bool = False,
        optional: Iterable[str] = (),
    ) -> Outputs:
        reader = self.reader
        watched = {*layers} if reader.layer is None else {*layers, reader.layer}
        network = self.network if watched & self.prepared.folded else self.prepared.network
        with (
            watch(network, sorted({*watched, *optional}), on_path=on_path) as activations,
            relaxed.derivatives(),
            reader.listen(len(inputs), clamped=clamped) as tapped,
        ):
            output = call_network(network, inputs.flip(1) if self.reverses_channels else inputs, self.dtype)
        check_rows(activations, watched, len(inputs))
        scores = reader.read(output, activations, tapped, clamped=clamped)
        if self.minus is not None:
            scores = scores - scores[:, self.minus, None]
        layouts = self.layouts() if layers else {}
        return Outputs(scores, activations, inputs.shape[2] / inputs.shape[3], layouts, reader)

    @torch.no_grad()
    def layouts(self) -> dict[str, Layout]:
        """Returns the layouts of all layers, by name, in the order of their calls; found in one forward pass."""
        if self.traits.layouts is None:
            height, width = self.size
            inputs = self.normalize(draw_images(self.channels, self.size, self.device))
            run = partial(call_network, self.network, inputs, self.dtype)
            self.traits.layouts = find_layouts(self.network, run, len(inputs), height / width)
        return self.traits.layouts


@contextmanager
def open_classifier(
    network: nn.Module | PreparedNetwork,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: tuple[int, int],
    device: torch.device,
    declared: DeclaredOutput = UNDECLARED,
    reverses_channels: bool = False,
    traits: ProbedTraits | None = None,
) -> Iterator[Classifier]:
    """Freezes a network and opens it as a classifier; restores its modes and flags on exit.

    Args:
        network: Any classifier that maps inputs (N, C, H, W) to scores (N, K), also in a tuple or with auxiliary
            outputs; or a network that was prepared.
        mean: Mean of each channel of images in 0..1.
        std: Standard deviation of each channel of images in 0..1.
        size: Height and width of the inputs in pixels.
        device: Device to move the network to.
        declared: What is known about the network's output.
        reverses_channels: Whether the network takes the channels in reverse order.
        traits: Properties of the network that were probed before.

    Yields:
        The classifier.

    Raises:
        NetworkError: No scores can be read from the network's output.
    """
    prepared = network if isinstance(network, PreparedNetwork) else PreparedNetwork(network, network)
    modules = [*prepared.network.modules(), *prepared.original.modules()]
    training = {module: module.training for module in modules}
    weights = [*prepared.network.parameters(), *prepared.original.parameters()]
    trainable = {weight: weight.requires_grad for weight in weights}
    try:
        for part in (prepared.network, prepared.original):
            part.to(device).eval().requires_grad_(False)
        traits = traits or ProbedTraits()
        if traits.scores is None:
            images = draw_images(len(mean), size, device)
            inputs = (images - _per_channel(mean, device)) / _per_channel(std, device)
            traits.scores = _probe_scores(prepared.original, inputs, declared)
        yield Classifier(
            prepared,
            _per_channel(mean, device),
            _per_channel(std, device),
            size,
            traits.scores.reader,
            reverses_channels=reverses_channels,
            traits=traits,
        )
    finally:
        for module, mode in training.items():
            module.training = mode
        for weight, flag in trainable.items():
            weight.requires_grad_(flag)


def _probe_scores(network: nn.Module, inputs: Tensor, declared: DeclaredOutput) -> Found:
    """Finds the scores on as many of the inputs (N, C, H, W) as fit into memory."""
    try:
        return find_scores(network, inputs, declared)
    except torch.OutOfMemoryError:
        pass  # outside the handler: the error keeps the memory of the failed call alive
    return find_scores(network, inputs[:1], declared)


@torch.no_grad()
def accepts_size(classifier: Classifier, size: tuple[int, int]) -> bool:
    """Tells whether the network accepts inputs of a height and width in pixels other than its own."""
    known = classifier.traits.accepted_sizes
    if size not in known:
        try:
            classifier.forward(torch.zeros(1, classifier.channels, *size, device=classifier.device))
            known[size] = True
        except (NetworkError, ValueError):
            known[size] = False
    return known[size]


def in_precision(classifier: Classifier, dtype: torch.dtype) -> Classifier:
    """Returns the classifier in another precision, with a copy of the weights; itself if it has that precision.

    Raises:
        NetworkError: The network cannot be copied.
    """
    if dtype == classifier.dtype:
        return classifier
    prepared = classifier.prepared
    try:
        network, original = copy.deepcopy((prepared.network, prepared.original))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a network may hold anything
        raise NetworkError(f"the network cannot be copied: {error}") from error
    converted = replace(prepared, network=network.to(dtype), original=original.to(dtype))
    return replace(classifier, prepared=converted, dtype=dtype, graphs=None)


def _join(parts: Sequence[Outputs]) -> Outputs:
    layers = parts[0].activations
    activations = {layer: torch.cat([part.activations[layer] for part in parts]) for layer in layers}
    return replace(parts[0], scores=torch.cat([part.scores for part in parts]), activations=activations)


def _pair(inputs: Tensor) -> Tensor:
    """Repeats a single image: libraries round differently in their kernels for a batch of one."""
    return torch.cat([inputs, inputs])


def _try(run: Callable[[Tensor], T], inputs: Tensor) -> T | None:
    """Returns `run(inputs)`; None if memory runs out."""
    try:
        return run(inputs)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def _per_channel(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)  # (C, 1, 1)
