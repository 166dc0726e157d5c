"""Explanations of failures: each family of errors becomes the right problem."""

import pytest
import torch
from torch import nn

from shared.errors import DeadTarget, Internal, InvalidRequest, NetworkFailed, OutOfMemory
from worker.engine.model.classifier import open_classifier
from worker.engine.model.network_call import NetworkError
from worker.execution.failure import explain_failure
from worker.inputs.preprocess import to_tensor


class FailingNetwork(nn.Module):
    """A network of a user that fails in its forward pass."""

    def forward(self, _images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this network does not like this image")


class CallingNetwork(nn.Module):
    """A network whose forward pass reaches failing code of the service, as a hook of the engine does."""

    def forward(self, _images: torch.Tensor) -> torch.Tensor:
        return to_tensor("not an image")


def catch(network: nn.Module) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        network(torch.zeros(1, 3, 4, 4))
    return caught.value


def test_a_problem_is_its_own_explanation() -> None:
    problem = DeadTarget("no gradient")
    assert explain_failure(problem) is problem


def test_a_gpu_without_memory_is_explained_with_a_remedy() -> None:
    problem = explain_failure(torch.OutOfMemoryError("CUDA out of memory"))
    assert isinstance(problem, OutOfMemory)
    assert "smaller canvas" in problem.detail


def test_a_value_error_of_the_engine_is_a_fault_of_the_parameters() -> None:
    problem = explain_failure(ValueError("there is no layer 'x'"))
    assert isinstance(problem, InvalidRequest)
    assert problem.detail == "there is no layer 'x'; change the request's params"


def test_an_error_of_a_users_network_is_not_called_a_fault_of_the_service() -> None:
    problem = explain_failure(catch(nn.Sequential(nn.Conv2d(3, 3, 1), FailingNetwork())))
    assert "RuntimeError: this network does not like this image" in problem.detail
    assert "the network raised this error in its forward pass" in problem.detail
    assert "fault of the service" not in problem.detail


def test_an_error_of_the_service_inside_a_forward_pass_is_a_fault_of_the_service() -> None:
    problem = explain_failure(catch(nn.Sequential(CallingNetwork())))
    assert isinstance(problem, Internal)
    assert "this is a fault of the service" in problem.detail


def test_an_error_of_the_network_is_never_called_one_of_the_service() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) if len(x) == 2 and x.max() <= 1 else x.no_such_method()

    options = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": (8, 8), "device": torch.device("cpu")}
    with open_classifier(Broken(), **options) as classifier, pytest.raises(NetworkError) as caught:
        classifier.scores(torch.full((2, 3, 8, 8), 2.0))
    problem = explain_failure(caught.value)
    assert isinstance(problem, NetworkFailed)
    assert "no_such_method" in problem.detail
    assert "fault of the service" not in problem.detail
