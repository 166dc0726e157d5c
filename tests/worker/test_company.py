"""A target's result does not depend on its company, on a real network with the default recipe."""

from pathlib import Path

import torch

from shared.catalogue import load_catalogue
from shared.parameters.class_model import ClassModelParameters
from tests.conftest import write_catalogue
from worker.engine.ascent import End
from worker.engine.classifier import open_classifier
from worker.engine.octaves import ascend_octaves
from worker.engine.prepare import prepare
from worker.networks import Loader
from worker.recipe import plan_ascents, plan_slots

STEPS = 16
CPU = torch.device("cpu")


def test_alone_and_among_thirty_two_a_target_scores_the_same(models: Path, tmp_path: Path) -> None:
    release = load_catalogue(write_catalogue(tmp_path)).find("squeezenet")
    shape = release.preprocessing
    network = prepare(Loader().load(release, CPU).network, CPU)
    params = ClassModelParameters(steps=STEPS)
    with open_classifier(network, mean=shape.mean, std=shape.std, size=shape.size, device=CPU) as classifier:
        ascents = plan_ascents(classifier, params, picture=None, magnitudes=None)

        def climb(targets: list[int]) -> End:
            *_, last = ascend_octaves(classifier, ascents, plan_slots(params, targets))
            return last.ended[0]

        alone, crowded = climb([951]), climb([951, *range(31)])
        scores = [
            float(classifier.look(classifier.normalise(end.picture[None])).scores[0, 951]) for end in (alone, crowded)
        ]
    assert abs(scores[0] - scores[1]) < 0.02 * abs(scores[0])
    # On a CPU to the last bit: any rounding that company changed, Adam would have made visible by now.
    torch.testing.assert_close(alone.picture, crowded.picture, atol=1e-3, rtol=0)
