"""Detects faces by MediaPipe's BlazeFace networks (arXiv 1907.05047): boxes, six keypoints, confidences.

The picture is fitted into the network's square input with black borders. The network answers with a box and keypoints
for each anchor, a point of a grid; boxes that overlap are averaged, weighted by their confidence. `FULL_RANGE` finds
faces from about 4 % of the picture's longer side, `SHORT_RANGE` larger ones, up to close-ups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from fsgan_core.faces import models
from fsgan_core.faces.detectors.detector_interface import drop_duplicates
from fsgan_core.faces.geometry import Box, apply_affine, compute_overlap, invert_affine, sample_crop
from fsgan_core.faces.square_crop import make_input_tensor
from fsgan_core.runtime.arrays import AnyArray, Image8, Matrix, Points

_SAME_OVERLAP = 0.3  # intersection over union from which two boxes are averaged (MediaPipe)
_EDGE_SHARE = 0.02  # of a tile's side: a box so near to an inner edge of its tile may be cut off
_MAX_LOGIT = 100.0


@dataclass(frozen=True)
class BlazeModel:
    """One of the detectors.

    Attributes:
        weights: Name in the catalogue.
        side: Side of the input in pixels.
        grids: Cells along a side and anchors in each cell, of each grid.
        keypoints: Number of keypoints.
        mean: What is subtracted from the pixels, 0..1.
        deviation: What they are then divided by.
        threshold: Confidence from which a box counts (MediaPipe's setting).
    """

    weights: str
    side: int
    grids: tuple[tuple[int, int], ...]
    keypoints: int
    mean: float
    deviation: float
    threshold: float


FULL_RANGE = BlazeModel("mediapipe_face_full_range", 192, ((48, 1),), 6, 0.5, 0.5, 0.6)
SHORT_RANGE = BlazeModel("mediapipe_face_short_range", 128, ((16, 2), (8, 6)), 6, 0.5, 0.5, 0.5)


@dataclass(frozen=True)
class BlazeDetection:
    """A face, or a palm, in a picture.

    Attributes:
        box: (x, y, width, height), pixels of the picture; of a face from the brows to the chin.
        confidence: 0..1.
        keypoints: float64 (6, 2) of a face: right eye, left eye, tip of the nose, mouth, right ear, left ear. (7, 2) of
            a palm: wrist, roots of index, middle, ring and little finger, two points of the thumb.
    """

    box: Box
    confidence: float
    keypoints: Points


def find_faces(
    picture: Image8, model: BlazeModel = FULL_RANGE, *, margin: float = 0.0, device: str = "cpu"
) -> list[BlazeDetection]:
    """Finds the faces in a picture of any size, surest first.

    Args:
        picture: RGB, square pixels.
        model: FULL_RANGE or SHORT_RANGE.
        margin: Black border on each side, as a share of the picture's longer side; a close-up needs one.
        device: Where the network runs, such as "cpu" or "cuda".

    Raises:
        WeightsError: The network is missing or damaged.
    """
    return detect_in_pictures([picture], model, margin=margin, device=device)[0]


def find_faces_in_tiles(
    picture: Image8,
    model: BlazeModel = FULL_RANGE,
    *,
    side: int = 0,
    device: str = "cpu",
) -> list[BlazeDetection]:
    """Finds small faces in a large picture, tile by tile, surest first.

    Tiles overlap by a third, so each face up to that size is whole in one of them.

    Args:
        picture: RGB, square pixels.
        model: FULL_RANGE or SHORT_RANGE.
        side: Side of a tile in pixels; 0 for three quarters of the picture's shorter side.
        device: Where the network runs, such as "cpu" or "cuda".

    Raises:
        WeightsError: The network is missing or damaged.
    """
    height, width = picture.shape[:2]
    side = min(side or round(0.75 * min(height, width)), max(height, width))
    tiles = [
        (x, y, min(x + side, width), min(y + side, height))
        for y in _spread_tiles(height, side)
        for x in _spread_tiles(width, side)
    ]
    parts = [np.ascontiguousarray(picture[y0:y1, x0:x1]) for x0, y0, x1, y1 in tiles]
    found: list[BlazeDetection] = []
    for (x0, y0, x1, y1), detections in zip(tiles, detect_in_pictures(parts, model, device=device), strict=True):
        edge = _EDGE_SHARE * side
        for detection in detections:
            x, y, w, h = detection.box
            is_cut = (
                (x0 > 0 and x < edge)
                or (y0 > 0 and y < edge)
                or (x1 < width and x + w > x1 - x0 - edge)
                or (y1 < height and y + h > y1 - y0 - edge)
            )
            if not is_cut:
                found.append(
                    BlazeDetection((x + x0, y + y0, w, h), detection.confidence, np.add(detection.keypoints, (x0, y0)))
                )
    return drop_duplicates(found)


def detect_in_pictures(
    pictures: Sequence[Image8],
    model: BlazeModel,
    *,
    threshold: float = 0.0,
    margin: float = 0.0,
    device: str = "cpu",
) -> list[list[BlazeDetection]]:
    """Detects in several pictures at once; see `find_faces`."""
    if not pictures:
        return []
    matrices = [fit_letterbox(picture.shape[1], picture.shape[0], model.side, margin) for picture in pictures]
    inputs = [
        sample_crop(picture, matrix, model.side, cv2.BORDER_CONSTANT)
        for picture, matrix in zip(pictures, matrices, strict=True)
    ]
    outputs: Sequence[Any] = models.load_packaged_network(model.weights, device).run(
        make_input_tensor(inputs, (model.mean,) * 3, (model.deviation,) * 3)
    )
    boxes, logits = (output.cpu().numpy().astype(np.float64) for output in outputs)
    return [
        _move_to_picture(decode_detections(one, logit, model, threshold or model.threshold), matrix)
        for one, logit, matrix in zip(boxes, logits, matrices, strict=True)
    ]


def fit_letterbox(width: int, height: int, side: int, margin: float = 0.0) -> Matrix:
    """Fits a picture into the middle of a square.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        side: Of the square, in pixels.
        margin: As in `find_faces`.

    Returns:
        Affine map, (2, 3), from pixels of the picture to pixels of the square.

    >>> fit_letterbox(400, 200, 100).tolist()
    [[0.25, 0.0, -0.375], [0.0, 0.25, 24.625]]
    """
    scale = side / (max(width, height) * (1 + 2 * margin))
    return np.array(
        [
            [scale, 0.0, (side - 1) / 2 - scale * (width - 1) / 2],
            [0.0, scale, (side - 1) / 2 - scale * (height - 1) / 2],
        ]
    )


@cache
def make_anchors(model: BlazeModel) -> Points:
    """Makes the anchors (n, 2) in pixels of the network's input, edges at 0 and `side`, in the network's order."""
    anchors = []
    for cells, count in model.grids:
        middles = (np.arange(cells) + 0.5) * (model.side / cells)
        ys, xs = np.meshgrid(middles, middles, indexing="ij")
        anchors.append(np.repeat(np.stack([xs, ys], -1).reshape(-1, 2), count, 0))
    result = np.concatenate(anchors)
    result.setflags(write=False)
    return result


def decode_detections(boxes: AnyArray, logits: AnyArray, model: BlazeModel, threshold: float) -> list[BlazeDetection]:
    """Turns the network's answer into detections; overlapping ones become one, weighted by confidence.

    Args:
        boxes: (anchors, 4 + 2 * keypoints): centre, size and keypoints in pixels relative to the anchor.
        logits: (anchors, 1).
        model: The detector.
        threshold: Least confidence.

    Returns:
        Detections in pixels of the input, edges at 0 and `side`, surest first.
    """
    confidences = 1 / (1 + np.exp(-np.clip(logits[:, 0], -_MAX_LOGIT, _MAX_LOGIT)))
    chosen = np.flatnonzero(confidences >= threshold)
    chosen = chosen[np.argsort(-confidences[chosen], kind="stable")]
    confidences = confidences[chosen]
    points = boxes[chosen].reshape(len(chosen), 2 + model.keypoints, 2)
    anchors = make_anchors(model)[chosen]
    corners = anchors + points[:, 0] - points[:, 1] / 2
    sizes = points[:, 1]
    keypoints = points[:, 2:] + anchors[:, None]
    left = list(range(len(chosen)))
    found = []
    while left:
        first_box: Box = (*corners[left[0]].tolist(), *sizes[left[0]].tolist())
        same = [
            index
            for index in left
            if index == left[0]
            or compute_overlap(first_box, (*corners[index].tolist(), *sizes[index].tolist())) > _SAME_OVERLAP
        ]
        left = [index for index in left if index not in same]
        weights = confidences[same] / confidences[same].sum()
        low, high = weights @ corners[same], weights @ (corners[same] + sizes[same])
        found.append(
            BlazeDetection(
                (*low.tolist(), *(high - low).tolist()),
                float(confidences[same[0]]),
                np.tensordot(weights, keypoints[same], 1),
            )
        )
    return found


def _move_to_picture(detections: list[BlazeDetection], matrix: Matrix) -> list[BlazeDetection]:
    back = invert_affine(matrix)
    scale = back[0, 0]
    moved = []
    for detection in detections:
        x, y = apply_affine(back, np.array(detection.box[:2]) - 0.5)
        box = (float(x), float(y), float(scale * detection.box[2]), float(scale * detection.box[3]))
        moved.append(BlazeDetection(box, detection.confidence, apply_affine(back, detection.keypoints - 0.5)))
    return moved


def _spread_tiles(length: int, side: int) -> list[int]:
    """The first pixels of tiles along one axis: evenly spread, overlapping by a third of `side` at least."""
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * 2 / 3))) + 1
    return [round(start) for start in np.linspace(0, length - side, count)]
