"""Prepares a network for inference: folds batch norm into the convolution before it, and computes tanh in float32.

It works on the modules of any network that torch.fx can trace, whatever the architecture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_batch_norm"]

_trace_lock = threading.Lock()


def fold_batch_norm(network: nn.Module) -> fx.GraphModule:
    """Makes an equal network with fewer steps, in evaluation mode and without gradients.

    Args:
        network: The network; do not use it afterwards, because its modules are changed in place.

    Raises:
        Exception: torch.fx cannot trace it (TraceError and others), for example because its steps depend on values.
    """
    traced = _trace(network.eval())
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


def _trace(network: nn.Module) -> fx.GraphModule:
    with _trace_lock:
        tracer = _ThreadTracer()
        graph = tracer.trace(network)
        return fx.GraphModule(tracer.root, graph, type(network).__name__)


class _ThreadTracer(fx.Tracer):
    """Traces what its own thread calls.

    While torch.fx traces, it replaces `nn.Module.__call__` for the whole process. Networks that other threads run
    meanwhile must run as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Records a call, or makes it if it is another thread's."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Records what is read from a module, or gives it if another thread reads it."""
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class _Float32Tanh(nn.Module):
    """Computes tanh in float32: near 1, bfloat16 is as coarse as an 8-bit picture."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.float())
