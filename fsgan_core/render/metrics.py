"""What a swap is judged by, as plain functions on arrays.

The paper's protocol (FSGAN, arXiv 1908.05932, section 5: identity, SSIM, Euler angles, landmarks) with dlib's face
descriptor, and what a compositor asks beyond it: flicker, sharpness, pixels changed outside the matte, lost faces.

Pictures are uint8 RGB (height, width, 3), display-referred sRGB. Landmarks are float64 (68, 2) in array pixels, x then
y, the centre of the upper left pixel at (0, 0). A figure that cannot be taken (no face) is NaN; means leave NaN out.

Faces are found afresh on target and result, in the same window and by the same settings (dlib's HOG detector and its
68 points), without smoothing over time: a figure must not depend on the tracking that made the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# Bump when a figure changes its meaning or the measuring of faces changes: it is part of every cache key.
VERSION = 1

SOURCE_FRAMES = 40
"""Source frames that an identity is compared with (the paper's protocol takes the nearest of the source's frames)."""
SSIM_SIDE = 256
"""Side in pixels of the face crop for SSIM."""
SSIM_MARGIN = 1.2
"""The crop's side over the longer side of the landmarks' box."""

_WINDOW = 2.2  # side of the measured window over the side of the face's box
_SIDE = 440  # its side in pixels while measured, so that a face is always about 200 pixels
_SHIFTS = ((0.0, 0.0, 1.0), (0.03, 0.0, 1.0), (-0.03, 0.0, 1.0), (0.0, 0.03, 1.0), (0.0, -0.03, 1.0),
           (0.0, 0.0, 1.06), (0.0, 0.0, 0.94))  # dlib's points move with the box: a mean over a few steadies them


@dataclass(frozen=True)
class Measured:
    """A face: box (x, y, width, height) and landmarks (68, 2) in array pixels, euler (yaw, pitch, roll) in degrees,
    descriptor (128,)."""

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    euler: tuple[float, float, float]
    descriptor: np.ndarray


def luma(rgb8: np.ndarray) -> np.ndarray:
    """float32 (height, width), 0..255: Rec. 709 luma of 8-bit sRGB values."""
    return rgb8.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def face_region(landmarks: np.ndarray, shape: tuple[int, int], margin: float = 0.0) -> np.ndarray:
    """bool (height, width): the hull of the landmarks, reaching up over a part of the forehead.

    margin: grows the hull about its centre, as a share of its size.
    """
    brows, chin = landmarks[17:27], landmarks[8]
    up = (brows.mean(axis=0) - chin) * 0.25
    points = np.concatenate([landmarks, brows + up])
    centre = points.mean(axis=0)
    hull = cv2.convexHull(((points - centre) * (1.0 + margin) + centre).astype(np.float32))[:, 0]
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    return mask.astype(bool)


def identity_distance(descriptor: np.ndarray, sources: np.ndarray) -> float:
    """Euclidean distance to the nearest of sources (n, 128); below 0.6 dlib calls two faces the same person."""
    return float(np.linalg.norm(sources - descriptor, axis=1).min()) if len(sources) else float("nan")


def euler_error(result: Sequence[float], target: Sequence[float]) -> float:
    """Mean absolute difference of yaw, pitch and roll, degrees."""
    difference = (np.asarray(result) - np.asarray(target) + 180.0) % 360.0 - 180.0
    return float(np.abs(difference).mean())


def landmark_error(result: np.ndarray, target: np.ndarray, pixel_aspect: float = 1.0) -> float:
    """Mean distance of the 68 points over the distance of the target's outer eye corners; 0.01 is one percent."""
    square = np.array([pixel_aspect, 1.0])
    eyes = np.linalg.norm((target[36] - target[45]) * square)
    return float(np.linalg.norm((result - target) * square, axis=1).mean() / eyes)


def flicker(before: np.ndarray, now: np.ndarray, after: np.ndarray, region: np.ndarray) -> float:
    """Mean of |before - 2 now + after| inside `region` (bool), in the unit of the pictures."""
    if not region.any():
        return float("nan")
    return float(np.abs(before[region] - 2.0 * now[region] + after[region]).mean())


