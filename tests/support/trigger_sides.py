"""Two releases of the small network with a planted shortcut, as an audit compares them, and quick searches."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from archetype.contract.audit_plan import Gate
from archetype.contract.model import Preprocessing
from shared.catalogue.release import Release
from tests.support.marked import CLASSES, SIDE, make_labeled
from worker.audit.compare import Side
from worker.audit.triggers.search import Thoroughness
from worker.engine.model.classifier import open_classifier
from worker.engine.triggers.find import Effort
from worker.job.member_results import NO_MAP, ProbePrediction

QUICK = Thoroughness(("mask",), Effort(60, 4), Effort(60, 6))
GATE = Gate(tolerance=1.6)
COUNT = 48


@contextmanager
def open_sides(*networks: nn.Module) -> Iterator[list[Side]]:
    """Sides of an audit with these networks, without class models."""
    with ExitStack() as stack:
        sides = []
        for number, network in enumerate(networks):
            classifier = stack.enter_context(
                open_classifier(network, mean=[0.5] * 3, std=[0.25] * 3, size=(SIDE, SIDE), device=torch.device("cpu"))
            )
            names = [f"class {each}" for each in range(CLASSES)]
            release = Release(
                name="small", release=str(number), architecture="factory:small", classes=names,
                preprocessing=Preprocessing(size=(SIDE, SIDE)),
            )  # fmt: skip
            looks = {
                str(row): ProbePrediction(str(row), label, {"rank": 1}, NO_MAP, NO_MAP)
                for row, label in enumerate(make_labeled(COUNT).labels.tolist())
            }
            sides.append(Side(release, classifier, {}, looks))
        yield sides


def make_images(count: int = COUNT) -> dict[str, np.ndarray]:
    """Images of the probes (H, W, 3), by id."""
    pixels = make_labeled(COUNT).images[:count].permute(0, 2, 3, 1).numpy()
    return {str(row): np.round(each * 255).astype(np.uint8) for row, each in enumerate(pixels)}
