"""The registry has every method of the contract."""

import pytest

from archetype.contract import request
from archetype.contract.problem import ProblemDocument
from shared.errors import StoredProblem
from worker.methods.registry import METHODS, fail_job, take_only_result

PROBLEM = ProblemDocument(type="/problems/internal", title="t", status=500, detail="d", errors=[])


def test_the_registry_has_the_methods_of_the_contract_and_audits() -> None:
    assert set(METHODS) == set(request.METHODS) | {"audit"}  # audits have a route of their own


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_registered_under_the_name_of_its_module(name: str) -> None:
    assert METHODS[name].run.__module__ == f"worker.methods.{name}"


def test_the_default_gather_returns_the_only_result_and_refuses_several() -> None:
    assert take_only_result(None, [{"a": 1}]) == {"a": 1}
    with pytest.raises(ValueError, match="too many values"):
        take_only_result(None, [{}, {}])


def test_a_failed_shard_fails_the_job_of_a_method_without_partial_results() -> None:
    with pytest.raises(StoredProblem) as caught:
        fail_job(None, PROBLEM)
    assert caught.value.document == PROBLEM
