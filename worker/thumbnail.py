"""What a job looks like now, for those who follow it."""

import base64
import io
import time
from collections.abc import Sequence

import numpy as np
import structlog
from PIL import Image

from shared.errors import Unavailable
from shared.events import Events
from worker.engine.render import Pixels
from worker.recording import shrink

SIDE = 96
"""Longest side of a picture in pixels."""

MOST = 4
"""Pictures beside each other."""

SPACING_SECONDS = 0.5
"""Between two of one share."""

KEPT_SECONDS = 3600

log = structlog.get_logger()


class Thumbnail:
    """Shows the newest pictures of a share, small, beside each other, now and then."""

    def __init__(self, events: Events, job_id: str) -> None:
        self._events = events
        self._job_id = job_id
        self._shown = float("-inf")

    def __call__(self, pictures: Sequence[Pixels]) -> None:
        """Shows pictures (H, W, 3), unless some were shown just now; that nobody hears of it is no failure."""
        if not pictures or time.monotonic() - self._shown < SPACING_SECONDS:
            return
        self._shown = time.monotonic()
        try:
            self._events.show(self._job_id, encode(pictures[:MOST]), seconds=KEPT_SECONDS)
        except Unavailable as problem:
            log.info("thumbnail.lost", job_id=self._job_id, error=problem.detail)


def encode(pictures: Sequence[Pixels]) -> str:
    """Pictures (H, W, 3) beside each other as a data URL of some kilobytes."""
    small = [shrink(picture, SIDE) for picture in pictures]
    height = min(picture.shape[0] for picture in small)
    row = np.concatenate([picture[:height] for picture in small], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
