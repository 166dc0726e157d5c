"""Names the kind of an image file that cannot be decoded."""

import struct

from shared.media.tiff import BITS, PHOTOMETRIC, PLANES, SAMPLE_FORMAT, SAMPLES, TiffFile

MAGIC_NUMBERS = (
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"P5", "PGM"),
    (b"P6", "PPM"),
    (b"PF\n", "PFM"),
    (b"Pf\n", "PFM"),
    (b"\x89HDF", "HDF5"),
    (b"SIMPLE  =", "FITS"),
    (b"<svg", "SVG"),
)
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}
"""Brands of files in the ISO base media format."""

COLORS = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB"}
NUMBERS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}


def name_kind(data: bytes) -> str | None:
    """Returns the name of a file format that is not supported, or the kind of a TIFF file; None if it is unknown."""
    if data[128:132] == b"DICM":
        return "DICOM"
    if data[4:8] == b"ftyp" and data[8:12] in BRANDS:
        return BRANDS[data[8:12]]
    name = next((name for start, name in MAGIC_NUMBERS if data.startswith(start)), None)
    return name or _describe_tiff(data)


def find_unsupported_planes(data: bytes) -> str | None:
    """Returns the kind of a TIFF file whose channels of more than 8 bits lie in separate planes; else None."""
    try:
        file = TiffFile.open(data)
    except (struct.error, ValueError, OverflowError):
        return None
    is_separate = file.get_first(PLANES, 1) == 2 and file.get_first(SAMPLES, 1) > 1
    return f"{_describe_tiff(data)}, in separate planes" if is_separate and file.get_first(BITS, 1) > 8 else None


def _describe_tiff(data: bytes) -> str | None:
    try:
        file = TiffFile.open(data)
    except (struct.error, ValueError, OverflowError):
        return None
    if not file.get(BITS):
        return None
    channels, colors = file.get_first(SAMPLES, 1), COLORS.get(file.get_first(PHOTOMETRIC, 1), "unknown colors")
    numbers = NUMBERS.get(file.get_first(SAMPLE_FORMAT, 1), "unknown numbers")
    return f"TIFF with {channels} channels ({colors}) of {file.get_first(BITS, 1)}-bit {numbers}"
