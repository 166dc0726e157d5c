"""Reads archives of pictures that nobody vouches for."""

import hashlib
import zipfile
from typing import IO

from shared.errors import FieldError, TooLarge, UnreadableImage
from shared.pictures import is_named_like_picture
from shared.uploads import ArchiveFacts

MOST_MEMBERS = 50_000
MOST_BYTES = 50_000_000
"""Of one picture, unpacked: a small file may unpack to anything."""


def describe_archive(file: IO[bytes]) -> ArchiveFacts:
    """Digest, size, and how many pictures there are in a ZIP archive; none is unpacked.

    Raises:
        UnreadableImage: It is no ZIP archive, or holds nothing that is named like a picture.
        TooLarge: It holds more files than are taken.
    """
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        field = FieldError(field="file", detail="not a ZIP archive", given=f"{size} bytes", allowed="a whole ZIP file")
        raise UnreadableImage(f"the file is no ZIP archive: {error}; send one with pictures", field) from error
    file.seek(0)
    if len(names) > MOST_MEMBERS:
        field = FieldError(field="file", detail="too many files", given=len(names), allowed=MOST_MEMBERS)
        raise TooLarge(f"the archive holds {len(names)} files; send at most {MOST_MEMBERS} at a time", field)
    pictures = sum(map(is_named_like_picture, names))
    if not pictures:
        field = FieldError(field="file", detail="no pictures in it", given=names[:5])
        raise UnreadableImage("the archive holds no file named like a picture, as .jpg or .png", field)
    return ArchiveFacts(id=digest.hexdigest(), pictures=pictures, bytes=size)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of an archive.

    Raises:
        UnreadableImage: It is damaged, encrypted, or unpacks to more than a picture may have.
    """
    try:
        with archive.open(name) as member:
            data = member.read(MOST_BYTES + 1)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError) as error:
        raise UnreadableImage(f"{name} cannot be read from the archive: {error}; pack it again") from error
    if len(data) > MOST_BYTES:
        raise UnreadableImage(f"{name} unpacks to more than {MOST_BYTES} bytes; send a smaller picture")
    return data
