"""The plan that a network starts with."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.networks import Small, seeded
from worker.engine.model.classifier import Classifier, open_classifier
from worker.engine.model.plan.execution_plan import choose_first_plan

CPU = torch.device("cpu")


def choose(network: nn.Module) -> tuple[str, int]:
    with open_classifier(network, mean=[0.5] * 3, std=[0.2] * 3, size=(16, 16), device=CPU) as classifier:
        plan = choose_first_plan(classifier)
    assert plan.milliseconds == 0
    return plan.precision, plan.batch


@pytest.fixture
def half_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "amx_bf16": True, "architecture": "x"}
    )


def test_a_network_starts_in_float32_on_a_processor_without_units_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False, "cpu_name": "bf16"})
    passes: list[Classifier] = []
    monkeypatch.setattr(Classifier, "forward", lambda classifier, *_: passes.append(classifier))
    assert choose(seeded(Small)) == ("float32", 8)
    assert not passes


@pytest.mark.usefixtures("half_units")
def test_a_network_starts_in_bfloat16_on_a_processor_with_units_for_it() -> None:
    assert choose(seeded(Small)) == ("bfloat16", 8)


class Depthwise(Small):
    """Half of its convolutions are depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.depthwise(x))


class Exact(Small):
    """Runs only in float32."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 is expected")
        return super().forward(x)


class Overflowing(Small):
    """Has scores in bfloat16 that are no numbers."""

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return scores if x.dtype == torch.float32 else scores * torch.nan


class Forward(Small):
    """Has no gradient in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return scores if x.dtype == torch.float32 else Broken.apply(scores)


class Broken(torch.autograd.Function):
    """The identity, without a gradient."""

    @staticmethod
    def forward(_context, scores: Tensor) -> Tensor:
        return scores.clone()

    @staticmethod
    def backward(_context, _gradient: Tensor) -> Tensor:
        raise RuntimeError("not implemented for 'BFloat16'")


@pytest.mark.usefixtures("half_units")
@pytest.mark.parametrize("network", [Depthwise, Exact, Overflowing, Forward])
def test_a_network_that_does_not_suit_bfloat16_starts_in_float32(network: type[Small]) -> None:
    assert choose(seeded(network)) == ("float32", 8)
