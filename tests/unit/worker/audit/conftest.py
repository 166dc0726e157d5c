"""A small network that was not trained, for the tests of reports."""

from collections.abc import Iterator

import pytest
import torch

from tests.support.audit_reports import SIZE
from tests.support.networks import Small, seeded
from worker.engine.model.classifier import Classifier, open_classifier


@pytest.fixture(scope="session")
def report_classifier() -> Iterator[Classifier]:
    options = {"mean": [0.5] * 3, "std": [0.25] * 3, "size": (SIZE, SIZE), "device": torch.device("cpu")}
    with open_classifier(seeded(Small), **options) as opened:
        yield opened
