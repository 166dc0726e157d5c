"""Every way to write a ReLU is recognized, and its backward pass survives a network that changes tensors in place."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.gradients.relaxed import RelaxedGradient
from worker.engine.gradients.relu import ReLURuleMode

VALUES = torch.linspace(-3, 9, 24).reshape(4, 6)

RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "relu_": torch.relu_,
    "clamp": lambda x: x.clamp(min=0),
    "clamp with a tensor": lambda x: x.clamp(min=torch.tensor(0.0)),
    "clamp positional": lambda x: torch.clamp(x, 0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clamp_min_": lambda x: x.clamp_min_(0.0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, min=0),
    "clip": lambda x: x.clip(0),
    "threshold": lambda x: functional.threshold(x, 0, 0),
    "threshold in place": lambda x: functional.threshold(x, 0, 0, inplace=True),
    "threshold_": lambda x: torch.threshold_(x, 0, 0),
    "nn.Threshold": nn.Threshold(0.0, 0.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum of a number": lambda x: torch.maximum(torch.tensor(0.0), x),
    "max": lambda x: torch.max(x, torch.zeros(())),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where not": lambda x: torch.where(x < 0, torch.zeros_like(x), x),
    "mask": lambda x: x * (x > 0),
    "mask of floats": lambda x: (x > 0).float() * x,
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "masked_fill_": lambda x: x.masked_fill_(x <= 0, 0.0),
    "leaky without a leak": lambda x: functional.leaky_relu(x, 0.0),
}
CAPPED: dict[str, Callable[[Tensor], Tensor]] = {
    "relu6": functional.relu6,
    "relu6 in place": lambda x: functional.relu6(x, inplace=True),
    "hardtanh": lambda x: functional.hardtanh(x, 0, 6),
    "hardtanh_": lambda x: functional.hardtanh_(x, 0.0, 6.0),
    "clamp to 6": lambda x: x.clamp(0, 6),
    "clamp_ to 6": lambda x: torch.clamp_(x, 0, 6),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": functional.leaky_relu,
    "clamp from 1": lambda x: x.clamp(min=1e-6),
    "clamp of colors": lambda x: x.clamp(0, 1),
    "maximum of two": lambda x: torch.maximum(x, x * 0.5),
    "largest of a row": lambda x: torch.max(x, 0).values,
    "threshold at 1": lambda x: functional.threshold(x, 1, 0),
    "where of another": lambda x: torch.where(x * 2 > 0, x, 0.0),
    "gate": lambda x: x * torch.sigmoid(x),
    "hardtanh from -1": functional.hardtanh,
}


def differentiate(function: Callable[[Tensor], Tensor], *, leak: float, overwrite: bool) -> tuple[Tensor, Tensor]:
    """Output, and gradient of half of it, of a call whose output the network may overwrite afterwards."""
    x = VALUES.clone().requires_grad_()
    with RelaxedGradient(leak, 0).derivatives():
        y = function(x * 1.0)
        y = y.div_(2) if overwrite else y / 2
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


def export(function: Callable[[Tensor], Tensor]) -> nn.Module:
    class Exported(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x * 1.0)

    return torch.export.export(Exported(), (VALUES,)).module()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [*RELUS, *CAPPED])
def test_a_relu_written_in_any_way_has_the_rule_wherever_it_has_a_gradient(name: str, overwrite: bool) -> None:
    function = (RELUS | CAPPED)[name]
    try:
        differentiate(function, leak=0, overwrite=overwrite)
    except RuntimeError:
        pytest.skip("autograd itself needs the output that the network overwrites")
    y, passed = differentiate(function, leak=0.1, overwrite=overwrite)
    ceiling = 6 if name in CAPPED else torch.inf
    assert torch.equal(y, VALUES.clamp(0, ceiling) / 2)
    torch.testing.assert_close(passed, torch.where((VALUES > 0) & (ceiling > VALUES), 0.5, 0.05))


@pytest.mark.parametrize("name", [*RELUS, *CAPPED])
def test_a_relu_of_an_exported_graph_has_the_rule(name: str) -> None:
    ceiling = 6 if name in CAPPED else torch.inf
    y, passed = differentiate(export((RELUS | CAPPED)[name]), leak=0.1, overwrite=False)
    assert torch.equal(y, VALUES.clamp(0, ceiling) / 2)
    torch.testing.assert_close(passed, torch.where((VALUES > 0) & (ceiling > VALUES), 0.5, 0.05))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_relu_keeps_its_gradient(name: str) -> None:
    y, passed = differentiate(OTHERS[name], leak=0.1, overwrite=False)
    plain, gradient = differentiate(OTHERS[name], leak=0, overwrite=False)
    assert torch.equal(y, plain)
    assert torch.equal(passed, gradient)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.silu, "silu"),
        (nn.SiLU(inplace=True), "silu"),
        (functional.gelu, "gelu"),
        (functional.leaky_relu, "leaky_relu"),
        (nn.ELU(), "elu"),
        (functional.hardswish, "hardswish"),
        (lambda x: x * x.sigmoid(), "sigmoid"),
        (torch.tanh, "tanh"),
        (nn.PReLU(), "prelu"),
    ],
)
@pytest.mark.parametrize("exported", [False, True])
def test_other_activations_are_counted_by_name(function: Callable[[Tensor], Tensor], name: str, exported: bool) -> None:
    network = export(function) if exported else function
    with ReLURuleMode(lambda signal, _kept, _ceiling: signal) as mode:
        network(functional.relu(VALUES.clone().requires_grad_()) * 1.0)
    assert (mode.counts.with_rule, dict(mode.counts.without_rule)) == (1, {name: 1})
