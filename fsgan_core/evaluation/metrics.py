"""What a swap is judged by, as plain functions on arrays.

The paper's protocol (FSGAN, arXiv 1908.05932, section 5: identity, SSIM, Euler angles, landmarks) with dlib's face
descriptor, and what a compositor asks beyond it: gaze, lids, lips, light and tone (`mesh_metrics`), flicker, sharpness,
pixels changed outside the matte, lost faces. The limits of the verdicts stand in METRICS.

Pictures are uint8 RGB (height, width, 3), display-referred sRGB. Landmarks are float64 (68, 2) in array pixels, x then
y, the centre of the upper left pixel at (0, 0). A metric that cannot be measured (no face) is NaN; means leave NaN out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from fsgan_core.contract.errors import FrameRangeError
from fsgan_core.contract.landmarks import BROWS, CHIN, OUTER_EYE_CORNERS
from fsgan_core.evaluation.edge import compute_edge_difference
from fsgan_core.evaluation.mesh_metrics import compare_gaze, compare_lids, compare_light, compare_lips
from fsgan_core.faces.identity import compare_descriptors
from fsgan_core.faces.measure import FaceGauge, MeasuredFace, to_square_pixels
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Mask, Matte, Plane, Points, Points68, Vector
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.sampling import sample_evenly

__all__ = [
    "METRICS",
    "FramePair",
    "Metric",
    "compute_euler_error",
    "compute_face_region",
    "compute_flicker",
    "compute_identity_distance",
    "compute_landmark_error",
    "compute_luma",
    "compute_metrics",
    "compute_sharpness",
    "compute_ssim",
    "compute_symmetric_ratio",
    "count_changed_outside",
    "evaluate_frames",
    "nanmean",
]

MAX_SOURCE_FRAMES = 40
"""Source frames that an identity is compared with, at most."""
SSIM_SIDE = 256
"""Side in pixels of the face crop for SSIM."""
SSIM_MARGIN = 1.2
"""The crop's side over the longer side of the landmarks' box."""
FOREHEAD_SHARE = 0.25
"""How far the face region reaches above the brows, over the distance from chin to brows."""
OUTSIDE_MARGIN = 0.15
"""Without a matte, the face region grown by this share of its size is what may have changed."""
_MIN_EYE_DISTANCE = 1e-6  # pixels; keeps relative distances finite
_MIN_VARIANCE = 1e-6  # of the Laplacian of a flat face; keeps the sharpness ratio finite


@dataclass(frozen=True)
class Metric:
    """One kind of measurement.

    Attributes:
        name: Key in `Evaluation.metrics` and in JSON.
        label: Name for people.
        meaning: What it says, for people.
        unit: Unit of the shown number.
        scale: Factor from the value to the shown number.
        digits: Decimals of the shown number.
        better: Which way is good: "low", "high" or "" for neither.
        limit: The highest value that passes; None if nothing is asked.
        ideal: The best possible value.
    """

    name: str
    label: str
    meaning: str
    unit: str = ""
    scale: float = 1.0
    digits: int = 2
    better: str = "low"
    limit: float | None = None
    ideal: float = 0.0


METRICS = (
    Metric(
        "identity",
        "identity",
        "distance of dlib's face descriptor to the nearest of up to 40 source frames",
        digits=3,
        limit=0.40,
    ),
    Metric("identity_target", "identity, untouched", "the same distance of the untouched target", digits=3, better=""),
    Metric("ssim", "SSIM", "structural similarity with the target on a 256 px face crop", digits=3, better="high"),
    Metric(
        "gaze",
        "gaze",
        "how far the irises are from where the target's are, over the eye's width; open eyes only",
        "%",
        100.0,
        limit=0.02,
    ),
    Metric(
        "lids",
        "lid opening",
        "difference from the target's, over the eye's width, mean of both eyes",
        "%",
        100.0,
        limit=0.03,
    ),
    Metric(
        "lips",
        "lip gap",
        "difference of the inner lips' gap from the target's, over the distance of the outer eye corners",
        "%",
        100.0,
        limit=0.02,
    ),
    Metric(
        "light",
        "light",
        "difference in the pattern of L* over patches of forehead, cheeks and chin, less the mean",
        "L*",
        limit=1.5,
    ),
    Metric("tone", "tone", "CIEDE2000 between the mean colours of these patches", "dE", limit=2.5),
    Metric(
        "euler", "Euler angles", "mean absolute difference of yaw, pitch and roll from the target's", "deg", limit=0.7
    ),
    Metric(
        "landmarks",
        "landmarks",
        "mean distance of the mesh's 68 landmarks from the target's, over the distance of the outer eye corners",
        "%",
        100.0,
        limit=0.012,
    ),
    Metric("landmarks_dlib", "landmarks, dlib", "the same by dlib's landmarks, if installed", "%", 100.0, limit=0.02),
    Metric(
        "flicker",
        "flicker",
        "mean absolute second difference over time in the face, result minus target",
        "/255",
        limit=0.3,
    ),
    Metric(
        "sharpness_off",
        "sharpness off by",
        "factor between the variances of the Laplacian in the face, either way",
        "x",
        limit=1.3,
        ideal=1.0,
    ),
    Metric("sharpness", "sharpness ratio", "variance of the Laplacian in the face, result over target", "x", better=""),
    Metric("edge", "edge", "step of colour across the matte's edge beyond the target's own, CIEDE2000", "dE"),
    Metric(
        "outside", "changed outside", "pixels that differ from the target outside the matte", "px", digits=0, limit=0.0
    ),
    Metric("outside_max", "largest change outside", "the largest such difference", "/255"),
    Metric("seconds", "seconds", "time that the stages took for the frame, where the render's report says so", "s"),
)
METRIC_NAMES = tuple(figure.name for figure in METRICS)
EXTRA_METRIC_NAMES = ("flicker_target", "flicker_result", "replaced", "target_yaw")
"""Also measured: both terms of the flicker, the share of the face's pixels that differ from the target at all, and
where the target's head turns (degrees)."""


