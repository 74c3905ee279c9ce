"""Prepares a network for inference: folds batch norm into the convolution before it, and computes tanh in float32.

It works on the modules of any network that torch.fx can trace, whatever the architecture.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_batch_norm"]


def fold_batch_norm(network: nn.Module) -> fx.GraphModule:
    """Makes an equal network with fewer steps, in evaluation mode and without gradients.

    Args:
        network: The network; do not use it afterwards, because its modules are changed in place.

    Raises:
        Exception: torch.fx cannot trace it (TraceError and others), for example because its steps depend on values.
    """
    traced = fx.symbolic_trace(network.eval())
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        module = modules.get(node.target) if node.op == "call_module" else None
        if isinstance(module, nn.BatchNorm2d):
            before = node.args[0]
            convolution = modules.get(before.target) if before.op == "call_module" else None
            if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
                fused = fuse_conv_bn_eval(convolution, module)
                modules[before.target] = fused
                traced.set_submodule(before.target, fused)
                node.replace_all_uses_with(before)
                traced.graph.erase_node(node)
        elif isinstance(module, nn.Tanh):
            traced.set_submodule(node.target, _Float32Tanh())
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.requires_grad_(False)


class _Float32Tanh(nn.Module):
    """Computes tanh in float32: near 1, bfloat16 is as coarse as an 8-bit picture."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.float())
