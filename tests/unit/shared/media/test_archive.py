"""Reading of ZIP archives, and of damaged ones."""

import io
import zipfile
from hashlib import sha256

import pytest

from shared.errors import TooLarge, UnreadableImage
from shared.media import archive
from shared.media.archive import count_images, describe_archive, read_member
from tests.support.hostile_files import make_zip, make_zip_of_entries


def encode_archive(members: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, data in members.items():
            writer.writestr(name, data)
    return file


def test_an_archive_is_described_by_digest_size_and_number_of_images() -> None:
    file = encode_archive({"a.png": b"1", "folder/b.JPG": b"2", "notes.txt": b"3", "__MACOSX/._a.png": b"4"})
    facts = describe_archive(file, count_images)
    data = file.getvalue()
    assert (facts.id, facts.bytes, facts.pictures) == (sha256(data).hexdigest(), len(data), 2)
    assert file.tell() == 0


@pytest.mark.parametrize("data", [b"", b"not a ZIP file", b"PK\x03\x04 cut off"])
def test_a_file_that_is_not_a_zip_archive_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="not a ZIP archive"):
        count_images(io.BytesIO(data))


def test_an_archive_without_images_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="suffix of an image"):
        count_images(encode_archive({"notes.txt": b"hello"}))


def test_an_archive_with_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    with pytest.raises(TooLarge, match="more than 2 files"):
        count_images(encode_archive({f"{number}.png": b"" for number in range(3)}))


def test_a_member_is_unpacked_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 10)
    with zipfile.ZipFile(encode_archive({"fits.png": bytes(10), "large.png": bytes(11)})) as opened:
        assert read_member(opened, "fits.png") == bytes(10)
        with pytest.raises(UnreadableImage, match=r"large.png unpacks to more than 10 bytes"):
            read_member(opened, "large.png")


def test_a_damaged_member_is_refused_by_name() -> None:
    data = bytearray(encode_archive({"a.png": b"0123456789" * 100}).getvalue())
    data[45] ^= 0xFF
    with (
        zipfile.ZipFile(io.BytesIO(bytes(data))) as opened,
        pytest.raises(UnreadableImage, match=r"a.png cannot be read"),
    ):
        read_member(opened, "a.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_whose_size_cannot_be_limited_while_it_is_unpacked_is_refused(method: int) -> None:
    data = make_zip(method, 1_000_000)
    with pytest.raises(UnreadableImage, match="only Deflate is allowed"):
        count_images(io.BytesIO(data))
    with zipfile.ZipFile(io.BytesIO(data)) as opened, pytest.raises(UnreadableImage, match="only Deflate"):
        read_member(opened, "a.png")


def test_stored_members_are_accepted() -> None:
    assert count_images(io.BytesIO(make_zip(zipfile.ZIP_STORED, 1000))) == 1


@pytest.mark.parametrize("count", [50_001, 1_000_000])
def test_a_directory_with_too_many_entries_is_refused_before_it_is_parsed(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_zip_of_entries(count)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(TooLarge, match="too many files"):
        count_images(io.BytesIO(data))


def test_the_directory_that_is_checked_is_the_one_that_is_read() -> None:
    """A file may contain several directories, and bytes before the first member."""
    few, many = make_zip_of_entries(1), make_zip_of_entries(50_001)
    assert count_images(io.BytesIO(many + few)) == 1
    with pytest.raises(TooLarge):
        count_images(io.BytesIO(few + many))
    with pytest.raises(TooLarge):
        count_images(io.BytesIO(b"text before the archive" + many))


def test_archives_in_the_zip64_format_are_checked_too() -> None:
    with pytest.raises(TooLarge):
        count_images(io.BytesIO(make_zip_of_entries(70_000, is_big=True)))
    assert count_images(io.BytesIO(make_zip_of_entries(3, is_big=True))) == 3
