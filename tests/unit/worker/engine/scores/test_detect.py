"""The scores are found in every form of network, and only where their final function gives the network's output."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.networks import Functional, Small, seeded
from worker.engine.model.classifier import open_classifier
from worker.engine.model.network_call import NetworkError
from worker.engine.scores.detect import UNDECLARED, DeclaredOutput, OutputError, draw_images, find_scores
from worker.engine.scores.reader import ScoreReader

CPU = torch.device("cpu")
SIZE = (16, 16)
IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)


class Tailed(nn.Module):
    """A network with a function behind its scores."""

    def __init__(self, tail: Callable[[Tensor], object], classes: int = 4) -> None:
        super().__init__()
        self.body = seeded(Small, classes=classes)
        for weight in self.body.classifier.parameters():
            weight.data *= 4
        self.tail = tail

    def forward(self, x: Tensor) -> object:
        return self.tail(self.body(x))


def find(network: nn.Module, declared: DeclaredOutput = UNDECLARED) -> ScoreReader:
    return find_scores(network.eval(), draw_images(3, SIZE, CPU), declared).reader


def assert_reads(
    network: nn.Module, scores: Tensor, probabilities: Tensor, declared: DeclaredOutput = UNDECLARED
) -> None:
    """Asserts that the opened network gives these scores and probabilities for the images."""
    options = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": SIZE, "device": CPU, "declared": declared}
    with open_classifier(network, **options) as classifier, torch.no_grad():
        torch.testing.assert_close(classifier.scores(IMAGES), scores)
        torch.testing.assert_close(classifier.probabilities(IMAGES), probabilities)


def by_hand(scores: Tensor) -> Tensor:
    exponentials = torch.exp(scores - scores.max(1, keepdim=True).values)
    return exponentials / exponentials.sum(1, keepdim=True)


@pytest.mark.parametrize(
    "tail",
    [
        nn.Softmax(1),
        lambda scores: functional.softmax(scores, dim=1),
        lambda scores: scores.softmax(-1),
        lambda scores: torch.special.softmax(scores[:, :, None, None], 1).flatten(1),
        by_hand,
        lambda scores: scores.log_softmax(1).exp(),
        lambda scores: {"probabilities": scores.softmax(1)},
        lambda scores: torch.softmax(scores, 1, dtype=torch.float64),
    ],
)
def test_the_scores_before_a_softmax_are_found(tail) -> None:
    network = Tailed(tail).eval()
    scores = network.body(IMAGES).detach()
    assert find(network).returns == "probabilities"
    assert_reads(network, scores, scores.softmax(1))


def test_the_scores_before_a_softmax_with_a_temperature_are_divided_by_it() -> None:
    network = Tailed(lambda scores: (scores / 3).softmax(1)).eval()
    scores = network.body(IMAGES).detach() / 3
    assert_reads(network, scores, scores.softmax(1))


@pytest.mark.parametrize("tail", [torch.sigmoid, Tensor.sigmoid, lambda z: 1 / (1 + torch.exp(-z))])
def test_the_scores_before_a_sigmoid_are_found(tail) -> None:
    network = Tailed(tail).eval()
    scores = network.body(IMAGES).detach()
    assert_reads(network, scores, scores.sigmoid())


def test_the_scores_before_a_logarithm_are_found() -> None:
    network = Tailed(nn.LogSoftmax(1)).eval()
    scores = network.body(IMAGES).detach()
    assert find(network).returns == "log_probabilities"
    assert_reads(network, scores, scores.softmax(1))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", ["traced", "exported"])
def test_the_scores_before_a_softmax_are_found_in_compiled_forms(form: str) -> None:
    network = Tailed(nn.Softmax(1)).eval()
    scores = network.body(IMAGES).detach()
    if form == "traced":
        compiled: nn.Module = torch.jit.trace(network, IMAGES)
    else:
        batch = torch.export.Dim("batch", min=1, max=64)
        compiled = torch.export.export(network, (IMAGES,), dynamic_shapes=({0: batch},)).module()
        compiled.eval = lambda: compiled  # exported programs have no modes
        compiled.train = lambda mode=True: compiled  # noqa: ARG005
    reader = find_scores(compiled, draw_images(3, SIZE, CPU), UNDECLARED).reader
    with reader.listen(2, clamped=True) as tapped:
        output = compiled(IMAGES.clone().requires_grad_())
    found = reader.read(output, {}, tapped, clamped=True)
    torch.testing.assert_close(found.detach(), scores)
    assert found.requires_grad


@pytest.mark.parametrize(
    "tail",
    [
        lambda z: z * torch.sigmoid(z + 3),
        lambda z: (z[:, None] * z.softmax(1)[:, :, None]).sum(1),
        lambda z: z.softmax(1) * 7 - 2,
        lambda z: z.sigmoid().log(),
        lambda z: z.relu() @ torch.eye(4) - 1,
    ],
)
def test_a_softmax_or_sigmoid_that_is_not_the_last_function_is_not_skipped(tail) -> None:
    network = Tailed(tail).eval()
    scores = network(IMAGES).detach()
    assert find(network).returns == "softmax_logits"
    assert_reads(network, scores, scores.softmax(1))


@pytest.mark.parametrize(
    "tail",
    [
        lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2,
        lambda z: (z.sigmoid() + (2 * z).sigmoid()) / 2,
        lambda z: torch.cat([z[:, :2].softmax(1), z[:, 2:].softmax(1)], 1),
        lambda z: torch.stack([z, 2 * z]).sigmoid().mean(0),
        lambda z: torch.cat([z, 2 * z]).sigmoid().unflatten(0, (2, -1)).mean(0),
    ],
)
def test_probabilities_without_scores_before_them_are_the_scores(tail) -> None:
    network = Tailed(tail).eval()
    output = network(IMAGES).detach()
    found = find_scores(network, draw_images(3, SIZE, CPU), UNDECLARED)
    assert "the probabilities are the scores" in found.notes[0]
    assert_reads(network, output, output)


def test_a_final_relu_is_found_as_module_function_and_method() -> None:
    for tail in (nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), Tensor.relu, lambda z: z.clamp(min=0), nn.Hardtanh()):
        network = Tailed(tail).eval()
        options = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": SIZE, "device": CPU}
        with open_classifier(network, **options) as classifier, torch.no_grad():
            torch.testing.assert_close(classifier.forward(IMAGES).scores, network.body(IMAGES))
            torch.testing.assert_close(classifier.scores(IMAGES), network(IMAGES))


def test_a_relu_on_a_map_before_the_mean_is_found() -> None:
    network = seeded(Small, tail=nn.ReLU()).eval()
    with open_classifier(network, mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU) as classifier, torch.no_grad():
        maps = network.classifier(network.features(IMAGES))
        torch.testing.assert_close(classifier.forward(IMAGES).scores, maps.mean((2, 3)))
        torch.testing.assert_close(classifier.scores(IMAGES), maps.relu().mean((2, 3)))


def test_a_relu_before_a_softmax_is_found() -> None:
    network = seeded(Functional).eval()
    with open_classifier(network, mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU) as classifier, torch.no_grad():
        cells = functional.relu(network.first(IMAGES)).mean((2, 3))
        torch.testing.assert_close(classifier.forward(IMAGES).scores, network.last(cells))
        torch.testing.assert_close(classifier.scores(IMAGES), functional.relu(network.last(cells)))


@pytest.mark.parametrize(
    "head", [lambda h, w: torch.mm(h, w), lambda h, w: (h[:, :, None] * w).sum(1), lambda h, w: h.unsqueeze(1) @ w]
)
def test_a_relu_before_a_product_is_a_hidden_layer(head) -> None:
    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    network = Tailed(lambda z: head(z.relu(), weights).flatten(1)).eval()
    assert not find(network).clamps


def test_of_several_outputs_the_fitting_one_is_taken_and_told() -> None:
    network = Tailed(lambda z: (torch.cat([z, z], 1), z)).eval()
    found = find_scores(network, draw_images(3, SIZE, CPU), DeclaredOutput(classes=4))
    assert found.reader.path == "1"
    assert "the scores are '1'" in found.notes[0]
    assert find(network, DeclaredOutput(path="0", classes=8)).path == "0"
    with pytest.raises(OutputError, match=r"0 \(N, 8\), 1 \(N, 4\), for 5 class names"):
        find(network, DeclaredOutput(classes=5))


def test_of_several_fitting_outputs_the_first_is_taken_with_a_note() -> None:
    found = find_scores(Tailed(lambda z: (z, -z)).eval(), draw_images(3, SIZE, CPU), DeclaredOutput(classes=4))
    assert found.reader.path == "0"
    assert "output.select chooses another" in found.notes[0]


@pytest.mark.parametrize("output", [None, {}, (), "text", torch.zeros(4, dtype=torch.int64)])
def test_an_output_without_scores_is_refused(output: object) -> None:
    with pytest.raises(OutputError, match="not one row of scores"):
        find(Tailed(lambda _: output))


@pytest.mark.parametrize(
    ("kind", "classes", "tail", "message"),
    [
        ("one_logit", 4, lambda z: z, "4 numbers"),
        ("probabilities", 4, lambda z: z, "below 0 or above 1"),
        ("log_probabilities", 4, lambda z: z, "above 0"),
        ("softmax_logits", 2, lambda z: z[:, :1], "one number"),
    ],
)
def test_an_output_that_contradicts_its_declaration_is_refused(kind, classes: int, tail, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        find(Tailed(tail), DeclaredOutput(kind=kind, classes=classes))


def test_a_declared_meaning_is_used() -> None:
    network = Tailed(lambda z: z).eval()
    scores = network(IMAGES).detach()
    assert_reads(network, scores, scores.sigmoid(), DeclaredOutput(kind="sigmoid_logits"))
    binary = Tailed(lambda z: z[:, 0]).eval()
    logit = binary(IMAGES).detach()[:, None]
    expected = torch.cat([-logit, logit], 1)
    assert_reads(binary, expected, expected.sigmoid(), DeclaredOutput(classes=2))


def test_scores_are_read_from_the_named_layer_by_every_call() -> None:
    network = seeded(Small, tail=nn.Softmax(1)).eval()
    maps = network.classifier(network.features(IMAGES)).detach()
    assert_reads(network, maps.mean((2, 3)), maps.mean((2, 3)).softmax(1), DeclaredOutput(layer="classifier"))


def test_equal_scores_are_not_taken_for_probabilities() -> None:
    network = Tailed(lambda z: z * 0)
    assert find(network).activation == "softmax"


class LowRank(nn.Module):
    """Computes its weights, whose shapes are those of scores for some numbers of images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x.mean((2, 3))) * 1).softmax(1)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_computed_weights_are_not_taken_for_scores_whatever_the_number_of_images(count: int) -> None:
    network, images = LowRank().eval(), torch.rand(count, 3, *SIZE)
    with open_classifier(network, mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU) as classifier, torch.no_grad():
        torch.testing.assert_close(classifier.scores(images), network.layer(images.mean((2, 3))))


