from .data.dataset import FaceDataset as FaceDataset
from .data.dataset import load_dataset as load_dataset
from .data.face_crops import FaceLayout as FaceLayout
from .data.face_crops import FaceSet as FaceSet
from .data.face_crops import collect_faces as collect_faces
from .finetune import finetune_network as finetune_network
from .finetune import finetune_shot as finetune_shot
from .finetune_result import FinetuneResult as FinetuneResult
from .plan import TrainingPlan as TrainingPlan
from .plan import load_plan as load_plan
from .prepare import FootageClip as FootageClip
from .prepare import PrepareResult as PrepareResult
from .prepare import find_footage as find_footage
from .prepare import prepare_faces as prepare_faces
from .prepare import read_people as read_people
from .recipe import Recipe as Recipe
from .train import TrainingResult as TrainingResult
from .train import train_network as train_network

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