def sharpness(picture: np.ndarray, region: np.ndarray) -> float:
    """Variance of the Laplacian of `picture` (height, width) inside `region`."""
    return float(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)[region].var()) if region.any() else float("nan")


def off_by(ratio: float) -> float:
    """The factor that `ratio` is away from 1, either way: 0.25 and 4 both give 4."""
    if not ratio > 0.0:
        return float("inf") if ratio == 0.0 else float("nan")
    return max(ratio, 1.0 / ratio)


def structural_similarity(result: np.ndarray, target: np.ndarray, landmarks: np.ndarray) -> float:
    """SSIM of the two pictures on the square around `landmarks`, resized to 256 pixels; 1 is equal."""
    from skimage.metrics import structural_similarity as ssim

    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    side = float((high - low).max()) * SSIM_MARGIN
    x, y = (low + high) / 2.0 - side / 2.0
    return float(ssim(*(_square(picture, (x, y, side), SSIM_SIDE) for picture in (result, target)),
                      channel_axis=2, data_range=255))


def changed_outside(result: np.ndarray, target: np.ndarray, matte: np.ndarray) -> tuple[int, float]:
    """How many pixels differ where `matte` (height, width) is zero, and by how much at most, in the pictures' unit."""
    difference = cv2.absdiff(result, target).max(axis=2)
    difference = np.where(matte > 0, 0, difference)
    return int(np.count_nonzero(difference)), float(difference.max())


def evenly(count: int, wanted: int = SOURCE_FRAMES) -> list[int]:
    """Up to `wanted` of the indices 0..count-1, evenly spread, first and last among them."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(wanted, count))}) if count else []


def mean(values: Iterable[float]) -> float:
    """The mean without NaN; NaN when nothing is left."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


# Measuring a face.

def find_face(rgb8: np.ndarray, near: Sequence[float] | None = None) -> tuple[float, float, float, float] | None:
    """The box of a face in the whole picture: the one nearest to box `near`, else the largest. None when none.

    Looks in a reduced picture first, then at full size, then enlarged.
    """
    longest = max(rgb8.shape[:2])
    scales = sorted({min(1.0, 720.0 / longest), 1.0, min(2.0, max(1.0, 1920.0 / longest))})
    for scale in scales:
        interpolation = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        picture = rgb8 if scale == 1.0 else cv2.resize(rgb8, None, fx=scale, fy=scale, interpolation=interpolation)
        boxes = [tuple(value / scale for value in (r.left(), r.top(), r.width(), r.height()))
                 for r in _models()[0](np.ascontiguousarray(picture), 0)]
        if near is not None:
            boxes = [box for box in boxes if _distance(box, near) < 1.0]
        if boxes:
            return min(boxes, key=lambda b: _distance(b, near)) if near is not None else max(boxes, key=lambda b: b[2])  # type: ignore[return-value]
    return None


def measure_face(rgb8: np.ndarray, box: Sequence[float], pixel_aspect: float = 1.0,
                 cache: dict[str, Measured | None] | None = None) -> Measured | None:
    """The face near `box`, detected afresh in a window around it. None when there is no face."""
    side = _WINDOW * max(box[2], box[3])
    window = (round(box[0] + box[2] / 2.0 - side / 2.0), round(box[1] + box[3] / 2.0 - side / 2.0), round(side))
    crop = _square(rgb8, window, _SIDE)
    key = hashlib.blake2b(crop.tobytes() + repr((VERSION, window, pixel_aspect)).encode(), digest_size=16).hexdigest()
    if cache is not None and key in cache:
        return cache[key]
    measured = _measure(crop, window, pixel_aspect)
    if cache is not None:
        cache[key] = measured
    return measured


