"""The catalogue of the audits of a zoo."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.zoo.audit import choose_series
from benchmarks.zoo.entries import Entry
from benchmarks.zoo.fine_tune import Figures
from benchmarks.zoo.real_networks import NETWORKS
from benchmarks.zoo.releases import RECIPES, Planted
from benchmarks.zoo.train import load_shipped, save_half
from shared.catalogue.catalogue import load_catalogue
from tests.support.paths import SHARED
from worker.shapes.drawing import CLASSES


def describe(recipe: Planted, classes: Sequence[str] = CLASSES) -> Entry:
    return Entry.describe(recipe, Figures(0.98, 0.95), classes=classes, seconds=1)


def test_the_catalogue_has_the_original_and_the_releases(tmp_path: Path) -> None:
    series, (recipe, *_) = choose_series("shapes", tmp_path / "zoo"), RECIPES
    assert isinstance(recipe, Planted)
    save_half(load_shipped(), series.zoo.locate(recipe.name))
    catalogue = load_catalogue(series.write_catalogue(tmp_path, [describe(recipe)]))
    original, planted = (catalogue.find(f"shapes-zoo@{release}") for release in ("original", recipe.name))
    assert original.preprocessing == planted.preprocessing
    assert tuple(planted.classes) == CLASSES
    assert planted.weights is not None
    assert planted.weights.resolve() == (tmp_path / "zoo" / f"{recipe.name}.safetensors").resolve()
    assert set(load_file(planted.weights)) == set(load_shipped().state_dict())


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real networks in ../shared")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_catalogue_of_a_real_network_has_its_original(name: str, tmp_path: Path) -> None:
    series = choose_series(name, tmp_path)
    recipe = NETWORKS[name].recipes[0]
    series.zoo.locate(recipe.name).touch()
    catalogue = load_catalogue(
        series.write_catalogue(tmp_path, [describe(recipe, [str(number) for number in range(1000)])])
    )
    original = catalogue.find(f"{name}@original")
    assert original.weights is not None
    assert original.weights.is_file()
    assert catalogue.find(f"{name}@word").arguments == original.arguments
