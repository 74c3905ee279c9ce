"""Draw objects in front of faces, with an exact matte: hands, bars, glasses, ellipses.

An object is drawn on a crop as anti-aliased polygons. Its colour is random (for a hand, the skin colour of this or
another face) with soft shading.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fsgan_core.contract.landmarks import EYE_L, EYE_R
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Matte, Points, Points68, Vector
from fsgan_core.stages.image_ops import draw_polygon

__all__ = ["OCCLUDER_SHAPES", "cover_face", "draw_occluder"]

_SKIN_COLOUR = np.array([0.72, 0.53, 0.44], np.float32)  # display-like; for hands of somebody else


def cover_face(picture: Image, landmarks: Points68, random: np.random.Generator, kind: str = "") -> tuple[Image, Matte]:
    """Draw an object in front of a face.

    Args:
        picture: Square crop with three channels, display-like, 0..1.
        landmarks: In pixels of the crop.
        random: Decides the object's shape, place and colour.
        kind: One of `OCCLUDER_SHAPES`; "" is a random one.

    Returns:
        The picture with the object, and the object's matte.
    """
    kind = kind or list(OCCLUDER_SHAPES)[int(random.integers(len(OCCLUDER_SHAPES)))]
    matte = draw_occluder(kind, landmarks, len(picture), random)
    colour = _pick_hand_colour(picture, landmarks, random) if kind == "hand" else random.uniform(0, 1, 3)
    if kind == "glasses":
        colour = colour * 0.4
    object_picture = _shade_colour(np.asarray(colour, np.float32), len(picture), random)
    return np.asarray(picture + matte[..., None] * (object_picture - picture), np.float32), matte


def draw_occluder(kind: str, landmarks: Points68, size: int, random: np.random.Generator) -> Matte:
    """Draw the matte of an object in front of a face.

    Args:
        kind: One of `OCCLUDER_SHAPES`.
        landmarks: Of the face, in pixels of the crop.
        size: Side of the crop in pixels.
        random: Decides the object's shape and place.
    """
    window = Window(0, 0, size, size)
    matte = np.zeros((size, size), np.float32)
    for shape in OCCLUDER_SHAPES[kind](landmarks, random):
        matte = np.maximum(matte, draw_polygon(shape, window))
    for hole in _build_lenses(landmarks, 1.0) if kind == "glasses" else ():
        matte = matte * (1 - draw_polygon(hole, window))
    return matte


def _build_hand(landmarks: Points68, random: np.random.Generator) -> list[Points]:
    """Build a palm beside the face and fingers over it."""
    width = float(np.ptp(landmarks[:, 0]))
    angle = random.uniform(0, 2 * np.pi)
    towards = -np.array([np.cos(angle), np.sin(angle)])
    tip = landmarks[int(random.integers(68))]
    palm = tip - towards * width * random.uniform(0.45, 0.8)
    rotation = np.degrees(np.arctan2(towards[1], towards[0]))
    shapes = [_build_ellipse(palm, (0.28 * width, 0.24 * width), rotation)]
    for finger in range(4):
        spread = np.radians(rotation + (finger - 1.5) * random.uniform(8, 20))
        along = np.array([np.cos(spread), np.sin(spread)])
        root = palm + 0.2 * width * np.array([-along[1], along[0]]) * (finger - 1.5) / 1.5
        shapes.append(_build_capsule(root, root + along * width * random.uniform(0.35, 0.6), 0.055 * width))
    return shapes


def _build_bar(landmarks: Points68, random: np.random.Generator) -> list[Points]:
    """Build a long bar across the face, like a microphone or a strap."""
    width = float(np.ptp(landmarks[:, 0]))
    at, angle = landmarks[int(random.integers(68))], random.uniform(0, np.pi)
    along = 3 * width * np.array([np.cos(angle), np.sin(angle)])
    return [_build_capsule(at - along, at + along, width * random.uniform(0.03, 0.15))]


def _build_glasses(landmarks: Points68, random: np.random.Generator) -> list[Points]:
    """Build rims, a bridge and temples; `draw_occluder` cuts the lenses out."""
    rim = random.uniform(1.12, 1.35)
    thick = 0.02 * float(np.ptp(landmarks[:, 0]))
    right_eye, left_eye = (landmarks[eye].mean(0) for eye in (EYE_R, EYE_L))
    across = (left_eye - right_eye) / max(float(np.linalg.norm(left_eye - right_eye)), 1e-6)
    half_lens = 0.33 * float(np.linalg.norm(left_eye - right_eye))
    shapes = _build_lenses(landmarks, rim)
    shapes.append(_build_capsule(right_eye + half_lens * across, left_eye - half_lens * across, thick))
    shapes.append(_build_capsule(right_eye - half_lens * across, landmarks[0], thick))
    shapes.append(_build_capsule(left_eye + half_lens * across, landmarks[16], thick))
    return shapes


def _build_lenses(landmarks: Points68, scale: float) -> list[Points]:
    right_eye, left_eye = (landmarks[eye].mean(0) for eye in (EYE_R, EYE_L))
    eye_distance = float(np.linalg.norm(left_eye - right_eye))
    rotation = np.degrees(np.arctan2(*(left_eye - right_eye)[::-1]))
    return [
        _build_ellipse(eye, (0.33 * eye_distance * scale, 0.27 * eye_distance * scale), rotation)
        for eye in (right_eye, left_eye)
    ]


def _build_disc(landmarks: Points68, random: np.random.Generator) -> list[Points]:
    width = float(np.ptp(landmarks[:, 0]))
    radii = tuple(width * random.uniform(0.08, 0.3, 2))
    return [_build_ellipse(landmarks[int(random.integers(68))], radii, random.uniform(0, 180))]


OCCLUDER_SHAPES: dict[str, Callable[[Points68, np.random.Generator], list[Points]]] = {
    "hand": _build_hand,
    "bar": _build_bar,
    "glasses": _build_glasses,
    "ellipse": _build_disc,
}


def _build_ellipse(middle: Vector, radii: tuple[float, ...], rotation: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = np.column_stack([radii[0] * np.cos(angle), radii[1] * np.sin(angle)])
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]) + middle)


def _build_capsule(start: Vector, end: Vector, radius: float) -> Points:
    """Build a line with round ends."""
    angle = np.arctan2(*(end - start)[::-1])
    around = np.linspace(-np.pi / 2, np.pi / 2, 12)
    end_cap = end + radius * np.column_stack([np.cos(angle + around), np.sin(angle + around)])
    start_cap = start - radius * np.column_stack([np.cos(angle + around), np.sin(angle + around)])
    return np.vstack([end_cap, start_cap])


def _pick_hand_colour(picture: Image, landmarks: Points68, random: np.random.Generator) -> Vector:
    """Pick a skin colour, mostly that of the face's cheeks: such hands are the hardest to separate from the face."""
    cheek_pixels = np.clip(np.rint((landmarks[[1, 15]] + landmarks[[31, 35]]) / 2).astype(int), 0, len(picture) - 1)
    cheek_colour = picture[cheek_pixels[:, 1], cheek_pixels[:, 0]].mean(0)
    stranger_colour = _SKIN_COLOUR * random.uniform(0.4, 1.2)
    return np.asarray((cheek_colour if random.random() < 0.7 else stranger_colour) * random.uniform(0.85, 1.15))


def _shade_colour(colour: Vector, size: int, random: np.random.Generator) -> Image:
    """Fill a square of `size` pixels with a colour, with soft shading and grain."""
    slow = cv2.resize(random.standard_normal((4, 4)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    fine = random.standard_normal((size, size)).astype(np.float32)
    return np.asarray(np.clip(colour * (1 + 0.15 * slow + 0.03 * fine)[..., None], 0, 1), np.float32)