def compute_luma(rgb8: Image8) -> Plane:
    """Computes the Rec. 709 luma of 8-bit sRGB values, float32 (height, width), 0..255."""
    return rgb8.astype(np.float32) @ LUMA_WEIGHTS


def compute_face_hull(landmarks: Points68, margin: float = 0.0) -> Points:
    """Computes the hull of the landmarks, extended over part of the forehead.

    Args:
        landmarks: Array pixels.
        margin: Share of its size by which the hull is grown about its centre.

    Returns:
        float64 (n, 2), array pixels.
    """
    brows, chin = landmarks[BROWS], landmarks[CHIN]
    points = np.concatenate([landmarks, brows + (brows.mean(axis=0) - chin) * FOREHEAD_SHARE])
    centre = points.mean(axis=0)
    grown = (points - centre) * (1.0 + margin) + centre
    return np.asarray(cv2.convexHull(grown.astype(np.float32))[:, 0], np.float64)


def compute_face_region(landmarks: Points68, shape: tuple[int, int], margin: float = 0.0) -> Mask:
    """Fills the hull of `compute_face_hull` in a picture of `shape` (height, width)."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(compute_face_hull(landmarks, margin)).astype(np.int32), 1)
    return mask.astype(bool)


def compute_identity_distance(descriptor: Descriptor, sources: Sequence[Descriptor]) -> float:
    """Computes the Euclidean distance to the nearest of the sources' descriptors; NaN without any.

    Below 0.6 dlib calls two pictures the same person.
    """
    return min((compare_descriptors(descriptor, source) for source in sources), default=float("nan"))


def compute_euler_error(result: Sequence[float], target: Sequence[float]) -> float:
    """Computes the mean absolute difference of yaw, pitch and roll, in degrees.

    >>> compute_euler_error((10, 0, 179), (4, 0, -179))
    2.6666666666666665
    """
    difference = (np.asarray(result) - np.asarray(target) + 180.0) % 360.0 - 180.0
    return float(np.abs(difference).mean())


def compute_landmark_error(result: Points68, target: Points68, pixel_aspect: float = 1.0) -> float:
    """Computes the mean distance of the 68 points over the distance of the target's outer eye corners.

    Returns:
        0.01 is one percent.
    """
    square = np.array([pixel_aspect, 1.0])
    right, left = OUTER_EYE_CORNERS
    eyes = float(np.linalg.norm((target[right] - target[left]) * square))
    return float(np.linalg.norm((result - target) * square, axis=1).mean() / max(eyes, _MIN_EYE_DISTANCE))


def compute_flicker(before: Plane, now: Plane, after: Plane, region: Mask) -> float:
    """Computes the mean of |before - 2 now + after| inside `region`, in the unit of the pictures; NaN if it is empty.

    >>> steady, flash = np.zeros((1, 2)), np.full((1, 2), 3.0)
    >>> compute_flicker(steady, flash, steady, np.array([[True, False]]))
    6.0
    """
    if not region.any():
        return float("nan")
    return float(np.abs(before[region] - 2.0 * now[region] + after[region]).mean())


def compute_sharpness(picture: AnyArray, region: Mask) -> float:
    """Computes the variance of the Laplacian of `picture` (height, width) inside `region`; NaN if it is empty."""
    if not region.any():
        return float("nan")
    return float(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)[region].var())


def compute_symmetric_ratio(ratio: float) -> float:
    """Computes by which factor `ratio` is off 1, either way; 0 gives infinity.

    >>> compute_symmetric_ratio(0.25), compute_symmetric_ratio(4.0)
    (4.0, 4.0)
    """
    if np.isnan(ratio):
        return float("nan")
    return max(ratio, 1.0 / ratio) if ratio > 0.0 else float("inf")


def compute_ssim(result: Image8, target: Image8, landmarks: Points68, pixel_aspect: float = 1.0) -> float:
    """Computes the structural similarity of two pictures on the square around the landmarks, resized to 256 pixels.

    Returns:
        Up to 1, which is equal.
    """
    from skimage.metrics import structural_similarity as ssim

    points = landmarks * (pixel_aspect, 1.0)
    low, high = points.min(axis=0), points.max(axis=0)
    side = float((high - low).max()) * SSIM_MARGIN
    corner = (low + high) / 2.0 - side / 2.0
    crops = [_crop_square(picture, corner, side, pixel_aspect) for picture in (result, target)]
    return float(ssim(*crops, channel_axis=2, data_range=255))


def _crop_square(picture: Image8, corner: Vector, side: float, pixel_aspect: float) -> AnyArray:
    """The square at `corner` (square pixels) as (256, 256, 3); black outside the picture, averaged when it shrinks."""
    columns, rows = max(1, round(side / pixel_aspect)), max(1, round(side))
    x, y = round(float(corner[0]) / pixel_aspect), round(float(corner[1]))
    height, width = picture.shape[:2]
    crop = np.zeros((rows, columns, 3), picture.dtype)
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + columns), min(height, y + rows)
    if x1 > x0 and y1 > y0:
        crop[y0 - y : y1 - y, x0 - x : x1 - x] = picture[y0:y1, x0:x1]
    shrinks = rows > SSIM_SIDE
    return cv2.resize(crop, (SSIM_SIDE, SSIM_SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def count_changed_outside(
    result: AnyArray, target: AnyArray, matte: AnyArray, tolerance: AnyArray | float = 0.0
) -> tuple[int, float]:
    """Counts the pixels that differ where the matte is zero.

    Args:
        result: (height, width, 3), any dtype; NaN in the same place counts as equal.
        target: Of the same shape.
        matte: (height, width).
        tolerance: Differences up to this are none; a number, or one for each value.

    Returns:
        How many pixels differ, and the largest difference.

    >>> before, after = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    >>> after[0] = 0.5
    >>> count_changed_outside(after, before, matte=np.array([[1.0, 0.0], [0.0, 0.0]]))
    (1, 0.5)
    """
    outside = matte <= 0
    # Most pixels are equal; only the others get the costly comparison.
    unlike = result != target
    differs = (unlike[..., 0] | unlike[..., 1] | unlike[..., 2]) & outside
    a, b = result[differs].astype(np.float64), target[differs].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    difference[np.isnan(difference)] = np.inf
    allowed = tolerance[differs] if isinstance(tolerance, np.ndarray) else tolerance
    changed = difference > allowed
    return int(np.count_nonzero(changed.any(axis=1))), float(difference[changed].max(initial=0.0))


def nanmean(values: Iterable[float]) -> float:
    """Computes the mean without NaN; NaN if nothing is left.

    >>> nanmean([1.0, float("nan"), 3.0])
    2.0
    """
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


# A clip, frame by frame.


@dataclass(frozen=True)
class FramePair:
    """One frame of target and result, in the same array pixels, with the faces found in them.

    Attributes:
        number: Frame number.
        target: The frame that was changed.
        result: The frame with the new face.
        target_face: None if there is none.
        result_face: None if there is none.
        outside_change: Pixels changed outside the matte, and the largest change; NaN if not measured.
        pixel_aspect: Width of a pixel over its height.
        origin: Where the upper left pixel of the arrays lies, (x, y); frames may be cut out differently.
        matte: The matte that was mixed with, if it is known.
        seconds: Time that the frame took to render; NaN if unknown.
    """

    number: int
    target: Image8
    result: Image8
    target_face: MeasuredFace | None
    result_face: MeasuredFace | None
    outside_change: tuple[float, float] = (float("nan"), float("nan"))
    pixel_aspect: float = 1.0
    origin: tuple[int, int] = (0, 0)
    matte: Matte | None = None
    seconds: float = float("nan")


def compute_metrics(
    frames: Iterable[FramePair], sources: Sequence[Descriptor], step: int = 1
) -> Iterator[tuple[int, dict[str, float]]]:
    """Measures frames in order, holding three at a time.

    Args:
        frames: In order.
        sources: Descriptors of the source.
        step: Difference of frame numbers that flicker is measured over; a frame without both neighbours has no flicker.

    Yields:
        Frame number, and the values by name of METRICS and EXTRA_METRIC_NAMES.
    """
    before: FramePair | None = None
    now: FramePair | None = None
    for after in frames:
        if now is not None:
            yield now.number, _compute_frame_metrics(before, now, after, sources, step)
        before, now = now, after
    if now is not None:
        yield now.number, _compute_frame_metrics(before, now, None, sources, step)


def _compute_frame_metrics(
    before: FramePair | None, now: FramePair, after: FramePair | None, sources: Sequence[Descriptor], step: int
) -> dict[str, float]:
    row = dict.fromkeys((*METRIC_NAMES, *EXTRA_METRIC_NAMES), float("nan"))
    row["outside"], row["outside_max"] = now.outside_change
    row["seconds"] = now.seconds
    face, found = now.target_face, now.result_face
    if found is not None:
        row["identity"] = compute_identity_distance(found.descriptor, sources)
    if face is None:
        return row
    row["target_yaw"] = face.euler[0]
    row["identity_target"] = compute_identity_distance(face.descriptor, sources)
    row["ssim"] = compute_ssim(now.result, now.target, face.landmarks, now.pixel_aspect)
    if found is not None:
        row |= _compare_faces(found, face, now.pixel_aspect)
    row["light"], row["tone"] = _compare_light(now, face)
    if now.matte is not None:
        eyes = float(
            np.linalg.norm(
                (face.landmarks[OUTER_EYE_CORNERS[1]] - face.landmarks[OUTER_EYE_CORNERS[0]]) * (now.pixel_aspect, 1.0)
            )
        )
        row["edge"] = compute_edge_difference(now.result, now.target, now.matte, eyes)
    region, corner = _trim_region(compute_face_region(face.landmarks, (now.target.shape[0], now.target.shape[1])))
    if not region.any():
        return row
    shown, wanted = _crop_region(now.result, corner, region), _crop_region(now.target, corner, region)
    if shown is None or wanted is None:
        return row
    # Half floats of a result move a value between two steps of 255 to one or the other.
    is_replaced = np.any(np.maximum(shown, wanted) - np.minimum(shown, wanted) > 1, axis=2, keepdims=True)[..., 0]
    row["replaced"] = float(is_replaced[region].mean())
    ratio = compute_sharpness(compute_luma(shown), region) / max(
        compute_sharpness(compute_luma(wanted), region), _MIN_VARIANCE
    )
    row["sharpness"], row["sharpness_off"] = ratio, compute_symmetric_ratio(ratio)
    if before is None or after is None or not after.number - now.number == now.number - before.number == step:
        return row
    corner = (corner[0] + now.origin[0], corner[1] + now.origin[1])
    for name in ("target", "result"):
        cuts = [
            _crop_region(getattr(frame, name), (corner[0] - frame.origin[0], corner[1] - frame.origin[1]), region)
            for frame in (before, now, after)
        ]
        if cuts[0] is not None and cuts[1] is not None and cuts[2] is not None:
            row[f"flicker_{name}"] = compute_flicker(
                compute_luma(cuts[0]), compute_luma(cuts[1]), compute_luma(cuts[2]), region
            )
    row["flicker"] = row["flicker_result"] - row["flicker_target"]
    return row


def _compare_faces(found: MeasuredFace, face: MeasuredFace, pixel_aspect: float) -> dict[str, float]:
    """The figures that need nothing but both faces."""
    square = (pixel_aspect, 1.0, 1.0)
    shown, wanted = found.mesh * square, face.mesh * square
    row = {
        "gaze": compare_gaze(shown, wanted),
        "lids": compare_lids(shown, wanted),
        "lips": compare_lips(shown, wanted),
        "euler": compute_euler_error(found.euler, face.euler),
        "landmarks": compute_landmark_error(found.landmarks, face.landmarks, pixel_aspect),
    }
    if found.dlib_landmarks is not None and face.dlib_landmarks is not None:
        row["landmarks_dlib"] = compute_landmark_error(found.dlib_landmarks, face.dlib_landmarks, pixel_aspect)
    return row


def _compare_light(pair: FramePair, face: MeasuredFace) -> tuple[float, float]:
    result, target = (to_square_pixels(picture, pair.pixel_aspect) for picture in (pair.result, pair.target))
    return compare_light(result, target, face.mesh * (pair.pixel_aspect, 1.0, 1.0))


def _trim_region(region: Mask) -> tuple[Mask, tuple[int, int]]:
    """The part of a region that is not empty, with a pixel around it for the Laplacian, and its corner (x, y)."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        return region, (0, 0)
    y, x = max(0, int(rows[0]) - 1), max(0, int(columns[0]) - 1)
    return region[y : rows[-1] + 2, x : columns[-1] + 2], (x, y)


