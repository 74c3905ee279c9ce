"""Who it is: dlib's face descriptor of 128 numbers (a ResNet). Two pictures of one person lie within about 0.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from fsgan_core.faces import models
from fsgan_core.faces.geometry import Box, apply_affine, compute_scale, fit_similarity, invert_affine
from fsgan_core.faces.square_crop import make_input_tensor
from fsgan_core.runtime.arrays import Descriptor, Image8, Matrix, Points68, Vector

WEIGHTS = "dlib_face_descriptor"
CHIP_SIDE = 150  # pixels; the network's input
_PADDING = 0.25  # border around the unit square of the mean face, as the network was trained

# dlib's mean face of five points (outer and inner eye corners of both eyes, bottom of the nose) in a unit square.
_MEAN_FIVE_POINTS = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_FIVE_LANDMARKS = (45, 42, 36, 39, 33)
# dlib halves a large face by an image pyramid before it samples the chip.
_HALF_SHIFT = (-0.25, 0.25)  # pixels by which dlib's pyramid places a level off its true position
_PYRAMID_MARGIN = 2  # pixels around the chip that a level needs


def compute_descriptor(picture: Image8, landmarks: Points68, device: str = "cpu") -> Descriptor:
    """Computes the descriptor of a face in a picture.

    Args:
        picture: RGB, square pixels.
        landmarks: Pixels of `picture`.
        device: Where the network runs, such as "cpu" or "cuda".

    Raises:
        WeightsError: The network is missing or damaged.
    """
    return describe_chip(crop_face_chip(picture, landmarks), device)


def describe_chip(chip: Image8, device: str = "cpu") -> Descriptor:
    """Computes the descriptor of an aligned face, uint8 (150, 150, 3)."""
    output: Any = models.load_packaged_network(WEIGHTS, device).run(
        make_input_tensor([chip], (0.0,) * 3, (1 / 255,) * 3)
    )
    return np.asarray(output[0].cpu().numpy(), np.float64)


def crop_face_chip(picture: Image8, landmarks: Points68) -> Image8:
    """Cuts out the aligned face, uint8 (150, 150, 3), that the descriptor's network takes.

    It does what dlib's extract_image_chip does, to a grey level: descriptors then are dlib's within 0.002.
    """
    place = _place_chip(landmarks)
    height, width = picture.shape[:2]
    low = np.clip(np.floor(place.centre - place.reach + 0.5), 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.floor(place.centre + place.reach + 0.5), low, (width - 1, height - 1)).astype(int)
    part = picture[low[1] : high[1] + 1, low[0] : high[0] + 1].astype(np.float32)
    centre, linear = place.centre - low, place.linear
    for _ in range(place.depth):
        part = np.floor(cv2.pyrDown(part))
        centre, linear = centre / 2 + _HALF_SHIFT, linear / 2
    ys, xs = np.mgrid[:CHIP_SIDE, :CHIP_SIDE] - (CHIP_SIDE - 1) / 2
    places = np.stack([xs, ys], -1) @ linear.T + centre
    sampled = [
        ndimage.map_coordinates(part[..., channel], (places[..., 1], places[..., 0]), np.float64, order=1)
        for channel in range(part.shape[2])
    ]
    return np.stack(sampled, -1).astype(np.uint8)


def find_chip_box(landmarks: Points68) -> Box:
    """Finds the part of a picture, in its pixels, that the chip of a face is made of: the rest need not be there."""
    place = _place_chip(landmarks)
    x, y = np.floor(place.centre - place.reach)
    width, height = np.ceil(2 * place.reach) + 2
    return (float(x), float(y), float(width), float(height))


@dataclass(frozen=True)
class _ChipPlace:
    """Where a chip lies in a picture.

    Attributes:
        centre: (x, y), pixels of the picture.
        linear: (2, 2), from pixels of the chip to those of the picture.
        depth: How often the picture is halved.
        reach: (x, y), pixels of the picture on either side of the centre that the chip is made of.
    """

    centre: Vector
    linear: Matrix
    depth: int
    reach: Vector


def _place_chip(landmarks: Points68) -> _ChipPlace:
    back = invert_affine(fit_chip_matrix(landmarks))
    middle = np.full(2, (CHIP_SIDE - 1) / 2)
    centre, linear = apply_affine(back, middle), back[:, :2]
    reach = np.abs(linear @ np.array([middle, middle * (1, -1)]).T).max(1)  # half the box of the turned square
    depth, size = 0, compute_scale(back) * middle[0] + 1
    while size > CHIP_SIDE:
        depth, size = depth + 1, (size - 1) / 2 + 1
    return _ChipPlace(centre, linear, depth, reach + _PYRAMID_MARGIN * (2 ** (depth + 1) - 1))


def fit_chip_matrix(landmarks: Points68) -> Matrix:
    """Fits the similarity, (2, 3), that takes a face in square pixels to its chip."""
    mean = (_PADDING + _MEAN_FIVE_POINTS) / (2 * _PADDING + 1) * CHIP_SIDE
    back = fit_similarity(mean, landmarks[list(_FIVE_LANDMARKS)])
    # dlib's mean face has pixel edges at whole numbers, and its chip spans 149 pixels.
    scale = compute_scale(back)
    linear = back[:, :2] * ((CHIP_SIDE * scale - 1) / ((CHIP_SIDE - 1) * scale))
    centre = apply_affine(back, np.full(2, CHIP_SIDE / 2))
    return invert_affine(np.column_stack([linear, centre - linear @ np.full(2, (CHIP_SIDE - 1) / 2)]))


def compare_descriptors(a: Descriptor, b: Descriptor) -> float:
    """Computes the Euclidean distance of two descriptors; below about 0.6 dlib calls two pictures the same person.

    >>> round(compare_descriptors(np.zeros(128), np.full(128, 0.05)), 6)
    0.565685
    """
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))
