"""Where a job's pictures come from: one after another, however many, without holding more than one."""

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from shared.archives import read_member
from shared.methods import AnyRequest, Looking
from shared.parameters.subjects import Archive, Picture, Shelf
from shared.pictures import is_named_like_picture
from shared.storage import Storage


@dataclass(frozen=True)
class Entry:
    """A picture that has not been read yet.

    Attributes:
        name: Its id, or what it is called where it lies.
        picture: What the request says of it; None where it names only the collection.
        read: Fetches the file's bytes; raises a problem where it cannot.
    """

    name: str
    picture: Picture | None
    read: Callable[[], bytes]

    def identify(self, data: bytes) -> Picture:
        """The picture with its id, which is the digest of its bytes."""
        return self.picture or Picture(id=hashlib.sha256(data).hexdigest())


@contextmanager
def open_source(
    request: AnyRequest, storage: Storage, tenant: str, look_up: Callable[[], None] = lambda: None
) -> Iterator[Sequence[Entry]]:
    """The pictures that a request is to look at; an archive lies in a temporary file meanwhile.

    Args:
        tenant: Whose uploads it names.
        look_up: Called now and then while an archive is fetched.
    """
    if not isinstance(request, Looking):
        yield []
        return
    uploads = storage.of(tenant)
    match request.images:
        case Archive():
            with tempfile.TemporaryFile() as file:
                for chunk in uploads.stream_archive(request.images.archive):
                    file.write(chunk)
                    look_up()
                with zipfile.ZipFile(file) as archive:
                    names = filter(is_named_like_picture, archive.namelist())
                    yield [Entry(name, None, partial(read_member, archive, name)) for name in names]
        case Shelf():
            keys = storage.list_pictures(request.images.prefix)
            yield [Entry(key, None, partial(storage.load_picture, key)) for key in keys]
        case _:
            yield [Entry(one.id, one, partial(uploads.load_image, one.id)) for one in request.pictures]
