"""Opens the input images of a job one by one, so that any number of images needs the memory of one."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from archetype.contract.parameters.inputs import Archive, ImageInput, StorePrefix
from archetype.contract.request import AnyRequest, ImageRequest
from archetype.contract.upload import has_image_name
from shared.media.archive import open_archive, read_member
from shared.queue.sharding import ImageRange
from shared.storage.job_store import JobStore


@dataclass(frozen=True)
class InputImage:
    """An image that has not been read yet.

    Attributes:
        name: The id of the image, or its name in the archive or in the store.
        image: The image as the request describes it; None if the request names only the collection.
        read: Reads the bytes of the file; raises a problem if that fails.
    """

    name: str
    image: ImageInput | None
    read: Callable[[], bytes]

    def identify(self, data: bytes) -> ImageInput:
        """Returns the image with its id, which is the digest of its bytes."""
        return self.image or ImageInput(id=hashlib.sha256(data).hexdigest())


@contextmanager
def open_source(
    request: AnyRequest,
    storage: JobStore,
    tenant: str,
    check_interrupted: Callable[[], None] = lambda: None,
    part: ImageRange | None = None,
) -> Iterator[Sequence[InputImage]]:
    """Opens the images that a request names; an archive stays open until the block ends.

    Args:
        request: Names uploaded images, an archive or a prefix of the store; or no images.
        storage: The store.
        tenant: The tenant whose uploads the request names.
        check_interrupted: Called before each part of an archive is read; may raise an exception to stop.
        part: Which of the images; None for all of them.
    """
    if not isinstance(request, ImageRequest):
        yield []
        return
    uploads, chosen = storage.of(tenant), slice(part.start, part.stop) if part else slice(None)
    match request.images:
        case Archive():
            file = uploads.open_archive(request.images.archive, check_interrupted)
            with closing(file), open_archive(file) as archive:
                names = list(filter(has_image_name, archive.namelist()))[chosen]
                yield [InputImage(name, None, partial(read_member, archive, name)) for name in names]
        case StorePrefix():
            keys = storage.list_images(
                request.images.prefix, after=part.after if part else "", until=part.until if part else None
            )
            yield [InputImage(key, None, partial(storage.load_image, key)) for key in keys]
        case _:
            images = request.pictures[chosen]
            yield [InputImage(image.id, image, partial(uploads.load_image, image.id)) for image in images]