class Looping(nn.Module):
    """Takes another number of steps for images of strong contrast, or for other numbers of images."""

    def __init__(self, by_count: bool) -> None:
        super().__init__()
        self.body, self.step, self.by_count = seeded(Small, classes=4), nn.Linear(4, 4), by_count

    def forward(self, x: Tensor) -> Tensor:
        scores = self.body(x)
        steps = len(x) if self.by_count else 4 - 2 * int(x.abs().amax() > 1)
        for _ in range(steps):
            scores = scores + self.step(scores).tanh()
        return scores.softmax(1)


@pytest.mark.parametrize("by_count", [False, True])
def test_scores_that_are_not_found_in_every_pass_are_the_probabilities(by_count: bool) -> None:
    network, images = Looping(by_count).eval(), torch.rand(3, 3, *SIZE)
    with open_classifier(network, mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU) as classifier, torch.no_grad():
        torch.testing.assert_close(classifier.probabilities(images), network(images))


def test_a_masked_class_does_not_hide_the_differences_of_others() -> None:
    prior = torch.tensor([2.0, 0.0, 0.0, 0.0])
    mask = torch.tensor([False, False, True, False])
    network = Tailed(lambda z: (z.masked_fill(mask, -1e9) + prior).log_softmax(1)).eval()
    with open_classifier(network, mean=[0.0] * 3, std=[1.0] * 3, size=SIZE, device=CPU) as classifier, torch.no_grad():
        torch.testing.assert_close(classifier.probabilities(IMAGES), network(IMAGES).exp())


