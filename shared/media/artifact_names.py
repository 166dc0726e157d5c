"""Names of artifact files: workers write them, and the web page groups files by them."""

import re
import zlib

from archetype.contract.job import TargetClass


def file_name(layer: str) -> str:
    """The name of a layer within a file name, different for every layer."""
    short = layer.replace(".", "-")
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,80}", short) and "-" not in layer
    return short if plain else f"{re.sub(r'[^A-Za-z0-9_-]', '-', short)[:60]}-{zlib.crc32(layer.encode()):08x}"


def file_stem(target: TargetClass) -> str:
    """The start of a file name for a class: `0951-lemon`."""
    return f"{target.index:04d}-{re.sub(r'[^a-z0-9]+', '-', target.name.lower()).strip('-')[:60] or 'class'}"
