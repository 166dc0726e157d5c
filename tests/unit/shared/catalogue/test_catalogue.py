"""The catalogue: built-in models and the operator's file."""

from pathlib import Path

import pytest

from shared.catalogue.catalogue import Catalogue, load_catalogue
from shared.catalogue.release import Release
from shared.errors import UnknownModel

ENTRY = '[[model]]\nname = "one"\narchitecture = "torchvision:resnet18"\nclasses = ["cat", "dog", "crane", "crane"]\n'


@pytest.fixture
def release(tmp_path: Path) -> Release:
    path = tmp_path / "models.toml"
    path.write_text(ENTRY)
    return load_catalogue(path).find("one")


def test_a_name_without_release_refers_to_the_newest_release(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(ENTRY + ENTRY.replace('"one"', '"one"\nrelease = "2"'))
    catalogue = load_catalogue(path)
    assert catalogue.find("one").reference == "one@2"
    assert catalogue.find("one@1").reference == "one@1"


def test_an_unknown_model_or_release_is_refused_with_the_known_ones() -> None:
    catalogue = load_catalogue(None)
    with pytest.raises(UnknownModel, match="shapes"):
        catalogue.find("shape")
    with pytest.raises(UnknownModel, match="shapes@1"):
        catalogue.find("shapes@99")


def test_a_catalogue_with_the_same_release_twice_is_refused(release: Release) -> None:
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
def test_an_invalid_catalogue_is_refused_with_the_invalid_field(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f'[[model]]\nname = "one"\n{change}\n')
    with pytest.raises(ValueError, match=message):
        load_catalogue(path)


def test_a_missing_catalogue_is_refused_with_the_name_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ARCHETYPE_CATALOGUE"):
        load_catalogue(tmp_path / "none.toml")


def test_the_builtin_list_of_imagenet_classes_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(ENTRY.replace('["cat", "dog", "crane", "crane"]', '"imagenet"'))
    classes = load_catalogue(path).find("one").classes
    assert len(classes) == 1000
    assert (classes[951], classes[130], classes[104]) == ("lemon", "flamingo", "wallaby")


def write_catalogue(folder: Path, classes: str, data: bytes = b"") -> Path:
    (folder / "names.txt").write_bytes(data)
    path = folder / "models.toml"
    path.write_text(ENTRY.replace('["cat", "dog", "crane", "crane"]', classes), encoding="utf-8")
    return path


def test_class_names_can_be_a_file_next_to_the_catalogue(tmp_path: Path) -> None:
    path = write_catalogue(tmp_path, '"names.txt"', "\ufeffкот\r\nпёс\u2028\r\ncrane\r\ncrane\r\n\r\n".encode())
    assert load_catalogue(path).find("one").classes == ["кот", "пёс", "crane", "crane"]


@pytest.mark.parametrize(
    ("classes", "data", "message"),
    [
        ('"names.txt"', "кот".encode("utf-16"), "names.txt, line 1: the encoding is UTF-16"),
        ('"names.txt"', "cat\ncaf\u00e9".encode("latin-1"), "names.txt, line 2: .* Latin-1"),
        ('"missing.txt"', b"", "missing.txt of .*models.toml cannot be read"),
        ('["cat", " "]', b"", "must not be empty: class 1"),
        ('["cat", "d\\tog"]', b"", r"control character U\+0009: class 1"),
    ],
)
def test_class_names_that_cannot_be_read_are_refused_with_the_place(
    tmp_path: Path, classes: str, data: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_catalogue(write_catalogue(tmp_path, classes, data))


def test_a_catalogue_may_have_a_byte_order_mark_and_must_be_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ENTRY.replace("cat", "кот").encode())
    assert load_catalogue(path).find("one").classes[0] == "кот"
    path.write_bytes(ENTRY.replace("cat", "caf\u00e9").encode("latin-1"))
    with pytest.raises(ValueError, match=r"models.toml is not a valid catalogue: .*utf-8"):
        load_catalogue(path)
