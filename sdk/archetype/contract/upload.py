"""Uploads of a tenant: images and archives of images, stored under their digests and visible only to the tenant."""

from pydantic import Field

from archetype.contract.job import Document

ARRAY = "NPY"
"""Format of an uploaded NumPy array."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")
"""File name suffixes of images."""


class Image(Document):
    """An uploaded image."""

    id: str = Field(description="Id of the image: the SHA-256 digest of the file, so that equal files have equal ids.")
    format: str = Field(description="File format.", examples=["JPEG"])
    width: int = Field(description="Width in pixels, after EXIF orientation.")
    height: int = Field(description="Height in pixels, after EXIF orientation.")
    channels: int = Field(
        default=3, description="Number of channels: 3 for image files, the array's own number for a NumPy array."
    )
    bytes: int = Field(description="Size of the file in bytes.")
    name: str | None = Field(
        default=None, max_length=200, description="Name of the file when it was uploaded last; null if it had none."
    )

    @property
    def media_type(self) -> str:
        """Media type of the file."""
        return "application/octet-stream" if self.format == ARRAY else f"image/{self.format.lower()}"


class ArchiveFacts(Document):
    """An uploaded archive of images."""

    id: str = Field(description="Id of the archive: the SHA-256 digest of the file.")
    pictures: int = Field(description="Number of files in the archive whose names end like those of images.")
    bytes: int = Field(description="Size of the archive in bytes.")


def has_image_name(name: str) -> bool:
    """Whether a file name ends like that of an image and is not a hidden file or a macOS resource file."""
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".") and "__MACOSX/" not in name
