"""What takes the place of the target's arms of glasses beyond its face: hair, an ear, or the arms themselves.

If the new face wears glasses too, its frame needs arms, and the target's stay. Else they are painted out from above and
below. Lengths are shares of the face's width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import map_coordinates

from fsgan_core.faces.face import Face
from fsgan_core.plates.plate import Plate, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Vector
from fsgan_core.stages import warp_points
from fsgan_core.stages.features.openings import OpeningPicture
from fsgan_core.stages.image_ops import (
    BLUR_REACH,
    HALF_COVERED,
    align_window,
    blur_weighted,
    fill_nonfinite,
    find_used_window,
    mark_plate_area,
    smoothstep,
    stack_planes,
    unpremultiply,
)
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.masking import draw_hull, make_face_raster
from fsgan_core.stages.occluders.glasses import Stems, detect_glasses, draw_arm_zone, find_stems
from fsgan_core.stages.skin.atlas import push_pull

MARKED = 0.05  # matte value from which on a pixel is not taken to fill its surroundings
REACH = 0.15  # what is farther away does not fill arms
# Of the way across an arm, in which what is above passes into what is below; the top of an ear lies below its arm.
DISSOLVE_RANGE = (0.5, 0.9)
MIN_MATTE = 1e-6  # that a matte is divided by
TEXTURE_SIGMA = 0.01  # what is finer is mirrored, what is coarser goes on evenly
ARM_MARGIN = 9  # pixels: side of the square by which arms are grown, up to where the mask may take a little


def replace_arms(frame: FaceFrame, reenacted: Plate, face_matte: Matte) -> tuple[OpeningPicture | None, Matte]:
    """Fill what is behind the target's arms of glasses, or keep them for a new face that wears glasses.

    Args:
        frame: The target's frame.
        reenacted: The new face.
        face_matte: The face that is wanted, and the arms.

    Returns:
        The plate without arms in perceptual steps, and where it shows (None if there are no arms); how much of the
        plate stays as it is.
    """
    stems = find_replaced_arms(frame, face_matte)
    if stems is None:
        return None, np.zeros_like(face_matte)
    behind = fill_behind_arms(frame, face_matte, stems)
    return behind, measure_new_glasses(frame, reenacted) * np.maximum(stems.arms, behind.matte)


def find_replaced_arms(frame: FaceFrame, face_matte: Matte) -> Stems | None:
    """Find the arms of glasses that the mask takes beyond the face, and the rims; None if it takes none.

    Args:
        frame: The target's frame.
        face_matte: The face that is wanted, and the arms.
    """
    face, region, aspect = frame.face, frame.region, frame.pixel_aspect
    hull = draw_hull(face, region, aspect, 1.0)
    width = warp_points.measure_face_width(face.landmarks, aspect)
    zone = draw_arm_zone(face.landmarks, _measure_up(face, aspect), width, region)
    if not ((face_matte > 0) & (hull == 0) & (zone > 0)).any():
        return None
    inside = mark_plate_area(frame.plate, region)
    sight = make_face_raster(frame.display, face, hull, inside, region, aspect)
    stems = find_stems(sight, detect_glasses(sight))
    return None if stems is None else stems.resize(region)


def _measure_up(face: Face, aspect: float) -> Vector:
    """The head's up direction, (2,), so that one step is a row of an upright head."""
    roll = np.radians(face.euler[2])
    return np.array([np.sin(roll) / aspect, -np.cos(roll)])


def measure_new_glasses(frame: FaceFrame, reenacted: Plate) -> np.float32:
    """Measure how surely the new face wears glasses, 0..1: then the target's arms fit its frame."""
    part = find_used_window(reenacted.get_matte("A"), frame.region, 0)
    if part.empty:
        return np.float32(0)
    rgb, alpha = unpremultiply(reenacted.crop(part))
    display = frame.codec.encode(fill_nonfinite(rgb))
    hull = draw_hull(frame.face, part, frame.pixel_aspect, 1.0)
    sight = make_face_raster(display, frame.face, hull, alpha, part, frame.pixel_aspect)
    return np.float32(detect_glasses(sight))


