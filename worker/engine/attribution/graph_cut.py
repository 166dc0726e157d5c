"""GraphCut: segments the object that a saliency map points at, for weakly supervised localization.

Pixels with the highest saliency are seeds of the object, pixels with the lowest are seeds of the background; GraphCut
assigns the others by color (Simonyan et al. 2013, arXiv 1312.6034, section 3.2). The implementation is OpenCV's GrabCut
(Rother et al. 2004, doi:10.1145/1015706.1015720).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.engine.attribution.boxes import Mask

MIN_SEEDS = 5
"""Seeds of each kind that a color model needs: it is a mixture of five Gaussians."""


@dataclass(frozen=True)
class GraphCut:
    """Settings of the segmentation.

    Attributes:
        foreground: Pixels above this quantile of the map are seeds of the object.
        background: Pixels below this quantile are seeds of the background.
        probable: Pixels between the two start as object above this quantile, and as background below it.
        blur: Standard deviation of the Gaussian blur of the map, in pixels of a map whose longest side is 224.
        iterations: Iterations of GrabCut.
        side: Longest side in pixels at which the image is segmented; the cost grows with the area.
    """

    foreground: float = 0.95
    background: float = 0.30
    probable: float = 0.70
    blur: float = 3.0
    iterations: int = 2
    side: int = 112


def segment_object(image: NDArray[np.uint8], saliency: NDArray[np.float32], settings: GraphCut) -> Mask:
    """Segments the object that a saliency map points at.

    Args:
        image: The image (H, W, 3), RGB in 0..255.
        saliency: Its map (H, W); the larger a value, the more the score depends on the pixel.
        settings: Quantiles, blur and resolution.

    Returns:
        The object's mask (H, W); empty if the map has no contrast.
    """
    height, width = saliency.shape
    scale = min(1.0, settings.side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small_image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    small_map = np.asarray(cv2.resize(saliency, size, interpolation=cv2.INTER_AREA), np.float32)
    mask = _segment(small_image, _blur(small_map, settings.blur * max(size) / 224), settings)
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def _blur(saliency: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    saliency = np.nan_to_num(saliency.astype(np.float32), posinf=0, neginf=0)
    return np.asarray(cv2.GaussianBlur(saliency, (0, 0), deviation) if deviation > 0 else saliency)


def _segment(image: NDArray[np.uint8], saliency: NDArray[np.float32], settings: GraphCut) -> Mask:
    quantiles = (settings.background, settings.probable, settings.foreground)
    low, middle, high = (float(np.quantile(saliency, quantile)) for quantile in quantiles)
    foreground, background = saliency > high, saliency <= low
    if not low < high or not foreground.any():  # the quantiles coincide: at most a few pixels stand out
        return saliency > high
    if min(foreground.sum(), background.sum()) < MIN_SEEDS:
        return saliency > middle
    labels = np.full(saliency.shape, cv2.GC_PR_BGD, np.uint8)
    labels[saliency > middle] = cv2.GC_PR_FGD
    labels[foreground], labels[background] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)  # the color models start with random centers
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cut_labels, _, _ = cv2.grabCut(image, labels, (0, 0, 1, 1), *models, settings.iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(np.asarray(cut_labels), (cv2.GC_FGD, cv2.GC_PR_FGD))
