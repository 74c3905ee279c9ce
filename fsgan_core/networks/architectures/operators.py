"""Steps that several networks take."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["resize_bilinear"]


def resize_bilinear(x: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """Bilinear. The operator itself, because torch.nn.functional.interpolate, once it is in a TorchScript file, brings
    along operators of its own version that an older torch, such as Nuke's, refuses to load."""
    return torch.ops.aten.upsample_bilinear2d(x, [height, width], align_corners)
