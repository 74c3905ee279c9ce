"""Manual changes of one face: landmarks put in place, a hidden or ignored face, an offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fsgan_core.contract.landmarks import FACE_OFFSETS, find_face_offset
from fsgan_core.faces.face import Face, convert_to_tuple, round_face
from fsgan_core.faces.pose import compute_face_box, measure_euler_angles

_WHOLE_FACE_LANDMARKS = 34  # placed landmarks above which the box is measured anew: the whole face was moved
_SCALE_LIMITS = (0.05, 20.0)  # of an offset that scales the box


@dataclass(frozen=True)
class FaceOverride:
    """What a person changed on one face.

    Attributes:
        landmarks: Landmarks put exactly there, by index, in plate coordinates.
        hidden: The frame has no face.
        ignored: The measurement of this frame is wrong; bridge it.
        offset: Added last, by the names of `contract.landmarks.FACE_OFFSETS`.
    """

    landmarks: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    hidden: bool = False
    ignored: bool = False
    offset: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def apply_override(face: Face, override: FaceOverride, pixel_aspect: float) -> Face:
    """Moves the landmarks of a face to where a person put them; angles, mesh and box follow."""
    landmarks = face.landmarks.copy()
    for index, point in override.landmarks.items():
        landmarks[index] = point
    # The face's own angles, plus the turn that the edit makes.
    angles = _add_angles(
        face.euler,
        measure_euler_angles(landmarks, pixel_aspect),
        measure_euler_angles(face.landmarks, pixel_aspect),
    )
    edited = replace(face.with_landmarks(landmarks), euler=angles, origin="edited")
    if len(override.landmarks) > _WHOLE_FACE_LANDMARKS:
        edited = replace(edited, box=compute_face_box(landmarks, pixel_aspect))
    return round_face(edited)


def check_offset(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Converts the numbers of an offset.

    Raises:
        ValueError: There is no such offset, or it does not take these numbers.
    """
    try:
        declared = find_face_offset(name)
    except KeyError:
        raise ValueError(
            f"there is no offset '{name}'; use a landmark's number or one of {', '.join(FACE_OFFSETS)}"
        ) from None
    numbers = tuple(float(value) for value in values)
    if len(numbers) != len(declared.neutral_value) or not np.isfinite(numbers).all():
        raise ValueError(f"the offset '{name}' takes {len(declared.neutral_value)} numbers, not {list(values)}")
    low, high = _SCALE_LIMITS
    if declared.kind == "scale" and not low <= numbers[0] <= high:
        raise ValueError(f"the offset '{name}' = {numbers[0]:g} is out of range; use {low:g} to {high:g}")
    return numbers


def apply_offset(face: Face, offset: Mapping[str, tuple[float, ...]], pixel_aspect: float) -> Face:
    """Adds a person's offset to a face.

    An empty offset leaves the face as it is, and a small one changes it a little: the angles are the face's own, plus
    the turn that the moved landmarks make.
    """
    landmarks, box = face.landmarks.copy(), np.array(face.box, np.float64)
    turn = [0.0, 0.0, 0.0]
    for name, values in offset.items():
        declared = find_face_offset(name)
        if declared.kind == "move":
            landmarks[slice(*declared.landmarks)] += values
            box[:2] += np.array(values) * declared.moves_box
        elif declared.kind == "scale":
            box = np.r_[box[:2] - (values[0] - 1) / 2 * box[2:], values[0] * box[2:]]
        else:
            turn[("yaw", "pitch", "roll").index(name)] += values[0]
    angles = _add_angles(
        face.euler, measure_euler_angles(landmarks, pixel_aspect), measure_euler_angles(face.landmarks, pixel_aspect)
    )
    return round_face(
        replace(
            face.with_landmarks(landmarks),
            box=convert_to_tuple(box),
            euler=_add_angles(angles, turn, (0.0, 0.0, 0.0)),
            origin="edited",
        )
    )


def _add_angles(
    angles: tuple[float, float, float], plus: Sequence[float], minus: Sequence[float]
) -> tuple[float, float, float]:
    """Computes angles + plus - minus, in degrees, each within -180 to 180."""
    total = np.array(angles) + plus - np.array(minus)
    result: tuple[float, float, float] = convert_to_tuple((total + 180.0) % 360.0 - 180.0)
    return result
