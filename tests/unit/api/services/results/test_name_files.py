"""Files of an image have the name of the image."""

import pytest

from api.services.results.name_files import name_file
from api.services.store_uploads import clean_name
from tests.support.finished_jobs import LEMON, describe_file

IMAGE = "ab" * 32
FILE = describe_file("j", f"{IMAGE[:12]}-0000-lemon-heat-map.png", target=LEMON, image=IMAGE)


def test_a_file_has_the_name_of_its_image_instead_of_the_id() -> None:
    assert name_file(FILE, {IMAGE: "my cat.jpg"}) == "my cat-0000-lemon-heat-map.png"


@pytest.mark.parametrize(
    ("name", "start"),
    [("../../etc/passwd", "passwd"), ("a\\b.png", "b"), ("..", "image"), ("a:b?.png", "a_b_"), ("x" * 300, "x" * 80)],
)
def test_the_name_of_an_image_cannot_change_the_folder_of_a_file(name: str, start: str) -> None:
    assert name_file(FILE, {IMAGE: name}) == f"{start}-0000-lemon-heat-map.png"


def test_a_file_keeps_its_own_name_if_the_other_is_taken_or_not_known() -> None:
    assert name_file(FILE, {}) == FILE.name
    assert name_file(FILE, {IMAGE: "a.png"}, used={"a-0000-lemon-heat-map.png"}) == FILE.name


@pytest.mark.parametrize(
    ("given", "kept"),
    [("C:\\pictures\\cat.png", "cat.png"), ("a\x00b\n.png", "ab.png"), ("folder/", None), (None, None), ("", None)],
)
def test_the_name_of_an_upload_is_stored_without_folders(given: str | None, kept: str | None) -> None:
    assert clean_name(given) == kept
