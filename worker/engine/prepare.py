"""Folds batch norms into the convolutions before them: the same function with a third of the memory traffic less."""

from collections import Counter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> int:
    """Folds what can be folded, in place, in a network in eval mode; modules keep their names.

    A batch norm is folded where it alone reads what a convolution gives, and both are called once. Networks whose
    forward cannot be traced are left as they are.

    Returns:
        How many batch norms were folded.
    """
    try:
        graph = fx.symbolic_trace(network).graph
    except Exception:  # a forward pass is anybody's code, and tracing runs it on stand-ins
        return 0
    modules = dict(network.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folded = 0
    for node in graph.nodes:
        if node.op != "call_module" or type(modules[str(node.target)]) is not nn.BatchNorm2d:
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        convolution = modules[str(before.target)]
        if type(convolution) is nn.Conv2d and calls[before.target] == calls[node.target] == 1:
            _replace(network, str(before.target), fuse_conv_bn_eval(convolution, modules[str(node.target)]))
            _replace(network, str(node.target), nn.Identity())
            folded += 1
    return folded


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module.train(False))


def settle_vector_functions() -> None:
    """Calls MKL's vector functions once, from one thread.

    At the first call they choose their kernels. Seen in one process of forty: two threads that made it together chose
    differently, half of a tensor was rounded otherwise, and the same request gave other bytes.
    """
    one = torch.ones(1)
    for function in (torch.sqrt, torch.exp, torch.log, torch.sin, torch.cos, torch.tanh):
        function(one)


def prepare(network: nn.Module, device: torch.device) -> nn.Module:
    """A network ready to be looked into for long: on the device, in eval mode, folded, channels last."""
    settle_vector_functions()
    network.to(device=device).eval()
    fold_batch_norms(network)
    # Convolutions run about half again as fast in this layout, on a CPU and on a GPU.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