def _crop_region(picture: Image8, corner: tuple[int, int], region: Mask) -> Image8 | None:
    """The part of a picture under `region`; None if the picture does not hold all of it."""
    (x, y), (height, width) = corner, region.shape
    if x < 0 or y < 0 or x + width > picture.shape[1] or y + height > picture.shape[0]:
        return None
    return picture[y : y + height, x : x + width]


_MAX_GAUGES = 8  # pixel aspects that measurements are remembered for


@lru_cache(maxsize=_MAX_GAUGES)
def get_shared_gauge(pixel_aspect: float = 1.0) -> FaceGauge:
    """Returns the process's own gauge, which remembers its measurements, for a pixel aspect."""
    return FaceGauge(pixel_aspect=pixel_aspect)


register_cache(get_shared_gauge.cache_clear)


def evaluate_frames(
    source_frames: Sequence[Image8],
    target_frames: Sequence[Image8],
    result_frames: Sequence[Image8],
    mattes: Sequence[Matte] | None = None,
    pixel_aspect: float = 1.0,
    gauge: FaceGauge | None = None,
) -> dict[str, Any]:
    """Measures a swap on pictures in memory. Another result of the same target is measured faster.

    Args:
        source_frames: Frames of the person whose face is wanted; up to 40, evenly spread, are measured.
        target_frames: In order.
        result_frames: The same frames with the new face, of equal size.
        mattes: One for each frame, above 0 where the picture may have changed; None takes the face's hull and a margin.
        pixel_aspect: Width of a pixel over its height, of all frames, the source's too.
        gauge: Measures the faces; None takes the process's own.

    Returns:
        {"frames": {metric: list}, "means": {metric: float}, "lost": indices without a face in the result,
        "target_lost": the same of the target}.

    Raises:
        FrameRangeError: The frames do not match in number or size.
    """
    if len(target_frames) != len(result_frames):
        raise FrameRangeError(
            f"there are {len(target_frames)} target frames and {len(result_frames)} result frames; "
            "give the same frames of both"
        )
    gauge = get_shared_gauge(pixel_aspect) if gauge is None else gauge
    sources: list[Descriptor] = []
    last: MeasuredFace | None = None
    for index in sample_evenly(len(source_frames), MAX_SOURCE_FRAMES):
        face = gauge.follow(source_frames[index], last)
        if face is not None:
            last = face
            sources.append(face.descriptor)

    def measure_pairs() -> Iterator[FramePair]:
        last: MeasuredFace | None = None
        for index, (target, result) in enumerate(zip(target_frames, result_frames, strict=True)):
            if target.shape != result.shape:
                raise FrameRangeError(
                    f"frame {index}: target {target.shape[1::-1]} and result {result.shape[1::-1]} differ in size"
                )
            face = gauge.follow(target, last)
            last = face or last
            found = gauge.measure_again(result, face) if face is not None else None
            given = mattes[index] if mattes is not None else None
            matte: AnyArray | None = given
            if matte is None and face is not None:
                matte = compute_face_region(face.landmarks, target.shape[:2], OUTSIDE_MARGIN)
            changed = count_changed_outside(result, target, np.zeros(target.shape[:2]) if matte is None else matte)
            yield FramePair(index, target, result, face, found, changed, pixel_aspect, matte=given)

    lost: list[int] = []
    target_lost: list[int] = []
    rows = list(compute_metrics(_note_lost_faces(measure_pairs(), lost, target_lost), sources))
    table = {name: [row[name] for _, row in rows] for name in (rows[0][1] if rows else METRIC_NAMES)}
    return {
        "frames": table,
        "means": {name: nanmean(values) for name, values in table.items()},
        "lost": lost,
        "target_lost": target_lost,
    }


def _note_lost_faces(frames: Iterable[FramePair], lost: list[int], target_lost: list[int]) -> Iterator[FramePair]:
    """The same frames; notes those without a face as they pass."""
    for frame in frames:
        if frame.target_face is None:
            target_lost.append(frame.number)
        elif frame.result_face is None:
            lost.append(frame.number)
        yield frame