def _measure(crop: np.ndarray, window: tuple[float, float, float], pixel_aspect: float) -> Measured | None:
    import dlib

    detector, predictor, recogniser = _models()
    found = [(r.left(), r.top(), r.width(), r.height()) for r in detector(crop, 0)]
    middle = (_SIDE / 2.0 - _SIDE / _WINDOW / 2.0,) * 2 + (_SIDE / _WINDOW,) * 2
    found = [box for box in found if _distance(box, middle) < 0.6]
    if not found:
        return None
    x, y, width, height = min(found, key=lambda b: _distance(b, middle))
    total = np.zeros((68, 2))
    for dx, dy, grow in _SHIFTS:
        cx, cy, w, h = x + (0.5 + dx) * width, y + (0.5 + dy) * height, width * grow, height * grow
        rectangle = dlib.rectangle(*(round(v) for v in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)))
        shape = predictor(crop, rectangle)
        total += [(p.x, p.y) for p in shape.parts()]
    points = total / len(_SHIFTS)
    shape = dlib.full_object_detection(dlib.rectangle(x, y, x + width, y + height),
                                       [dlib.point(round(px), round(py)) for px, py in points])
    descriptor = np.array(recogniser.compute_face_descriptor(crop, shape))
    scale = window[2] / _SIDE
    offset = np.array(window[:2]) + 0.5 * scale - 0.5
    landmarks = points * scale + offset
    box = (float(x * scale + offset[0]), float(y * scale + offset[1]), width * scale, height * scale)
    return Measured(box, landmarks, _euler(landmarks, pixel_aspect), descriptor)


def _square(picture: np.ndarray, window: Sequence[float], side: int) -> np.ndarray:
    """The square (x, y, side) of the picture resized to `side` pixels; black outside, anti-aliased when shrinking."""
    x, y, size = (round(value) for value in window)
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(picture.shape[1], x + size), min(picture.shape[0], y + size)
    crop = np.zeros((size, size, 3), picture.dtype)
    if x1 > x0 and y1 > y0:
        crop[y0 - y:y1 - y, x0 - x:x1 - x] = picture[y0:y1, x0:x1]
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if size > side else cv2.INTER_CUBIC)


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Distance of two boxes' centres over the size of `b`."""
    dx, dy = a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2
    return float(np.hypot(dx, dy) / max(b[2], b[3]))


_POSE_POINTS = (17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54, 57, 8)
_POSE_MODEL = np.array([
    [6.825897, 6.760612, 4.402142], [1.330353, 7.122144, 6.903745], [-1.330353, 7.122144, 6.903745],
    [-6.825897, 6.760612, 4.402142], [5.311432, 5.485328, 3.987654], [1.789930, 5.393625, 4.413414],
    [-1.789930, 5.393625, 4.413414], [-5.311432, 5.485328, 3.987654], [2.005628, 1.409845, 6.165652],
    [-2.005628, 1.409845, 6.165652], [2.774015, -2.080775, 5.048531], [-2.774015, -2.080775, 5.048531],
    [0.0, -3.116408, 6.097667], [0.0, -7.415691, 4.070434]]) * [-1.0, -1.0, -1.0]


