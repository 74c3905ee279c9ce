"""Teaching networks: faces of a clip as training data, losses, loops that resume, fine-tuning on a source.

It stands beside `render`: it is given opened pictures and tracks, and knows nothing of shots. The work is done by
`training.finetune.finetune`. torch is imported with the modules that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import fsgan_core.plates  # noqa: F401 - before OpenCV is loaded, see there

if TYPE_CHECKING:
    from fsgan_core.training.face_crops import FaceSet, Layout, collect
    from fsgan_core.training.finetune import Outcome
    from fsgan_core.training.recipe import Recipe

_HOMES = {"FaceSet": "face_crops", "Layout": "face_crops", "collect": "face_crops", "Outcome": "finetune", "Recipe": "recipe"}

__all__ = ["FaceSet", "Layout", "Outcome", "Recipe", "collect"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fsgan_core.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"fsgan_core.training.{_HOMES[name]}"), name)
