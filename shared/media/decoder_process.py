"""The child process that decodes untrusted images and lists untrusted archives."""

from dataclasses import asdict

from shared.isolation.frames import Frame
from shared.isolation.serve import serve
from shared.media.archive import count_images
from shared.media.image import decode_compact, describe_image


def describe(request: Frame) -> Frame:
    """Returns the facts about an image, whose bytes or whose file are sent with the request."""
    data = bytes(request.data) if request.file is None else _read(request.file)
    facts = describe_image(data, max_pixels=request.document["max_pixels"])
    return Frame({"facts": asdict(facts)})


def _read(number: int) -> bytes:
    with open(number, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def decode(request: Frame) -> Frame:
    """Returns the pixels of an image and the facts about it."""
    values, facts = decode_compact(bytes(request.data), max_pixels=request.document["max_pixels"])
    document = {"facts": asdict(facts), "shape": values.shape, "kind": values.dtype.name}
    return Frame(document, values.reshape(-1).view("u1").data)


def count(request: Frame) -> Frame:
    """Returns the number of images in an archive, whose file is sent with the request."""
    if request.file is None:
        raise ValueError("an archive is sent as an open file")
    with open(request.file, "rb", closefd=False) as file:
        return Frame({"images": count_images(file)})


if __name__ == "__main__":
    serve({"describe": describe, "decode": decode, "count": count})
