"""Networks with faults of the same kinds as the cases in `../shared/cases`, in another form."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


class Twin(nn.Module):
    """Two convolutions, a batch norm with statistics, and a head; `change` and `finish` may be replaced."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.c2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, classes)
        nn.init.normal_(self.fc.weight)
        nn.init.uniform_(self.bn.running_mean, -0.3, 0.3)
        nn.init.uniform_(self.bn.running_var, 0.2, 2)
        nn.init.uniform_(self.bn.weight, -1, 1)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.c2(F.relu(self.bn(self.c1(x)))))

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))

    def forward(self, x: Tensor) -> Any:
        return self.logits(x)


def build(case: str, **arguments: Any) -> nn.Module:
    """Builds a twin with the same weights every time."""
    torch.manual_seed(0)
    return TWINS[case](**arguments)


class SoftmaxBehindWeightNorm(Twin):
    """Tensors made of weights have the shape (N, 3, 3, 3): a batch of N images has scores of shape (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        counts = (2, 3, 6, 8, 9, 16, 24, 32)  # not 4, with which scores are found
        self.branches = nn.ModuleList(parametrizations.weight_norm(nn.Conv2d(3, count, 3)) for count in counts)

    def forward(self, x: Tensor) -> Tensor:
        branches = sum(branch(x).mean((1, 2, 3)) for branch in self.branches)
        return (self.logits(x) + branches[:, None] * self.fc.bias).softmax(1)


class Pruned(Twin):
    def __init__(self) -> None:
        super().__init__()
        prune.l1_unstructured(self.c1, "weight", 0.5)


class Hooked(Twin):
    """A hook between the convolution and the batch norm changes what is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.c1.register_forward_hook(lambda _module, _inputs, output: 2 * output)


class SharedNorm(Twin):
    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.c2(F.relu(self.bn(self.c1(x))))))


class HandSigmoid(Twin):
    def forward(self, x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-self.logits(x)))


class Expit(Twin):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.expit(self.logits(x))


class ExpOfLogSoftmax(Twin):
    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.logits(x), dim=-1).exp()


class Averaged(Twin):
    """Probabilities of the image and of its mirror image, averaged."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.logits(x).softmax(1) + self.logits(x.flip(3)).softmax(1)) / 2


class Listed(Twin):
    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.features(x)
        return [features, self.fc(features.mean((2, 3)))]


class Keyed(Twin):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"embedding": self.features(x).mean((2, 3))[:, :3], "answer": self.logits(x)}


class OneLogitOfFourAxes(Twin):
    def __init__(self) -> None:
        super().__init__(classes=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)[:, :, None, None]


class Counting(Twin):
    """Every other pass has other scores."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.logits(x) * (1 + self.count % 2)


class AlphaDropout(Twin):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.alpha_dropout(self.features(x).mean((2, 3)), 0.3, training=True))


class BatchMean(Twin):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x - x.mean(0, keepdim=True))


class WritesIntoInput(Twin):
    def forward(self, x: Tensor) -> Tensor:
        x.clamp_(0.1, 0.9)
        x *= 2
        return self.logits(x)


class InPlaceActivations(Twin):
    def features(self, x: Tensor) -> Tensor:
        x = self.bn(self.c1(x))
        x += 0.5
        return F.hardswish(self.c2(F.relu_(x)), inplace=True)


class Tokens(Twin):
    """Views of a convolution's output as tokens."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.features(x), 4)
        return self.fc(x.view(len(x), 8, -1).transpose(1, 2).mean(1))


class FlatInput(nn.Module):
    """A perceptron, without any convolution, that views its input."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.fc = nn.Linear(3 * 32 * 32, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.hidden(x.view(len(x), -1))))


class NumpyInside(Twin):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.from_numpy(self.features(x).detach().numpy().mean((2, 3))))


class Brightness(Twin):
    """Divides by the brightest value: a black image has no finite scores."""

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x / x.amax((1, 2, 3), keepdim=True))


class NanGradient(Twin):
    """The scores are finite, and their gradient is infinity times zero."""

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x) + torch.sqrt(0 * x.mean((1, 2, 3)))[:, None]


class Double(Twin):
    def __init__(self) -> None:
        super().__init__()
        self.double()


TWINS: dict[str, type[nn.Module]] = {
    "softmax_behind_weight_norm": SoftmaxBehindWeightNorm,
    "pruned": Pruned,
    "hooked": Hooked,
    "shared_norm": SharedNorm,
    "hand_sigmoid": HandSigmoid,
    "expit": Expit,
    "exp_of_log_softmax": ExpOfLogSoftmax,
    "averaged": Averaged,
    "listed": Listed,
    "keyed": Keyed,
    "one_logit_of_four_axes": OneLogitOfFourAxes,
    "counting": Counting,
    "alpha_dropout": AlphaDropout,
    "batch_mean": BatchMean,
    "writes_into_input": WritesIntoInput,
    "in_place_activations": InPlaceActivations,
    "tokens": Tokens,
    "flat_input": FlatInput,
    "numpy_inside": NumpyInside,
    "brightness": Brightness,
    "nan_gradient": NanGradient,
    "double": Double,
}