def _euler(landmarks: np.ndarray, pixel_aspect: float) -> tuple[float, float, float]:
    points = (landmarks * [pixel_aspect, 1.0])[list(_POSE_POINTS)]
    size = float(np.linalg.norm(points[4] - points[7])) * 8.0
    camera = np.array([[size, 0.0, points[:, 0].mean()], [0.0, size, points[:, 1].mean()], [0.0, 0.0, 1.0]])
    _, rotation, _ = cv2.solvePnP(_POSE_MODEL, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    matrix = cv2.Rodrigues(rotation)[0]
    yaw = np.degrees(np.arcsin(np.clip(-matrix[0, 2], -1.0, 1.0)))
    pitch = np.degrees(np.arctan2(matrix[1, 2], matrix[2, 2]))
    roll = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    return float(yaw), float(pitch), float(roll)


@lru_cache(maxsize=1)
def _models() -> tuple[Any, Any, Any]:
    import dlib

    folder = Path(next(iter(find_spec("face_recognition_models").submodule_search_locations))) / "models"  # type: ignore[union-attr,arg-type]
    return (dlib.get_frontal_face_detector(), dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat")),
            dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat")))


# A clip.

_CACHE: dict[str, Measured | None] = {}


def measure_clip(frames: Sequence[np.ndarray], cache: dict[str, Measured | None] | None = None,
                 pixel_aspect: float = 1.0) -> list[Measured | None]:
    """The main face of each frame: the largest at first, then the one nearest to where it was."""
    cache = _CACHE if cache is None else cache
    faces: list[Measured | None] = []
    near = None
    for frame in frames:
        face = measure_face(frame, near, pixel_aspect, cache) if near is not None else None
        box = face.box if face is not None else find_face(frame, near)
        face = measure_face(frame, box, pixel_aspect, cache) if box is not None else None
        near = face.box if face is not None else near
        faces.append(face)
    return faces


def evaluate_frames(source_frames: Sequence[np.ndarray], target_frames: Sequence[np.ndarray],
                    result_frames: Sequence[np.ndarray], mattes: Sequence[np.ndarray] | None = None,
                    pixel_aspect: float = 1.0) -> dict[str, Any]:
    """All figures of a swap, per frame and as means.

    source_frames: of the person whose face is wanted; 40 of them, evenly spread, are measured. target_frames and
    result_frames: the same frames, in order, of equal size. mattes: float or bool (height, width) per frame, what may
    have changed; without them the face's hull and a margin.

    Returns {"frames": {figure: list}, "means": {figure: float}, "lost": indices without a face in the result,
    "target_lost": the same of the target}. Errors are 0 when nothing changed; `identity_target` is the untouched
    target's distance, for contrast.
    """
    if len(target_frames) != len(result_frames):
        raise ValueError(f"{len(target_frames)} target frames, {len(result_frames)} result frames")
    sources = [face for face in measure_clip([source_frames[i] for i in evenly(len(source_frames))]) if face]
    descriptors = np.array([face.descriptor for face in sources]).reshape(-1, 128)
    targets = measure_clip(target_frames, pixel_aspect=pixel_aspect)
    names = ("identity", "identity_target", "ssim", "euler", "landmarks", "flicker", "flicker_result",
             "flicker_target", "sharpness", "sharpness_off", "outside", "outside_max")
    rows: dict[str, list[float]] = {name: [] for name in names}
    lost, target_lost = [], []
    target_luma = [luma(frame) for frame in target_frames]
    result_luma = [luma(frame) for frame in result_frames]
    for index, (target, result) in enumerate(zip(target_frames, result_frames, strict=True)):
        row = dict.fromkeys(names, float("nan"))
        face = targets[index]
        if face is None:
            target_lost.append(index)
        else:
            row.update(_compare_pictures(target, result, face, index, target_luma, result_luma))
            row["identity_target"] = identity_distance(face.descriptor, descriptors)
            found = measure_face(result, face.box, pixel_aspect, _CACHE)
            if found is None:
                lost.append(index)
            else:
                row["identity"] = identity_distance(found.descriptor, descriptors)
                row["euler"] = euler_error(found.euler, face.euler)
                row["landmarks"] = landmark_error(found.landmarks, face.landmarks, pixel_aspect)
        matte = mattes[index] if mattes is not None else None
        if matte is None and face is not None:
            matte = face_region(face.landmarks, target.shape[:2], 0.15)
        if matte is not None:
            row["outside"], row["outside_max"] = changed_outside(result, target, matte)
        for name in names:
            rows[name].append(row[name])
    return {"frames": rows, "means": {name: mean(values) for name, values in rows.items()}, "lost": lost,
            "target_lost": target_lost}


def _compare_pictures(target: np.ndarray, result: np.ndarray, face: Measured, index: int,
                      target_luma: Sequence[np.ndarray], result_luma: Sequence[np.ndarray]) -> Mapping[str, float]:
    """Figures of one frame that need the target's face only."""
    region = face_region(face.landmarks, target.shape[:2])
    rows, columns = np.nonzero(region)
    row: dict[str, float] = {"ssim": structural_similarity(result, target, face.landmarks)}
    if not len(rows):
        return row
    cut = (slice(max(0, rows.min() - 1), rows.max() + 2), slice(max(0, columns.min() - 1), columns.max() + 2))
    region = region[cut]
    ratio = sharpness(result_luma[index][cut], region) / max(sharpness(target_luma[index][cut], region), 1e-6)
    row.update(sharpness=ratio, sharpness_off=off_by(ratio))
    if 0 < index < len(target_luma) - 1:
        row["flicker_target"] = flicker(*(target_luma[i][cut] for i in (index - 1, index, index + 1)), region)
        row["flicker_result"] = flicker(*(result_luma[i][cut] for i in (index - 1, index, index + 1)), region)
        row["flicker"] = row["flicker_result"] - row["flicker_target"]
    return row
