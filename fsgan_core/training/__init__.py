"""Train the networks: prepare faces, train on many people, fine-tune on one source.

`prepare_faces`, `train_network` and `finetune_network` are the whole of it for a pipeline script; the command line
calls the same three functions. The package stands beside `render`: it opens clips and reads tracks, but renders
nothing. torch is imported when a name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import fsgan_core.plates  # noqa: F401 - must be imported before OpenCV, see there

if TYPE_CHECKING:
    from fsgan_core.training.data.dataset import FaceDataset, load_dataset
    from fsgan_core.training.data.face_crops import FaceLayout, FaceSet, collect_faces
    from fsgan_core.training.finetune import FinetuneResult, finetune_network, finetune_shot
    from fsgan_core.training.plan import TrainingPlan, load_plan
    from fsgan_core.training.prepare import FootageClip, PrepareResult, find_footage, prepare_faces, read_people
    from fsgan_core.training.recipe import Recipe
    from fsgan_core.training.train import TrainingResult, train_network

_MODULE_BY_NAME = {
    "FaceDataset": "data.dataset",
    "FaceLayout": "data.face_crops",
    "FaceSet": "data.face_crops",
    "FinetuneResult": "finetune",
    "FootageClip": "prepare",
    "PrepareResult": "prepare",
    "Recipe": "recipe",
    "TrainingPlan": "plan",
    "TrainingResult": "train",
    "collect_faces": "data.face_crops",
    "find_footage": "prepare",
    "finetune_network": "finetune",
    "finetune_shot": "finetune",
    "load_dataset": "data.dataset",
    "load_plan": "plan",
    "prepare_faces": "prepare",
    "read_people": "prepare",
    "train_network": "train",
}

__all__ = [
    "FaceDataset",
    "FaceLayout",
    "FaceSet",
    "FinetuneResult",
    "FootageClip",
    "PrepareResult",
    "Recipe",
    "TrainingPlan",
    "TrainingResult",
    "collect_faces",
    "find_footage",
    "finetune_network",
    "finetune_shot",
    "load_dataset",
    "load_plan",
    "prepare_faces",
    "read_people",
    "train_network",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'fsgan_core.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"fsgan_core.training.{_MODULE_BY_NAME[name]}"), name)
