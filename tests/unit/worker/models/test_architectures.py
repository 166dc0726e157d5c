"""Networks are built from factories of the operator, the same in every process, in float32."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from shared.errors import UnloadableModel
from tests.support.networks import Small, seeded
from worker.models.build_network import build_network


def build(name: str, path: Path | None = None, size: int = 32) -> tuple[nn.Module, list[str]]:
    release = Release(
        name="one", architecture="factory:it", classes=["a", "b", "c"], preprocessing=Preprocessing(size=(size, size))
    )
    return build_network(release, path, {"it": f"{__name__}:{name}"})


class Drawn(nn.Module):
    """A network with features that are drawn when it is built, and that no file contains."""

    def __init__(self) -> None:
        super().__init__()
        drawn = [torch.rand(3), torch.tensor(np.random.rand(3)), torch.tensor([random.random()])]
        self.register_buffer("drawn", torch.cat([value.float() for value in drawn]), persistent=False)


def drawn() -> nn.Module:
    return Drawn()


def test_what_a_network_draws_is_the_same_every_time_and_the_generators_are_restored() -> None:
    first = build("drawn")[0]
    for draw in (torch.rand, np.random.rand):
        draw(1)
    random.random()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    second = build("drawn")[0]
    assert torch.equal(first.drawn, second.drawn)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


def of_class() -> Any:
    return Small


def of_none() -> None:
    return None


def of_weights() -> Any:
    return Small().state_dict()


def of_tuple() -> Any:
    return Small(), 224


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("of_class", "the class Small instead of an object"),
        ("of_none", "returned None"),
        ("of_weights", "weights without their network"),
        ("of_tuple", "an object of tuple"),
    ],
)
def test_a_factory_that_returns_something_else_is_refused_in_a_sentence(name: str, message: str) -> None:
    with pytest.raises(UnloadableModel, match=message):
        build(name)


def scripted() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        return torch.jit.trace(seeded(Small, classes=3).eval(), torch.zeros(2, 3, 32, 32))


def test_a_factory_may_return_a_scripted_network(tmp_path: Path) -> None:
    state = {name: value + 1 for name, value in seeded(Small, classes=3).state_dict().items()}
    torch.save({"module." + name: value for name, value in state.items()}, tmp_path / "weights")
    network, _ = build("scripted", tmp_path / "weights")
    assert torch.equal(network.state_dict()["classifier.weight"], state["classifier.weight"])


def half() -> nn.Module:
    return seeded(Small, classes=3).half()


def bfloat16() -> nn.Module:
    return seeded(Small, classes=3).bfloat16()


def double() -> nn.Module:
    return seeded(Small, classes=3).double()


@pytest.mark.parametrize(("name", "kind"), [("half", "float16"), ("bfloat16", "bfloat16"), ("double", "float64")])
def test_a_network_of_another_precision_is_computed_in_float32(name: str, kind: str, tmp_path: Path) -> None:
    state = seeded(Small, classes=3).state_dict()
    torch.save(state, tmp_path / "weights")
    network, notes = build(name, tmp_path / "weights")
    assert notes == [f"The network was built in {kind}; it is computed in float32."]
    assert network(torch.zeros(1, 3, 32, 32)).dtype == torch.float32
    assert torch.equal(network.classifier.weight, state["classifier.weight"])  # not rounded on the way


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(8, 3)
        self.norm = nn.LazyBatchNorm2d()
        self.fc = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).flatten(1))


def lazy() -> nn.Module:
    return Lazy()


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_modules_take_their_shapes_from_the_input_size_before_weights_are_read(tmp_path: Path) -> None:
    network, _ = build("lazy", size=16)
    assert network.fc.weight.shape == (3, 8 * 14 * 14)
    assert torch.equal(network.fc.weight, build("lazy", size=16)[0].fc.weight)
    state = {name: value + 1 for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "weights")
    filled, _ = build("lazy", tmp_path / "weights", size=16)
    assert torch.equal(filled.fc.weight, state["fc.weight"])


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_weights_of_another_input_size_are_refused_with_their_shape(tmp_path: Path) -> None:
    torch.save(build("lazy", size=16)[0].state_dict(), tmp_path / "weights")
    with pytest.raises(UnloadableModel, match=r"fc\.weight is"):
        build("lazy", tmp_path / "weights", size=32)


class Torchvision(nn.Module):
    """A network that imports torchvision when it is built, as factories do."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.net = squeezenet1_1(num_classes=3)


def torchvision_inside() -> nn.Module:
    return Torchvision()


def test_a_factory_may_import_torchvision() -> None:
    assert isinstance(build("torchvision_inside")[0], Torchvision)


@pytest.mark.parametrize("architecture", ["torchvision:resnet18", "timm:resnet10t"])
@pytest.mark.parametrize(
    ("more", "outputs"),
    [
        ({}, 2),
        ({"arguments": {"num_classes": 1}}, 1),
        ({"output": {"kind": "one_logit"}}, 1),
        ({"output": {"kind": "one_logit"}, "arguments": {"num_classes": 2}}, 2),
    ],
)
def test_the_number_of_outputs_is_that_of_the_classes_or_declared(
    architecture: str, more: dict[str, Any], outputs: int
) -> None:
    release = Release.model_validate({"name": "one", "architecture": architecture, "classes": ["no", "yes"], **more})
    network, _ = build_network(release, None, {})
    assert network.fc.out_features == outputs
