"""What the operator writes, and what is made of it."""

from pathlib import Path

import pytest

from shared.catalogue import Catalogue, Release, load_catalogue
from shared.errors import UnknownModel, UnknownTarget

ENTRY = '[[model]]\nname = "one"\narchitecture = "torchvision:resnet18"\nclasses = ["cat", "dog", "crane", "crane"]\n'


@pytest.fixture
def release(tmp_path: Path) -> Release:
    path = tmp_path / "models.toml"
    path.write_text(ENTRY)
    return load_catalogue(path).find("one")


def test_targets_are_found_by_index_by_name_and_whatever_their_case(release: Release) -> None:
    assert release.resolve_targets([1, "cat", "DOG", "3"]) == [1, 0, 3]
    assert release.resolve_targets("all") == [0, 1, 2, 3]


def test_an_unknown_name_is_refused_with_the_nearest(release: Release) -> None:
    with pytest.raises(UnknownTarget) as refused:
        release.resolve_targets(["cat", "dgo", 9])
    first, second = refused.value.document.errors
    assert (first.field, first.given, first.allowed) == ("/targets/1", "dgo", ["dog"])
    assert (second.field, second.given, second.allowed) == ("/targets/2", 9, "0 to 3")


def test_a_name_of_two_classes_is_refused_with_their_indices(release: Release) -> None:
    with pytest.raises(UnknownTarget) as refused:
        release.resolve_targets(["crane"])
    assert refused.value.document.errors[0].allowed == [2, 3]


def test_a_name_alone_means_the_newest_release(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(ENTRY + ENTRY.replace('"one"', '"one"\nrelease = "2"'))
    catalogue = load_catalogue(path)
    assert catalogue.find("one").reference == "one@2"
    assert catalogue.find("one@1").reference == "one@1"


def test_an_unknown_model_or_release_is_refused_with_what_there_is() -> None:
    catalogue = load_catalogue(None)
    with pytest.raises(UnknownModel, match="shapes"):
        catalogue.find("shape")
    with pytest.raises(UnknownModel, match="shapes@1"):
        catalogue.find("shapes@99")


def test_the_same_release_twice_is_refused(release: Release) -> None:
    with pytest.raises(ValueError, match="one@1 twice"):
        Catalogue([release, release])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "architecture"),
        ('architecture = "http://example.org/x"', "architecture"),
        ("classes = []", "classes"),
        ("mean = [0.5]", "mean"),
        ("= =", "valid catalogue"),
    ],
)
def test_a_wrong_catalogue_says_where(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f'[[model]]\nname = "one"\n{change}\n')
    with pytest.raises(ValueError, match=message):
        load_catalogue(path)


def test_a_missing_catalogue_says_which_setting_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ARCHETYPE_CATALOGUE"):
        load_catalogue(tmp_path / "none.toml")


def test_the_lists_that_come_with_the_service_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(ENTRY.replace('["cat", "dog", "crane", "crane"]', '"imagenet"'))
    classes = load_catalogue(path).find("one").classes
    assert len(classes) == 1000
    assert (classes[951], classes[130], classes[104]) == ("lemon", "flamingo", "wallaby")


@pytest.mark.parametrize("argument", ["pretrained", "checkpoint_path", "weights", "pretrained_cfg"])
def test_arguments_load_no_weights_past_the_checks(argument: str) -> None:
    with pytest.raises(ValueError, match="must not load weights"):
        Release(name="one", architecture="timm:resnet18", arguments={argument: "x"}, classes=["a", "b"])


def test_weights_come_from_one_place() -> None:
    for given in ({"key": "x", "published": True}, {"key": "x", "weights": "y"}):
        with pytest.raises(ValueError, match="one of them"):
            Release(name="one", architecture="timm:resnet18", classes=["a", "b"], **given)
    with pytest.raises(ValueError, match="published"):
        Release(name="one", architecture="factory:mine", classes=["a", "b"], published=True)
