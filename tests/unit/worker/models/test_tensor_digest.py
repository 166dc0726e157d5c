"""The digest of a network's weights depends on their names, types, shapes and values, and on nothing else."""

import pytest
import torch
from torch import nn

from tests.support.networks import Small, seeded
from worker.engine.model.prepare import set_layout
from worker.models.tensor_digest import digest_tensors


def test_equal_weights_have_the_same_digest_in_any_memory_layout() -> None:
    first, second = seeded(Small), seeded(Small)
    set_layout(second, torch.channels_last)
    second.features[1].num_batches_tracked += 7  # counts training batches, which evaluation does not read
    assert digest_tensors(first) == digest_tensors(second) != None  # noqa: E711


@pytest.mark.parametrize("name", ["classifier.weight", "features.1.running_mean"])
def test_one_other_value_changes_the_digest(name: str) -> None:
    first, second = seeded(Small), seeded(Small)
    second.state_dict()[name].flatten()[0] += 1e-6
    assert digest_tensors(first) != digest_tensors(second)


def test_names_types_and_shapes_count() -> None:
    values = torch.zeros(4)
    networks = [
        nn.ParameterDict({"a": values}),
        nn.ParameterDict({"b": values}),
        nn.ParameterDict({"a": values.view(2, 2)}),
    ]
    networks.append(nn.ParameterDict({"a": values.double()}))
    assert len({digest_tensors(network) for network in networks}) == len(networks)


def test_a_state_that_is_no_plain_tensor_has_no_digest() -> None:
    class WithState(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"version": 1}

        def set_extra_state(self, state: dict[str, int]) -> None:
            del state

    assert digest_tensors(WithState()) is None
    assert digest_tensors(nn.Linear(2, 2, device="meta")) is None


def test_a_network_without_tensors_has_no_digest() -> None:
    """Two black boxes have equal states, which are empty, and are not the same network."""
    assert digest_tensors(nn.Identity()) is None
