"""Measures the frames of a clip in order: each pair of target and result, with its neighbours in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fsgan_core.contract.landmarks import OUTER_EYE_CORNERS
from fsgan_core.evaluation.edge import compute_edge_difference
from fsgan_core.evaluation.mesh_metrics import compare_gaze, compare_lids, compare_light, compare_lips
from fsgan_core.evaluation.metric_limits import EXTRA_METRIC_NAMES, METRIC_NAMES
from fsgan_core.evaluation.metrics import (
    compare_sharpness,
    compute_euler_error,
    compute_face_region,
    compute_flicker,
    compute_identity_distance,
    compute_landmark_error,
    compute_luma,
    compute_ssim,
    compute_symmetric_ratio,
)
from fsgan_core.faces.identity import compare_descriptors
from fsgan_core.faces.measure import MeasuredFace, to_square_pixels
from fsgan_core.runtime.arrays import Descriptor, Image8, Mask, Matte


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
    target_face, result_face = now.target_face, now.result_face
    if result_face is not None:
        row["identity"] = compute_identity_distance(result_face.descriptor, sources)
    if target_face is None:
        return row
    row["target_yaw"] = target_face.euler[0]
    row["identity_target"] = compute_identity_distance(target_face.descriptor, sources)
    row["ssim"] = compute_ssim(now.result, now.target, target_face.landmarks, now.pixel_aspect)
    if result_face is not None:
        row |= _compare_faces(result_face, target_face, now.pixel_aspect)
        row["identity_to_target"] = compare_descriptors(result_face.descriptor, target_face.descriptor)
    row["light"], row["tone"] = _compare_pair_light(now, target_face)
    if now.matte is not None:
        eyes = float(
            np.linalg.norm(
                (target_face.landmarks[OUTER_EYE_CORNERS[1]] - target_face.landmarks[OUTER_EYE_CORNERS[0]])
                * (now.pixel_aspect, 1.0)
            )
        )
        row["edge"] = compute_edge_difference(now.result, now.target, now.matte, eyes)
    region, corner = _trim_region(
        compute_face_region(target_face.landmarks, (now.target.shape[0], now.target.shape[1]))
    )
    if not region.any():
        return row
    result, target = _crop_region(now.result, corner, region), _crop_region(now.target, corner, region)
    if result is None or target is None:
        return row
    # Half floats of a result move a value between two steps of 255 to one or the other.
    is_replaced = np.any(np.maximum(result, target) - np.minimum(result, target) > 1, axis=2, keepdims=True)[..., 0]
    row["replaced"] = float(is_replaced[region].mean())
    ratio = compare_sharpness(compute_luma(result), compute_luma(target), region)
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


def _compare_faces(result: MeasuredFace, target: MeasuredFace, pixel_aspect: float) -> dict[str, float]:
    """The metrics that need nothing but both faces."""
    square = (pixel_aspect, 1.0, 1.0)
    result_mesh, target_mesh = result.mesh * square, target.mesh * square
    row = {
        "gaze": compare_gaze(result_mesh, target_mesh),
        "lids": compare_lids(result_mesh, target_mesh),
        "lips": compare_lips(result_mesh, target_mesh),
        "euler": compute_euler_error(result.euler, target.euler),
        "landmarks": compute_landmark_error(result.landmarks, target.landmarks, pixel_aspect),
    }
    if result.dlib_landmarks is not None and target.dlib_landmarks is not None:
        row["landmarks_dlib"] = compute_landmark_error(result.dlib_landmarks, target.dlib_landmarks, pixel_aspect)
    return row


def _compare_pair_light(pair: FramePair, face: MeasuredFace) -> tuple[float, float]:
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
