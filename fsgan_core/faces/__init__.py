"""Who is where, in which pose: detection, landmarks, Euler angles, tracks, the appearance map.

    from fsgan_core.faces.analyse import analyse

    track = analyse(open_clip(Clip("plates/target.####.exr")), open_config())
    save_track("target.track.json", track)
    person = track.choose(AnalyseParams())
    person.faces[1001].landmarks        # (68, 2), plate coordinates

Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import fsgan_core.plates  # noqa: F401 - before OpenCV is loaded, see there

_MODULE_BY_NAME = {
    "compute_reference_descriptor": "analyse",
    "Face": "track",
    "Person": "track",
    "Track": "track",
    "rebuild_faces": "track",
    "load_track": "track_file",
    "save_track": "track_file",
    "Detection": "detect",
    "make_detector": "detect",
    "make_landmarker": "landmarks",
    "measure_mouth_opening": "landmarks",
    "measure_eye_opening": "landmarks",
    "compute_descriptor": "identity",
    "measure_euler_angles": "pose",
    "fit_head_pose": "pose",
    "compute_face_box": "pose",
    "AppearanceMap": "appearance",
}
__all__ = sorted(_MODULE_BY_NAME)


def __getattr__(name: str) -> Any:
    if name in _MODULE_BY_NAME:
        return getattr(import_module(f"{__name__}.{_MODULE_BY_NAME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
