"""The sweep over architectures: a few of timm's networks for tests, and what it reports."""

from pathlib import Path

import pytest
import torch

from benchmarks.architectures import Architecture, build_lively, choose_smallest, describe_timm, make_release
from benchmarks.families import make_table, measure
from benchmarks.family_checks import Row, examine
from shared.catalogue.release import Release

NAMES = ["test_byobnet", "test_convnext", "test_resnet", "test_vit"]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_timm_loads_runs_and_equals_the_plain_network(name: str) -> None:
    row = measure(describe_timm(name), examine)
    assert row.failures == []
    assert row.layer is not None
    assert "| pass |" in make_table([row])


def test_the_sweep_reports_scores_and_layers_that_are_not_those_of_the_plain_network() -> None:
    def examine_another(release: Release, plain: torch.nn.Module, row: Row) -> None:
        with torch.no_grad():
            plain.conv_stem.weight.mul_(1.5)
        examine(release, plain, row)

    row = measure(describe_timm("test_efficientnet"), examine_another)
    failures = " ".join(row.failures)
    assert "scores differ" in failures
    assert "layers differ" in failures


def test_the_sweep_goes_on_after_a_network_that_cannot_be_built() -> None:
    row = measure(Architecture("timm:no_such_network", "timm.none", 0, (32, 32)), examine)
    assert "no_such_network" in row.failures[0]


def test_the_smallest_network_of_a_family_is_selected_by_parameters_and_pixels() -> None:
    chosen = choose_smallest("timm.resnet", ["resnet50", "resnet18", "resnet34", "test_resnet"])
    assert chosen is not None
    assert chosen.name == "timm:resnet18"
    assert chosen.parameters == 11_181_642


def test_the_weights_of_the_sweep_are_lively_and_the_same_every_time(tmp_path: Path) -> None:
    architecture = describe_timm("test_vit")
    first, second = build_lively(architecture), build_lively(architecture)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    images = torch.rand(2, 3, *architecture.size)
    with torch.no_grad():
        assert float((first(images[:1]) - first(images[1:])).abs().max()) > 1e-3
    assert make_release(architecture, tmp_path / "weights").architecture == "timm:test_vit"