@pytest.mark.parametrize(
    "tail",
    [lambda z: z[:, 0].sigmoid(), lambda z: (z[:, 0].sigmoid() + z[:, 1].sigmoid()) / 2, lambda z: z[:, :1].sigmoid()],
)
def test_one_probability_is_recognized_with_and_without_an_axis(tail) -> None:
    network = Tailed(tail).eval()
    positive = network(IMAGES).detach().flatten()
    options = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": SIZE, "device": CPU, "declared": DeclaredOutput(classes=2)}
    with open_classifier(network, **options) as classifier, torch.no_grad():
        torch.testing.assert_close(classifier.probabilities(IMAGES), torch.stack([1 - positive, positive], 1))


def test_a_gate_inside_does_not_make_bounded_scores_probabilities() -> None:
    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.weight = seeded(Small, classes=6), torch.rand(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            hidden = functional.normalize(self.body(x).relu() + 0.1, dim=1)
            return functional.normalize(hidden * torch.sigmoid(hidden), dim=1) @ functional.normalize(self.weight).T

    assert find(Cosine()).activation == "softmax"


class Surprising(nn.Module):
    """Ends in a softmax, and changes its scores before it if an image is white, which no random image is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = seeded(Small, classes=4)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.body(x)
        output = scores if x.amin() < 0.9 else scores.flip(1) * 5
        return output.softmax(1)


def test_scores_that_do_not_give_the_output_of_a_later_image_are_an_error_and_not_a_result() -> None:
    options = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": SIZE, "device": CPU}
    with open_classifier(Surprising(), **options) as classifier, torch.no_grad():
        assert classifier.scores(torch.rand(2, 3, *SIZE)).shape == (2, 4)
        with pytest.raises(NetworkError, match="is not its output for some images"):
            classifier.scores(torch.ones(2, 3, *SIZE))
