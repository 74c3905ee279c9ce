"""The 68 landmarks by region, and the corrections that can be added to a face by hand.

Track files, the Analyse node's knobs and face geometry all read these declarations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

LANDMARK_COUNT = 68
# Region -> (first landmark, last landmark + 1), in the order of iBUG 300-W. The person's right is the picture's left.
LANDMARK_REGIONS: Mapping[str, tuple[int, int]] = {
    "jaw": (0, 17),
    "brow_r": (17, 22),
    "brow_l": (22, 27),
    "nose": (27, 36),
    "eye_r": (36, 42),
    "eye_l": (42, 48),
    "mouth_outer": (48, 60),
    "mouth_inner": (60, 68),
}
# The same as slices of an array of 68 points.
JAW, BROW_R, BROW_L, NOSE, EYE_R, EYE_L, MOUTH_OUTER, MOUTH_INNER = (slice(*ends) for ends in LANDMARK_REGIONS.values())
BROWS = slice(BROW_R.start, BROW_L.stop)
EYES = slice(EYE_R.start, EYE_L.stop)
MOUTH = slice(MOUTH_OUTER.start, MOUTH_INNER.stop)
# Single points, the person's right first.
OUTER_EYE_CORNERS = (36, 45)
INNER_EYE_CORNERS = (39, 42)
MOUTH_CORNERS = (48, 54)
CHIN = 8
# Landmarks on visible corners, which a point tracker can follow.
TRACKABLE_LANDMARKS: Mapping[str, int] = {
    "eye_outer_r": 36,
    "eye_inner_r": 39,
    "eye_inner_l": 42,
    "eye_outer_l": 45,
    "nose_bridge": 27,
    "nose_tip": 30,
    "nose_base": 33,
    "mouth_r": 48,
    "mouth_l": 54,
    "chin": 8,
}
# Outline of the face: along the jaw, then back along the brows.
FACE_OUTLINE = (*range(17), 26, 25, 24, 23, 22, 21, 20, 19, 18, 17)


@dataclass(frozen=True)
class FaceOffset:
    """A correction that can be added to a face.

    Attributes:
        name: Name in track files and of the knob.
        kind: "move" (x and y in plate pixels), "scale" (a factor) or "turn" (degrees).
        label: Name for people.
        help: Tooltip.
        landmarks: Landmarks that a move shifts: (first, last + 1).
        moves_box: Whether a move shifts the face's box too.
        slider_limit: End of the slider; the other end is its negative, or 0 for a scale.
    """

    name: str
    kind: str
    label: str
    help: str
    landmarks: tuple[int, int] = (0, 0)
    moves_box: bool = False
    slider_limit: float = 0.0

    @property
    def neutral_value(self) -> tuple[float, ...]:
        """The value that changes nothing: zeros, or 1 for a scale."""
        return {"move": (0.0, 0.0), "scale": (1.0,), "turn": (0.0,)}[self.kind]


def _make_move_offset(name: str, label: str, region: tuple[int, int], help: str = "", box: bool = False) -> FaceOffset:
    return FaceOffset(
        name, "move", label, help or f"Moves the landmarks of this region by so many pixels: {label}.", region, box
    )


FACE_OFFSETS: Mapping[str, FaceOffset] = {
    offset.name: offset
    for offset in (
        _make_move_offset(
            "face", "face", (0, LANDMARK_COUNT), "Moves every landmark and the face's box by so many pixels.", True
        ),
        _make_move_offset("jaw", "jaw", LANDMARK_REGIONS["jaw"]),
        _make_move_offset("brow_r", "right brow", LANDMARK_REGIONS["brow_r"]),
        _make_move_offset("brow_l", "left brow", LANDMARK_REGIONS["brow_l"]),
        _make_move_offset("nose", "nose", LANDMARK_REGIONS["nose"]),
        _make_move_offset("eye_r", "right eye", LANDMARK_REGIONS["eye_r"]),
        _make_move_offset("eye_l", "left eye", LANDMARK_REGIONS["eye_l"]),
        _make_move_offset("mouth", "mouth", (LANDMARK_REGIONS["mouth_outer"][0], LANDMARK_REGIONS["mouth_inner"][1])),
        _make_move_offset(
            "box",
            "box",
            (0, 0),
            "Moves only the face's box by so many pixels. The rendered region follows it.",
            True,
        ),
        FaceOffset(
            "box_scale",
            "scale",
            "box scale",
            "Scales the face's box around its centre, and the rendered region with it. 1 changes nothing.",
            slider_limit=2.0,
        ),
        FaceOffset(
            "yaw",
            "turn",
            "yaw",
            "Added to the measured yaw, in degrees. It changes which source views are used.",
            slider_limit=45.0,
        ),
        FaceOffset(
            "pitch",
            "turn",
            "pitch",
            "Added to the measured pitch, in degrees. It changes which source views are used.",
            slider_limit=45.0,
        ),
        FaceOffset("roll", "turn", "roll", "Added to the measured roll, in degrees.", slider_limit=45.0),
    )
}


def find_face_offset(name: str) -> FaceOffset:
    """Finds the correction called `name`.

    Args:
        name: A name in FACE_OFFSETS, or the number of one landmark ("30").

    Raises:
        KeyError: There is no such correction.

    >>> find_face_offset("jaw").landmarks
    (0, 17)
    >>> find_face_offset("30").landmarks
    (30, 31)
    """
    if name in FACE_OFFSETS:
        return FACE_OFFSETS[name]
    if name.isdecimal() and int(name) < LANDMARK_COUNT:
        return _make_move_offset(name, f"landmark {name}", (int(name), int(name) + 1))
    raise KeyError(name)
