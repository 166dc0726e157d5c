"""Folds batch norms into the convolutions before them, where nothing else reads what is folded."""

import copy
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-3
"""Largest difference between what is folded and the original modules, relative to the largest value."""

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
        layers: Names of the layers whose outputs are not those of the original: the convolutions that were folded, and
            the modules that end in one of them.
    """

    network: nn.Module
    layers: frozenset[str]


def fold_batch_norms(network: nn.Module) -> Folded | None:
    """Folds batch norms in a copy of a network.

    A batch norm is folded if it is the only reader of a convolution's output, both are called once and belong to one
    parent each, and nothing else reads their weights: no hook, parametrization, pruning, spectral or weight norm, no
    access in the forward pass, and no shared parameter. Subclasses are folded too, if they compute the same on random
    values: convolutions with another padding, and batch norms that end in an activation, as timm has them.

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
        _replace(folded, norm, _without_norm(parts[1]))
    return Folded(folded, frozenset(name for pair in pairs for name in (pair[0], *_list_parents(*pair))))


def _list_parents(convolution: str, norm: str) -> list[str]:
    """Names the modules that contain a convolution but not its batch norm: their output may be the convolution's."""
    parts = convolution.split(".")
    parents = [".".join(parts[:count]) for count in range(1, len(parts))]
    return [parent for parent in parents if not norm.startswith(f"{parent}.")]


class _Tracer(fx.Tracer):
    """Records reads of parameters and buffers by name; a convolution or batch norm of any class is one call."""

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the calls inside a module are not recorded; a module without children reads no other module."""
        has_children = next(m.children(), None) is not None
        return isinstance(m, nn.BatchNorm2d) or not has_children or super().is_leaf_module(m, module_qualified_name)


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
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d) or len(node.args) != 1:
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        pair = (str(before.target), str(node.target))
        convolution, norm = modules[pair[0]], modules[pair[1]]
        if not isinstance(convolution, nn.Conv2d) or norm.running_mean is None or norm.training:
            continue
        alone = all(calls[name] == 1 and name not in read for name in pair)
        own = alone and all(_is_own(module, names, owners) for module in (convolution, norm))
        if own and _is_linear(convolution, norm) and _is_norm_then_children(norm):
            pairs.append(pair)
    return pairs


def _without_norm(norm: nn.Module) -> nn.Module:
    """What is left of a batch norm: the modules that it calls after the normalization, in their order."""
    children = OrderedDict(norm.named_children())
    return nn.Sequential(children) if children else nn.Identity()


@torch.no_grad()
def _is_linear(convolution: Any, norm: Any) -> bool:
    """Whether a convolution is linear in its weight: its class may compute with another weight."""
    if type(convolution) is nn.Conv2d:
        return True
    sides = zip(convolution.kernel_size, convolution.dilation, strict=True)
    inputs = _draw((2, convolution.in_channels, *(2 * kernel * dilation + 1 for kernel, dilation in sides)), norm)
    return _agree(fuse_conv_bn_eval(convolution, norm)(inputs), _normalize(norm, convolution(inputs)))


@torch.no_grad()
def _is_norm_then_children(norm: Any) -> bool:
    """Whether a batch norm normalizes and then calls its children: its class may do something else."""
    if type(norm) is nn.BatchNorm2d:
        return True
    mean, std = norm.running_mean[:, None, None], (norm.running_var + norm.eps).sqrt()[:, None, None]
    inputs = mean + 3 * std * _draw((2, norm.num_features, 8, 8), norm)
    return _agree(_without_norm(norm)(_normalize(norm, inputs)), norm(inputs))


def _normalize(norm: Any, inputs: Tensor) -> Tensor:
    """Normalizes inputs (N, C, h, w) with the statistics and parameters of a batch norm."""
    return functional.batch_norm(
        inputs, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )


def _draw(shape: tuple[int, ...], norm: Any) -> Tensor:
    """Draws normal noise (N, C, h, w) on the device of a batch norm."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(norm.running_mean)


def _agree(values: Tensor, expected: Tensor) -> bool:
    return values.shape == expected.shape and bool((values - expected).abs().max() <= TOLERANCE * expected.abs().max())


def _is_own(module: nn.Module, names: Counter[int], owners: Counter[int]) -> bool:
    """Whether a module has one name, its own parameters and no others, and no hook."""
    parameters = dict(module.named_parameters(recurse=False))
    return (
        names[id(module)] == 1
        and set(parameters) <= {"weight", "bias"}
        and (isinstance(module, nn.BatchNorm2d) or not list(module.children()))
        and all(owners[id(parameter)] == 1 for parameter in parameters.values())
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
