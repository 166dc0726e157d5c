"""Scores and probabilities are read as the network means them."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch

from worker.engine.model.network_call import NetworkError
from worker.engine.scores.outputs import list_outputs, pick_output, to_rows
from worker.engine.scores.reader import ScoreReader

Named = namedtuple("Named", "features logits")
SCORES = torch.tensor([[2.0, -1.0, 0.5]])


@dataclass
class Structured:
    loss: object
    logits: torch.Tensor


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda scores: scores, None),
        (lambda scores: (scores * 2, scores), "1"),
        (lambda scores: {"loss": None, "logits": scores}, "logits"),
        (lambda scores: OrderedDict(aux=scores * 2, out=scores), "out"),
        (lambda scores: Named(scores * 2, scores), "logits"),
        (lambda scores: Structured(None, scores), "logits"),
        (lambda scores: [(scores * 3, scores), "text"], "0.1"),
    ],
)
def test_an_output_is_picked_from_every_kind_of_container(wrap, path: str | None) -> None:
    assert torch.equal(pick_output(wrap(SCORES), path), SCORES)
    assert (path or "") in list_outputs(wrap(SCORES))


def test_a_path_that_the_output_does_not_have_is_an_error() -> None:
    with pytest.raises(NetworkError, match="no tensor at 'logits'"):
        pick_output((SCORES,), "logits")


def test_rows_are_the_mean_over_positions() -> None:
    assert torch.equal(to_rows(torch.ones(4)), torch.ones(4, 1))
    assert torch.equal(to_rows(torch.arange(8.0).view(1, 2, 2, 2)), torch.tensor([[1.5, 5.5]]))


@pytest.mark.parametrize(
    ("activation", "probabilities"),
    [
        ("softmax", SCORES.softmax(1)),
        ("sigmoid", SCORES.sigmoid()),
        ("identity", SCORES),
        ("exp", SCORES.exp()),
    ],
)
def test_probabilities_and_their_logarithms_follow_the_final_function(activation, probabilities) -> None:
    reader = ScoreReader(activation=activation)
    torch.testing.assert_close(reader.probabilities(SCORES), probabilities)
    positive = probabilities.clamp_min(1e-12)
    torch.testing.assert_close(reader.log_probabilities(SCORES), positive.log(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "value", "expected"), [("sigmoid", -2.0, 0.1192), ("identity", 0.3, 0.3), ("exp", -1.5, 0.2231)]
)
def test_one_column_becomes_the_negative_and_the_positive_class(activation, value: float, expected: float) -> None:
    reader = ScoreReader(activation=activation, columns=1, pair=True)
    scores = reader.read(torch.tensor([value]), {}, [], clamped=True)
    negative, positive = reader.probabilities(scores)[0].tolist()
    assert (round(positive, 4), round(negative, 4)) == (expected, round(1 - expected, 4))


def test_the_gradient_of_the_negative_class_is_the_negated_one() -> None:
    output = torch.tensor([0.7], requires_grad=True)
    scores = ScoreReader(activation="sigmoid", columns=1, pair=True).read(output, {}, [], clamped=True)
    (negative,) = torch.autograd.grad(scores[0, 0], output, retain_graph=True)
    (positive,) = torch.autograd.grad(scores[0, 1], output)
    assert (negative.item(), positive.item()) == (-1, 1)
