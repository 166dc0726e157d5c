"""What a report is made from: the comparisons, the images of the probes, and the network of the subject."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.audit.compare import ClassRow, Side
from worker.inputs.preprocess import Levels


@dataclass(frozen=True)
class Case:
    """Comparison with one baseline.

    Attributes:
        baseline: The baseline.
        rows: Measurements by class index.
    """

    baseline: Side
    rows: Mapping[int, ClassRow]

    @property
    def reference(self) -> str:
        """Reference of the baseline."""
        return self.baseline.release.reference


@dataclass(frozen=True)
class Material:
    """Everything that the evidence of a report is made from.

    Attributes:
        subject: The audited release.
        cases: The comparisons.
        images: Images of the probes at the network's input size, each (H, W, C), by image id.
        map_class: Absolute saliency map (h, w) of a class for the subject, from an image (H, W, C) and a class index.
    """

    subject: Side
    cases: Sequence[Case]
    images: Mapping[str, Levels]
    map_class: Callable[[Levels, int], NDArray[np.float32]]

    @property
    def sides(self) -> list[Side]:
        """The subject and the baselines."""
        return [self.subject, *(case.baseline for case in self.cases)]
