"""Reads ZIP archives of images from untrusted bytes."""

import hashlib
import zipfile
from collections.abc import Callable
from typing import IO

from archetype.contract.problem import FieldError
from archetype.contract.upload import ArchiveFacts, has_image_name
from shared.errors import TooLarge, UnreadableImage
from shared.media.zip_file import READ_ERRORS, TooManyMembers, UnusualCompression, check_method, open_zip

MAX_MEMBERS = 50_000
MAX_MEMBER_BYTES = 50_000_000
"""Largest unpacked size of one image: a small ZIP file can unpack to any size."""


def describe_archive(file: IO[bytes], count: Callable[[IO[bytes]], int]) -> ArchiveFacts:
    """Digest, size and number of images of a ZIP archive. No image is unpacked.

    Args:
        file: The archive.
        count: Counts the images; `count_images` in a process with limits.

    Raises:
        UnreadableImage: As `count_images`.
        TooLarge: As `count_images`.
    """
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    images = count(file)
    file.seek(0)
    return ArchiveFacts(id=digest.hexdigest(), pictures=images, bytes=size)


def count_images(file: IO[bytes]) -> int:
    """Counts the files of a ZIP archive whose names have the suffix of an image.

    Raises:
        UnreadableImage: The file is not a ZIP archive, a file in it is compressed with another method than Deflate, or
            none has the suffix of an image.
        TooLarge: The archive contains too many files.
    """
    with open_archive(file) as archive:
        names = archive.namelist()
    count = sum(map(has_image_name, names))
    if not count:
        field = FieldError(field="file", detail="no images in the archive", given=[name[:200] for name in names[:5]])
        raise UnreadableImage("no file in the archive has the suffix of an image, such as .jpg or .png", field)
    return count


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Opens a ZIP archive of images; raises as `count_images`."""
    try:
        return open_zip(file, max_members=MAX_MEMBERS)
    except TooManyMembers as error:
        field = FieldError(field="file", detail="too many files", given=str(error), allowed=MAX_MEMBERS)
        raise TooLarge(f"the archive has too many files: {error}; send fewer at a time", field) from error
    except UnusualCompression as error:
        field = FieldError(field="file", detail=str(error), allowed=["stored", "Deflate"])
        raise UnreadableImage(f"the archive cannot be used: {error}", field) from error
    except READ_ERRORS as error:
        field = FieldError(field="file", detail="not a ZIP archive", allowed="a complete ZIP file")
        raise UnreadableImage(f"the file is not a ZIP archive: {error}; send a ZIP file with images", field) from error


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Unpacks one file of an archive.

    Raises:
        UnreadableImage: The file is damaged or encrypted, or its unpacked size is above the limit.
    """
    try:
        info = archive.getinfo(name)
        check_method(info)
        with archive.open(info) as member:
            data = member.read(MAX_MEMBER_BYTES + 1)
    except READ_ERRORS as error:
        raise UnreadableImage(f"{name} cannot be read from the archive: {error}; create the archive again") from error
    if len(data) > MAX_MEMBER_BYTES:
        raise UnreadableImage(f"{name} unpacks to more than {MAX_MEMBER_BYTES} bytes; send a smaller image")
    return data
