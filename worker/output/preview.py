"""The preview of a running job, for clients that follow its events."""

import base64
import io
import time
from collections.abc import Sequence

import numpy as np
import structlog
from PIL import Image

from shared.errors import Unavailable
from shared.state.events import Events
from worker.engine.render import RGBImage
from worker.inputs.preprocess import shrink

SIDE = 96
"""Longest side of an image in pixels."""

MAX_IMAGES = 4
"""Maximum number of images in a preview."""

SPACING_SECONDS = 0.5
"""Minimum time between two previews of a shard."""

RETENTION_SECONDS = 3600
"""Time for which a preview is kept."""

log = structlog.get_logger()


class PreviewWriter:
    """Publishes the newest images of a shard, small and in a row."""

    def __init__(self, events: Events, job_id: str) -> None:
        self._events = events
        self._job_id = job_id
        self._written = float("-inf")

    def __call__(self, images: Sequence[RGBImage]) -> None:
        """Publishes images (H, W, 3), unless the last preview is recent; a preview that gets lost is no failure."""
        if not images or time.monotonic() - self._written < SPACING_SECONDS:
            return
        self._written = time.monotonic()
        try:
            self._events.save_thumbnail(self._job_id, encode(images[:MAX_IMAGES]), seconds=RETENTION_SECONDS)
        except Unavailable as problem:
            log.info("preview.lost", job_id=self._job_id, error=problem.detail)


def encode(images: Sequence[RGBImage]) -> str:
    """Images (H, W, 3) in a row, as a data URL of some kilobytes."""
    small = [shrink(image, SIDE) for image in images]
    height = min(image.shape[0] for image in small)
    row = np.concatenate([image[:height] for image in small], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
