"""Measures the dense face: the mesh network on rotated square regions of a picture.

The network (MediaPipe's face landmarks with attention) answers in pixels of its crop: 468 vertices with depth, and
finer lips, eyes and irises without. As in MediaPipe, the finer points replace the vertices, and an iris lies at the
mean depth of its lids. The region comes from a detection, then from the last mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fsgan_core.faces import models
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.geometry import Box
from fsgan_core.faces.mesh import IRIS_L, IRIS_R, LIDS_L, LIDS_R, MIRROR_ORDER, SKIN_COUNT, VERTEX_COUNT
from fsgan_core.faces.square_crop import make_input_tensor
from fsgan_core.runtime.arrays import AnyArray, Image8, Mesh, Points, Vector

WEIGHTS = "mediapipe_face_mesh"
CROP_SIDE = 192  # pixels; the network's input
FACE_THRESHOLD = 0.5  # probability from which a region holds a face (MediaPipe)
_REGION_SCALE = 1.5  # side of the region over the longer side of the box or the mesh (MediaPipe)
_CORNER_R, _CORNER_L = 33, 263  # outer eye corners, whose line is the region's horizontal

# The vertices that the finer outputs replace, in their order.
_LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408),
    *(62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407),
)
_RIGHT_EYE = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24),
    *(23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233),
    *(244, 113, 225, 224, 223, 222, 221, 189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120),
    *(121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
)
_LEFT_EYE = (
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254),
    *(253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453),
    *(464, 342, 445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349),
    *(350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417),
)


def measure_meshes(
    picture: Image8, squares: Sequence[RotatedSquare], device: str = "cpu", *, mirrored: bool = False
) -> tuple[Mesh, Vector]:
    """Measures the mesh of the face in each region.

    Args:
        picture: RGB, square pixels.
        squares: Regions, as `fit_square_to_detection` or `fit_square_to_mesh` makes them.
        device: Where the network runs, such as "cpu" or "cuda".
        mirrored: Whether the network looks at mirrored crops; the meshes are as always. The mean of both is steadier.

    Returns:
        Meshes float64 (n, 478, 3), see `faces.mesh`, and the probability (n,) that the region holds a face.

    Raises:
        WeightsError: The network is missing or damaged.
    """
    crops = [square.crop(picture, CROP_SIDE) for square in squares]
    meshes, probabilities = measure_crops([crop[:, ::-1] for crop in crops] if mirrored else crops, device)
    if mirrored:
        meshes = meshes[:, MIRROR_ORDER] * (-1.0, 1.0, 1.0) + (CROP_SIDE, 0.0, 0.0)
    for mesh, square in zip(meshes, squares, strict=True):
        mesh[:, :2] = square.to_picture(mesh[:, :2], CROP_SIDE)
        mesh[:, 2] *= square.side / CROP_SIDE
    return meshes, probabilities


def measure_crops(crops: Sequence[Image8], device: str = "cpu") -> tuple[Mesh, Vector]:
    """Measures the mesh in each crop, (192, 192, 3).

    Returns:
        Meshes float64 (n, 478, 3) in pixels of the crop, edges at 0 and 192, and the probability (n,) of a face.
    """
    if not crops:
        return np.zeros((0, VERTEX_COUNT, 3)), np.zeros(0)
    outputs: Sequence[Any] = models.load_packaged_network(WEIGHTS, device).run(
        make_input_tensor(crops, (0.0,) * 3, (1.0,) * 3)
    )
    skin, lips, eye_r, eye_l, iris_r, iris_l, face = (
        output.cpu().numpy().astype(np.float64).reshape(len(crops), -1) for output in outputs
    )
    meshes = np.zeros((len(crops), VERTEX_COUNT, 3))
    meshes[:, :SKIN_COUNT] = skin.reshape(-1, SKIN_COUNT, 3)
    for vertices, points in ((_LIPS, lips), (_RIGHT_EYE, eye_r), (_LEFT_EYE, eye_l)):
        meshes[:, vertices, :2] = points.reshape(len(crops), -1, 2)
    for iris, lids, points in ((IRIS_R, LIDS_R, iris_r), (IRIS_L, LIDS_L, iris_l)):
        meshes[:, iris, :2] = points.reshape(len(crops), -1, 2)
        meshes[:, iris, 2] = meshes[:, lids, 2].mean(1, keepdims=True)
    return meshes, _squash(face[:, 0])


def fit_square_to_detection(box: Box, keypoints: Points) -> RotatedSquare:
    """Makes the region around a detected face: 1.5 times the box, turned as the line between the eyes.

    Args:
        box: (x, y, width, height), pixels.
        keypoints: (6, 2), pixels; the first two are the right and the left eye.

    >>> fit_square_to_detection((10, 10, 20, 20), np.array([[15, 18], [25, 18]]))
    RotatedSquare(centre=array([20., 20.]), side=30.0, angle=0.0)
    """
    x, y, width, height = box
    centre = np.array([x + width / 2, y + height / 2])
    return RotatedSquare(centre, max(width, height) * _REGION_SCALE, _measure_angle(keypoints[0], keypoints[1]))


def fit_square_to_mesh(mesh: Mesh) -> RotatedSquare:
    """Makes the region for the next look: 1.5 times the mesh's box, turned as the line between the eyes."""
    return RotatedSquare.around_points(
        mesh[:SKIN_COUNT, :2], _measure_angle(mesh[_CORNER_R], mesh[_CORNER_L]), _REGION_SCALE
    )


def _measure_angle(right: Vector, left: Vector) -> float:
    return float(np.arctan2(left[1] - right[1], left[0] - right[0]))


def _squash(logits: AnyArray) -> Vector:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))))
