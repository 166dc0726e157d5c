"""Diversity of class models over seeds."""

import pytest
import torch

from tests.support.networks import Small, seeded
from tests.support.run_method import work
from worker.optimization.diversity import spread


def test_equal_features_have_no_spread_and_orthogonal_ones_the_spread_one() -> None:
    assert spread(torch.ones(3, 5)) == pytest.approx(0, abs=1e-12)
    assert spread(torch.eye(4)) == pytest.approx(1)
    assert spread(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(2)


def test_spread_is_one_minus_the_mean_similarity_of_pairs() -> None:
    features = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    pairs = [torch.cosine_similarity(features[i], features[j], 0) for i in range(4) for j in range(i)]
    assert spread(features) == pytest.approx(1 - float(torch.stack(pairs).mean()), abs=1e-6)


def test_a_job_reports_diversity_and_convergence() -> None:
    params = {"steps": 3, "seeds": [0, 1], "extras": False}
    result = work(seeded(Small), {"method": "class_model", "targets": [0, 1], "params": params})
    for target in result.metrics["targets"]:
        assert target["converged"] == (target["rank"] == 1)
        assert target["diversity"] is None or 0 <= target["diversity"] <= 2
    failed = [target["target"]["name"] for target in result.metrics["targets"] if not target["converged"]]
    assert bool(failed) == any("did not converge" in warning for warning in result.warnings)
    assert all(name in result.warnings[0] for name in failed)


def test_one_seed_has_no_diversity() -> None:
    result = work(seeded(Small), {"method": "class_model", "targets": [0], "params": {"steps": 2, "extras": False}})
    assert "diversity" not in result.metrics["targets"][0]
