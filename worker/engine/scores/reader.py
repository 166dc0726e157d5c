"""Reads class scores from what a network returns, and computes probabilities from them.

A class model maximizes the score before the softmax, because the probability also rises if the scores of other classes
fall (Simonyan et al. 2013, arXiv 1312.6034, section 2). If a network applies a softmax or sigmoid itself, the scores
are an intermediate result of its forward pass. `Tap` reads this result; nothing in the network is replaced.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from worker.engine.model.network_call import NetworkError
from worker.engine.scores.outputs import agree, pick_output, to_rows
from worker.engine.scores.tap import Tap, listen

Activation = Literal["softmax", "sigmoid", "exp", "identity"]
"""The function from scores to probabilities."""

OutputKind = Literal["softmax_logits", "sigmoid_logits", "one_logit", "probabilities", "log_probabilities"]
"""What a network returns."""

VERIFY_TOLERANCE = 1e-3
"""Largest relative difference between the output and the final function of the scores in later passes."""

SMALLEST = 1e-12
"""Probabilities are at least this large before a logarithm."""


@dataclass(frozen=True)
class ScoreReader:
    """How class scores are read from a forward pass.

    Attributes:
        returns: What the network returns.
        activation: The function from scores to probabilities.
        columns: Number of columns of the network's output; 1 for a network that decides between two classes.
        pair: Whether the one column z becomes the scores of two classes, −z and z.
        path: Where the output is in a tuple, list or dictionary, such as "1" or "logits"; None for a tensor.
        layer: Name of the layer whose output is read instead.
        tap: The intermediate result that is read instead.
        tap_before_clamp: The same without a final ReLU, whose gradient is 0 wherever it clamps a score.
    """

    returns: OutputKind = "softmax_logits"
    activation: Activation = "softmax"
    columns: int = 0
    pair: bool = False
    path: str | None = None
    layer: str | None = None
    tap: Tap | None = None
    tap_before_clamp: Tap | None = None

    @property
    def taps(self) -> list[Tap]:
        """The intermediate results that are read."""
        return [tap for tap in (self.tap, self.tap_before_clamp) if tap is not None]

    @property
    def clamps(self) -> bool:
        """Whether the network ends in a ReLU that `tap_before_clamp` avoids."""
        return self.tap_before_clamp is not None

    def listen(self, rows: int, *, clamped: bool) -> AbstractContextManager[list[Tensor]]:
        """Returns a context that collects the tapped result of a forward pass of so many images, if there is a tap."""
        tap = self.tap if clamped or self.tap_before_clamp is None else self.tap_before_clamp
        return nullcontext([]) if tap is None else listen(tap, rows)

    def read(self, output: Any, activations: Mapping[str, Tensor], tapped: list[Tensor], *, clamped: bool) -> Tensor:
        """Reads the scores of a forward pass.

        Args:
            output: What the network returned.
            activations: Outputs (N, …) of layers; those of `layer` are needed.
            tapped: What `listen` collected.
            clamped: Whether a final ReLU is applied.

        Returns:
            Scores (N, K), float32.

        Raises:
            NetworkError: The forward pass differs from the one in which the scores were found.
        """
        if self.layer is not None:
            values = activations[self.layer]
        elif self.tap is not None or (self.tap_before_clamp is not None and not clamped):
            if not tapped:
                raise NetworkError(
                    "the calls in its forward pass depend on the image or on the number of images, so that its scores "
                    "before the final function cannot be read; return logits, or name the layer that gives them "
                    "(score_layer)"
                )
            values = tapped[0]
            if clamped:
                self._verify(to_rows(values), pick_output(output, self.path))
        else:
            values = pick_output(output, self.path)
        scores = to_rows(values)
        return _split_in_two(scores, self.activation) if self.pair else scores

    def _verify(self, scores: Tensor, output: Tensor) -> None:
        """Compares the final function of the scores (N, K) with the output (N, K, …), in float32."""
        if output.dtype != torch.float32 or output.requires_grad:
            return  # a pass for a gradient is verified by the one that reports its scores
        final = self.log_probabilities(scores) if self.returns == "log_probabilities" else self.probabilities(scores)
        if not agree(final, to_rows(output), VERIFY_TOLERANCE):
            raise NetworkError(
                f"the {self.activation} of its scores is not its output for some images, because the forward pass "
                "depends on the image; return logits, or name the layer that gives them (score_layer)"
            )

    def probabilities(self, scores: Tensor) -> Tensor:
        """Computes probabilities (N, K) from scores (N, K)."""
        match self.activation:
            case "softmax":
                return scores.softmax(1)
            case "sigmoid":
                return scores.sigmoid()
            case "exp":
                return scores.exp()
        return scores

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Computes logarithms of probabilities (N, K) from scores (N, K)."""
        match self.activation:
            case "softmax":
                return scores.log_softmax(1)
            case "sigmoid":
                return torch.nn.functional.logsigmoid(scores)
            case "exp":
                return scores
        return scores.clamp_min(SMALLEST).log()

    def describe(self) -> dict[str, Any]:
        """Describes what is read, for reports."""
        source = "the output"
        if self.layer is not None:
            source = f"layer {self.layer}"
        elif self.tap is not None:
            source = f"an intermediate result before the final {self.activation}"
        elif self.path is not None:
            source = f"output {self.path}"
        objective = {"ascents": "without the final ReLU"} if self.clamps else {}
        return {"returns": self.returns, "scores": source, "probabilities": self.activation, **objective}


PLAIN_SCORES = ScoreReader()
"""The network's output has the scores before a softmax."""


def _split_in_two(scores: Tensor, activation: Activation) -> Tensor:
    """From the one column (N, 1) to the scores of the negative and the positive class (N, 2)."""
    if activation == "identity":
        return torch.cat([1 - scores, scores], dim=1)
    if activation == "exp":
        return torch.cat([torch.log1p(-scores.exp().clamp_max(1 - SMALLEST)), scores], dim=1)
    return torch.cat([-scores, scores], dim=1)
