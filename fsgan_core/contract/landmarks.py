"""The 68 landmarks by region, and what may be added to a face by hand: one declaration for track files and knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

LANDMARK_COUNT = 68
# iBUG's order: region -> its first landmark, and the one after its last. The person's right is the picture's left.
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
# Corners of eyes and mouth, nose, chin: landmarks that a tracker follows by itself.
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
# The face's outline: jaw, then the brows from left to right and back.
FACE_OUTLINE = (*range(17), 26, 25, 24, 23, 22, 21, 20, 19, 18, 17)


@dataclass(frozen=True)
class FaceOffset:
    """What is added to a face. kind: "move" (x and y in pixels of the plate), "scale" (a factor) or "turn" (degrees).
    landmarks: those that a move takes along, (first, after the last). box: whether the face's box goes along.
    high: end of a slider, the other end being its negative, or 0 for a factor."""

    name: str
    kind: str
    label: str
    help: str
    landmarks: tuple[int, int] = (0, 0)
    moves_box: bool = False
    slider_limit: float = 0.0

    @property
    def neutral_value(self) -> tuple[float, ...]:
        """The value that changes nothing."""
        return {"move": (0.0, 0.0), "scale": (1.0,), "turn": (0.0,)}[self.kind]


def _make_move_offset(name: str, label: str, region: tuple[int, int], help: str = "", box: bool = False) -> FaceOffset:
    return FaceOffset(
        name, "move", label, help or f"Added to the landmarks of this region, in pixels: {label}.", region, box
    )


FACE_OFFSETS: Mapping[str, FaceOffset] = {
    offset.name: offset
    for offset in (
        _make_move_offset(
            "face", "face", (0, LANDMARK_COUNT), "Added to every landmark and to the face's box, in pixels.", True
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
            "Added to the face's box alone, in pixels; the region that is rendered follows it.",
            True,
        ),
        FaceOffset(
            "box_scale",
            "scale",
            "box scale",
            "The face's box grows by this, around its middle; so does the region that is rendered.",
            slider_limit=2.0,
        ),
        FaceOffset(
            "yaw",
            "turn",
            "yaw",
            "Added to the head's yaw, in degrees; which views are taken follows it.",
            slider_limit=45.0,
        ),
        FaceOffset(
            "pitch",
            "turn",
            "pitch",
            "Added to the head's pitch, in degrees; which views are taken follows it.",
            slider_limit=45.0,
        ),
        FaceOffset("roll", "turn", "roll", "Added to the head's roll, in degrees.", slider_limit=45.0),
    )
}


def find_face_offset(name: str) -> FaceOffset:
    """By name; a number means that one landmark. Raises KeyError."""
    if name in FACE_OFFSETS:
        return FACE_OFFSETS[name]
    if name.isdecimal() and int(name) < LANDMARK_COUNT:
        return _make_move_offset(name, f"landmark {name}", (int(name), int(name) + 1))
    raise KeyError(name)
