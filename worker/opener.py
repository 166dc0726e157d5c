"""From an uploaded file to a picture in the network's channels."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.catalogue import Preprocessing
from shared.pictures import decode_picture
from shared.uploads import Uploads
from worker.preprocess import Levels, to_levels


@dataclass(frozen=True)
class Opener:
    """Reads pictures for a release, and warns in the job's metrics where they are not what it was trained on."""

    uploads: Uploads
    preprocessing: Preprocessing
    max_pixels: int
    warn: Callable[[str], None]

    def decode(self, data: bytes) -> Levels:
        """A picture (H, W, C) in the network's channels from a file's bytes, with the same checks as at the edge."""
        values, _ = decode_picture(data, max_pixels=self.max_pixels)
        levels, outside = to_levels(values, self.preprocessing)
        if outside:
            low, high = self.preprocessing.range
            self.warn(f"{outside:.1%} of the values of a picture lie outside {low:g} to {high:g} and were clipped")
        return levels

    def load(self, image_id: str) -> Levels:
        """An uploaded picture (H, W, C)."""
        return self.decode(self.uploads.load_image(image_id))
