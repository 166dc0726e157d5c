"""Folds batch norms into the convolutions before them, where nothing else reads what is folded."""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_always_called",
)


@dataclass(frozen=True)
class Folded:
    """A network with folded batch norms; it shares all other weights with the original.

    Attributes:
        network: The network. Its modules have the names of the original.
        layers: Names of the layers whose outputs may not be those of the original: the convolutions and batch norms
            that were folded, and the modules that end in such a convolution.
    """

    network: nn.Module
    layers: frozenset[str]


def fold_batch_norms(network: nn.Module) -> Folded | None:
    """Folds batch norms in a copy of a network.

    A batch norm is folded if it is the only reader of a convolution's output, both are called once and belong to one
    parent each, and nothing else reads their weights: no hook, parametrization, pruning, spectral or weight norm, no
    access in the forward pass, and no shared parameter.

    Args:
        network: A network in eval mode; it stays unchanged.

    Returns:
        The copy; None if nothing can be folded, or the forward pass cannot be traced.
    """
    try:
        pairs = find_pairs(_copy_modules(network))  # a forward pass may store what it computes, which is traced here
        if not pairs:
            return None
        folded = _copy_modules(network)
    except Exception:  # the forward pass is arbitrary code, and may raise anything when it runs on proxies or is copied
        return None
    for convolution, norm in pairs:
        parts: tuple[Any, Any] = (folded.get_submodule(convolution), folded.get_submodule(norm))
        fused: nn.Module = fuse_conv_bn_eval(*parts)
        _replace(folded, convolution, fused)
        _replace(folded, norm, nn.Identity())
    return Folded(folded, frozenset(name for pair in pairs for name in (*pair, *_list_parents(*pair))))


def _list_parents(convolution: str, norm: str) -> list[str]:
    """Names the modules that contain a convolution but not its batch norm: their output may be the convolution's."""
    parts = convolution.split(".")
    parents = [".".join(parts[:count]) for count in range(1, len(parts))]
    return [parent for parent in parents if not norm.startswith(f"{parent}.")]


class _Tracer(fx.Tracer):
    """Records that the forward pass reads a parameter or a buffer by its name."""

    proxy_buffer_attributes = True


def find_pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Finds the convolutions and batch norms, by name, that can be folded.

    Raises:
        Exception: The forward pass cannot be traced.
    """
    graph = _Tracer().trace(network)
    modules = dict(network.named_modules())
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    names = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    owners = Counter(id(parameter) for module in modules.values() for parameter in module.parameters(recurse=False))
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or type(modules[node.target]) is not nn.BatchNorm2d or len(node.args) != 1:
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        pair = (str(before.target), str(node.target))
        convolution, norm = modules[pair[0]], modules[pair[1]]
        if type(convolution) is not nn.Conv2d or norm.running_mean is None or norm.training:
            continue
        alone = all(calls[name] == 1 and name not in read for name in pair)
        if alone and all(_is_plain(module, names, owners) for module in (convolution, norm)):
            pairs.append(pair)
    return pairs


def _is_plain(module: nn.Module, names: Counter[int], owners: Counter[int]) -> bool:
    """Whether a module has one name, its own parameters and no others, and no hook."""
    parameters = dict(module.named_parameters(recurse=False))
    return (
        names[id(module)] == 1
        and set(parameters) <= {"weight", "bias"}
        and all(owners[id(parameter)] == 1 for parameter in parameters.values())
        and not list(module.children())
        and not any(getattr(module, hooks, None) for hooks in HOOKS)
        and "forward" not in vars(module)
    )


def _copy_modules(network: nn.Module) -> nn.Module:
    """Copies the modules of a network, but neither its parameters nor its buffers."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, memo)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module.train(False).requires_grad_(False))
