"""Archives of model folders are unpacked by name, with limits, and never outside of a new folder."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.models.huggingface import archive
from worker.models.huggingface.archive import UnreadableFolder, unpack

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "preprocessor_config.json": b"{}", "README.md": b"text"}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "gz", links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, f"w:{mode}") as packed:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            packed.addfile(member)
    return path


def read(path: Path, *, weights: bool = True) -> dict[str, bytes]:
    with unpack(path, weights=weights) as folder:
        return {file.name: file.read_bytes() for file in folder.iterdir()}


WRITERS: list[Callable[[Path, dict[str, bytes]], Path]] = [
    write_zip,
    write_tar,
    lambda path, files: write_tar(path, files, ""),
    lambda path, files: write_tar(path, files, "xz"),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("prefix", ["", "./", "model/", "/abs/model/", "a/b/c/"])
def test_the_needed_files_of_a_folder_are_unpacked_wherever_it_lies(tmp_path: Path, write, prefix: str) -> None:
    path = write(tmp_path / "x", {prefix + name: data for name, data in FILES.items()})
    expected = {name: data for name, data in FILES.items() if name != "README.md"}
    assert read(path) == expected
    assert "model.safetensors" not in read(path, weights=False)


@pytest.mark.parametrize("places", [1, 2], ids=["in the file", "in the file and the directory"])
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path, places: int) -> None:
    path = write_zip(tmp_path / "x", FILES | {"cönfig": b""})
    data = path.read_bytes()
    path.write_bytes(data.replace("cönfig".encode(), b"c\xff\xffnfig", places))
    if places == 1:
        assert "config.json" in read(path)
    else:
        with pytest.raises(UnreadableFolder, match="cannot be unpacked"):
            read(path)


def test_split_weights_are_unpacked_as_their_index_says(tmp_path: Path) -> None:
    shards = {f"model-{number}-of-2.safetensors": bytes([number]) for number in (1, 2)}
    index = {"weight_map": {f"w{number}": name for number, name in enumerate(shards)}}
    files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), **shards}
    assert set(read(write_zip(tmp_path / "x", files))) == set(files)
    missing = dict(list(files.items())[:-1])
    with pytest.raises(UnreadableFolder, match=r"lacks model-2-of-2\.safetensors"):
        read(write_zip(tmp_path / "y", missing))


@pytest.mark.parametrize("shard", ["../evil.safetensors", "/etc/passwd", "a/b.safetensors", "config.json"])
def test_an_index_that_names_other_files_is_refused(tmp_path: Path, shard: str) -> None:
    index = json.dumps({"weight_map": {"w": shard}}).encode()
    files = {"config.json": b"{}", "model.safetensors.index.json": index, shard: b""}
    with pytest.raises(UnreadableFolder, match="does not name files of weights"):
        read(write_zip(tmp_path / "x", files))


def test_members_with_paths_that_lead_outside_are_never_written(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    evil = {"../../config.json": b"evil", "../evil.json": b"evil", f"{outside}/x.json": b"evil"}
    for write in (write_zip, write_tar):
        assert read(write(tmp_path / "x", {**evil, **FILES}))["config.json"] == b"{}"
        with pytest.raises(UnreadableFolder, match=r"no config\.json"):
            read(write(tmp_path / "y", evil))
    assert list(outside.iterdir()) == []


def test_links_are_refused_with_the_way_to_pack_the_files(tmp_path: Path) -> None:
    files = {name: data for name, data in FILES.items() if name != "model.safetensors"}
    path = write_tar(tmp_path / "x", files, links={"model.safetensors": "/etc/passwd"})
    with pytest.raises(UnreadableFolder, match="--dereference"):
        read(path)
    info = zipfile.ZipInfo("model.safetensors")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(write_zip(tmp_path / "y", files), "a") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(UnreadableFolder, match="as a link"):
        read(tmp_path / "y")


def test_files_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_CONFIG_BYTES", 1000)
    monkeypatch.setattr(archive, "MAX_WEIGHTS_BYTES", 2000)
    for name in ("config.json", "model.safetensors"):
        for write in (write_zip, write_tar):
            path = write(tmp_path / "x", {**FILES, name: bytes(3000)})
            with pytest.raises(UnreadableFolder, match=r"more than|too large"):
                read(path)
    with pytest.raises(UnreadableFolder, match="too many"):
        read(write_tar(tmp_path / "x", {f"{number}.txt": b"" for number in range(archive.MAX_MEMBERS + 2)}))
    with pytest.raises(UnreadableFolder, match="more than 1000 files"):
        read(write_zip(tmp_path / "x", {f"{number}.txt": b"" for number in range(archive.MAX_MEMBERS + 2)}))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": b""}, r"no config\.json"),
        ({"config.json": b"{}"}, r"no model\.safetensors or pytorch_model\.bin"),
        ({"config.json": b"{}", "tf_model.h5": b""}, r"it has tf_model\.h5"),
        ({"a/config.json": b"{}", "b/config.json": b"{}"}, "several model folders"),
    ],
)
def test_an_archive_that_is_not_a_model_folder_is_refused_with_what_it_lacks(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(UnreadableFolder, match=message):
        read(write_zip(tmp_path / "x", files))


def test_a_file_that_is_no_archive_and_a_truncated_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"hello")
    tar = write_tar(tmp_path / "tar", {**FILES, "model.safetensors": bytes(range(256)) * 4000})
    tar.write_bytes(tar.read_bytes()[:1500])
    for path in (tmp_path / "text", tar):
        with pytest.raises(UnreadableFolder, match="cannot be unpacked"):
            read(path)


def test_a_member_before_the_start_of_an_archive_is_a_fault_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\5\6")
    data[end + 16 : end + 20] = (10_000).to_bytes(4, "little")  # the directory claims to begin later than it does
    path.write_bytes(data)
    with pytest.raises(UnreadableFolder, match="cannot be unpacked"), unpack(path, weights=False):
        pass
