from .analyse import compute_reference_descriptor as compute_reference_descriptor
from .appearance import AppearanceMap as AppearanceMap
from .detectors.choose_detector import make_detector as make_detector
from .detectors.detector_interface import Detection as Detection
from .face import Face as Face
from .identity import compute_descriptor as compute_descriptor
from .landmarkers.landmarks import (
    make_landmarker as make_landmarker,
)
from .landmarkers.landmarks import (
    measure_eye_opening as measure_eye_opening,
)
from .landmarkers.landmarks import (
    measure_mouth_opening as measure_mouth_opening,
)
from .pose import (
    compute_face_box as compute_face_box,
)
from .pose import (
    fit_head_pose as fit_head_pose,
)
from .pose import (
    measure_euler_angles as measure_euler_angles,
)
from .track import Person as Person
from .track import Track as Track
from .track import rebuild_faces as rebuild_faces
from .track_file import load_track as load_track
from .track_file import save_track as save_track

__all__ = [
    "AppearanceMap",
    "Detection",
    "Face",
    "Person",
    "Track",
    "compute_descriptor",
    "compute_face_box",
    "compute_reference_descriptor",
    "fit_head_pose",
    "load_track",
    "make_detector",
    "make_landmarker",
    "measure_euler_angles",
    "measure_eye_opening",
    "measure_mouth_opening",
    "rebuild_faces",
    "save_track",
]