def fill_behind_arms(frame: FaceFrame, face_matte: Matte, stems: Stems) -> OpeningPicture:
    """Fill what is behind glasses at the temples: hair, an ear, the background, skin at the soft edge of the face.

    Args:
        frame: The target's frame.
        face_matte: The face that is wanted, and the arms.
        stems: `find_replaced_arms`.

    Returns:
        The plate without arms in perceptual steps, and where it shows.
    """
    aspect, up = frame.pixel_aspect, _measure_up(frame.face, frame.pixel_aspect)
    width = warp_points.measure_face_width(frame.face.landmarks, aspect)
    reach, sigma = REACH * width, max(1.0, TEXTURE_SIGMA * width)
    marked = (stems.matte > MARKED).astype(np.float32)
    # What is mirrored lies up to twice the reach away.
    margin = math.ceil(2 * reach + BLUR_REACH * sigma)
    part = find_used_window(marked, frame.region, margin, math.ceil(margin / aspect))
    if part.empty:  # on few pixels, thin arms vanish
        return OpeningPicture(frame.perceptual, np.zeros_like(face_matte))
    part = align_window(part, frame.region)
    slices = compute_slices(part, frame.region)
    # The mask takes as much of the face as there would be without glasses; beyond the face it takes nothing but arms.
    hidden, wanted = stems.arms[slices] > MARKED, face_matte[slices]
    around = (mark_plate_area(frame.plate, part) > HALF_COVERED) & (marked[slices] == 0)
    own = stack_planes([frame.perceptual[slices], wanted])
    filled = continue_across(own, hidden, around, up, reach, sigma)
    rims = (stems.rims[slices] > MARKED) & ~hidden
    # A rim is thin and runs down, so it is filled from both sides.
    between = push_pull(own, around.astype(np.float32))
    bare = np.where(rims[..., None], between, filled.picture)
    # On the face nothing ends sharply.
    soft = cv2.GaussianBlur(bare, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma)
    hull = draw_hull(frame.face, part, aspect, 1.0)
    bare = np.where(((hidden | rims) & (hull > HALF_COVERED))[..., None], soft, bare)
    near = cv2.dilate((hidden | rims).astype(np.uint8), np.ones((ARM_MARGIN,) * 2, np.uint8)) > 0
    beyond = near & (hull == 0)
    share = np.clip(1 - bare[..., 3] / np.maximum(wanted, MIN_MATTE), 0, 1)
    share = np.maximum(share * (hidden | rims), beyond) * (wanted > 0)
    picture, matte = frame.perceptual.copy(), np.zeros_like(face_matte)
    picture[slices], matte[slices] = bare[..., :3], share * filled.known
    return OpeningPicture(picture, matte)


@dataclass(frozen=True)
class ContinuedPicture:
    """A picture with a part that was made up from its surroundings.

    Attributes:
        picture: (height, width) or (height, width, channels).
        known: Where there was something to go by, or nothing was hidden.
    """

    picture: Image
    known: Mask


def continue_across(
    picture: Image, hidden: Mask, usable: Mask, up: Vector, reach: float, sigma: float
) -> ContinuedPicture:
    """Continue a picture from above and below over what lies across it, with its texture mirrored at the edges.

    Hair and the outlines of an ear run mostly down the head. So unlike a blur, this keeps them sharp.

    Args:
        picture: (height, width) or (height, width, channels).
        hidden: What is replaced.
        usable: What may be taken.
        up: (2,) the head's up direction, in pixels.
        reach: How far away something may be taken, in pixels.
        sigma: Of the blur that parts texture from what goes on evenly, in pixels.
    """
    rows, columns = np.nonzero(hidden & ~usable)
    places = np.stack([columns, rows], -1).astype(np.float64)
    high = np.array(hidden.shape[::-1]) - 1

    def look_up(points: AnyArray) -> Mask:
        x, y = np.clip(np.round(points), 0, high).astype(int).T
        return np.asarray(usable[y, x])

    coarse = blur_weighted(picture, usable.astype(np.float32), sigma)
    edges, mirrors, distances = [], [], []
    for direction in (up, -up):
        distance = np.full(len(places), np.inf)
        left = np.arange(len(places))
        for step in range(1, max(1, round(reach)) + 1):
            reached = look_up(places[left] + step * direction)
            distance[left[reached]] = step
            left = left[~reached]
        step_to_edge = np.where(np.isinf(distance), 0, distance)[:, None] * direction
        edges.append(places + step_to_edge)
        mirrored = places + 2 * step_to_edge - direction
        mirrors.append(np.where(look_up(mirrored)[:, None], mirrored, edges[-1]))
        distances.append(distance)
    result, known = picture.copy(), np.ones(hidden.shape, bool)
    if not len(places):
        return ContinuedPicture(result, known)

    def take(image: Image, points: list[AnyArray]) -> Image:
        where = np.moveaxis(np.asarray(points), -1, 0)[::-1]  # cv2.remap takes at most 32,766 points in a row
        planes = [
            map_coordinates(plane, where, order=1, mode="nearest") for plane in np.atleast_3d(image).transpose(2, 0, 1)
        ]
        return np.stack(planes, -1).reshape(2, len(places), *picture.shape[2:])

    above, below = take(coarse, edges) + take(picture - coarse, mirrors)
    up_way, down_way = (np.minimum(distance, 1e6) for distance in distances)
    low, far = DISSOLVE_RANGE
    share = smoothstep((up_way / (up_way + down_way) - low) / (far - low)).astype(np.float32)
    share = share.reshape(-1, *(1,) * (picture.ndim - 2))
    result[rows, columns] = above + share * (below - above)
    known[rows, columns] = np.isfinite(distances).any(0)
    return ContinuedPicture(result, known)
