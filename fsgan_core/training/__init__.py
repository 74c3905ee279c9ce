"""Teaching networks: faces of a clip as training data, losses, loops that resume, fine-tuning on a source.

It stands beside `render`: it is given opened pictures and tracks, and knows nothing of shots. The work is done by
`training.finetune.finetune`. torch is imported with the modules that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import fsgan_core.plates  # noqa: F401 - before OpenCV is loaded, see there

if TYPE_CHECKING:
    from fsgan_core.training.data.face_crops import FaceLayout, FaceSet, collect_faces
    from fsgan_core.training.finetune_loop import FinetunedGenerator
    from fsgan_core.training.recipe import Recipe

_MODULE_BY_NAME = {
    "FaceSet": "data.face_crops",
    "FaceLayout": "data.face_crops",
    "collect_faces": "data.face_crops",
    "FinetunedGenerator": "finetune_loop",
    "Recipe": "recipe",
}

__all__ = ["FaceLayout", "FaceSet", "FinetunedGenerator", "Recipe", "collect_faces"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'fsgan_core.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"fsgan_core.training.{_MODULE_BY_NAME[name]}"), name)
