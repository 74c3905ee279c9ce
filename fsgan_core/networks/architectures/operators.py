"""Operators that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["resize_bilinear"]


def resize_bilinear(x: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """Resizes (n, c, h, w) bilinearly to height x width pixels.

    Calls the operator directly: in a TorchScript file, torch.nn.functional.interpolate adds newer operators, which an
    older torch such as Nuke's cannot load.
    """
    result: Tensor = torch.ops.aten.upsample_bilinear2d(x, [height, width], align_corners)
    return result
