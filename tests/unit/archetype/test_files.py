"""Files of a result are written into the folder that the user names, and never outside of it."""

import zipfile
from pathlib import Path

import httpx2
import pytest

from archetype.errors import ServerError
from archetype.files import packed, write_file
from tests.support.mock_service import JOB_ID, MockService, make_artifact

NAMES_OUTSIDE = [
    "../x.png",
    "/etc/passwd",
    "a/../../x.png",
    "a/b.png",
    "..",
    ".",
    "",
    "C:x.png",
    "..\\x.png",
    "\\\\host\\x",
    "a\0.png",
]


@pytest.fixture
def service() -> MockService:
    service = MockService()
    service.answer("GET", f"/v1/jobs/{JOB_ID}/artifacts/0000-lemon.png", httpx2.Response(200, content=b"new"))
    return service


@pytest.mark.parametrize("name", NAMES_OUTSIDE)
def test_a_name_outside_the_folder_is_refused_and_nothing_is_written(
    service: MockService, tmp_path: Path, name: str
) -> None:
    artifacts = [make_artifact(), make_artifact(name)]
    with pytest.raises(ServerError, match="is not the name of a file"):
        service.client().save_artifacts(artifacts, tmp_path / "folder" / "images")
    assert list(tmp_path.rglob("*")) == []
    assert service.requests == []


def test_a_link_in_the_folder_is_replaced_and_not_followed(service: MockService, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.png", tmp_path / "images"
    outside.write_bytes(b"old")
    folder.mkdir()
    for name in ("0000-lemon.png", ".0000-lemon.png.part"):
        (folder / name).symlink_to(outside)
    (path,) = service.client().save_artifacts([make_artifact()], folder)
    assert (path.read_bytes(), path.is_symlink(), outside.read_bytes()) == (b"new", False, b"old")


def test_the_folder_is_created_and_only_the_files_are_in_it(service: MockService, tmp_path: Path) -> None:
    paths = service.client().save_artifacts([make_artifact()], str(tmp_path / "a" / "b"))
    assert paths == [tmp_path / "a" / "b" / "0000-lemon.png"]
    assert list((tmp_path / "a" / "b").iterdir()) == paths


def test_a_file_that_exists_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for data in (b"first", b"second"):
        write_file(path, data)
        assert path.read_bytes() == data


def test_a_model_folder_is_packed_the_same_way_every_time_without_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / ".git").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "pytorch_model.bin", "README.md", ".git/HEAD"):
        (folder / name).write_text(name)
    with packed(folder) as first:
        data = first.read_bytes()
        with zipfile.ZipFile(first) as archive:
            assert archive.namelist() == ["config.json", "model.safetensors"]
    assert not first.exists()
    (folder / "config.json").touch()
    with packed(folder) as second:
        assert second.read_bytes() == data


def test_a_file_of_weights_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("weights")
    with packed(tmp_path / "w") as path:
        assert path == tmp_path / "w"
    assert path.exists()
