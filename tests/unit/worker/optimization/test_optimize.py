"""The ascent loop."""

from pathlib import Path

import pytest

from tests.support.networks import Small, seeded
from tests.support.paths import ROOT
from tests.support.run_method import interrupt, work

BODY = {"method": "class_model", "targets": [1, 2]}


@pytest.mark.parametrize("params", [{"octaves": 2}, {"keep": "best", "check_every": 3}, {"stills_every": 2}], ids=str)
@pytest.mark.parametrize("after", [0, 4])
def test_resumed_class_models_have_every_bit_of_uninterrupted_ones(params: dict[str, object], after: int) -> None:
    body = BODY | {"params": {"steps": 6, "frames": 2, **params}}
    checkpoint = interrupt(seeded(Small), body, after=after)
    whole, resumed = work(seeded(Small), body), work(seeded(Small), body, checkpoint=checkpoint)
    assert resumed.metrics == whole.metrics
    assert resumed.files == whole.files


def test_the_worker_has_one_ascent_loop() -> None:
    modules = [path for path in (ROOT / "worker").rglob("*.py") if not path.is_relative_to(ROOT / "worker" / "engine")]
    for name in ("RunningBatch", "ascend_octaves", "ascend(", "engine.ascent.loop"):
        users = {path.relative_to(ROOT) for path in modules if name in path.read_text()}
        assert users <= {Path("worker/optimization/optimize.py")}, name
    callers = {path.name for path in modules if "run_ascents(" in path.read_text()}
    assert callers == {"optimize.py", "class_model.py", "pair_ascents.py"}
