"""Mask, engine `fsgan`: the segmentation network says what is face, hair and neither.

Published: the face is where its class scores highest, the scores averaged over five frames. Here the scores of
neighbouring frames are carried along with the face before they are averaged, and compared on the plate's own pixels,
so that the outline is as fine as the plate. What else in the crop the network calls face (a neighbour's) is left out:
it lies too far from the landmarks' outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_FACE, MATTE_GLASSES, MATTE_HAIR, MATTE_MOUTH, MATTE_OCCLUSION, MATTES
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.face import Face
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Image, Mask, Matte
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import HALF_COVERED, draw_polygon, stack_planes, to_display
from fsgan_core.stages.interface import FaceFrame, Networks
from fsgan_core.stages.masking import (
    add_texture,
    average_mattes,
    draw_hull,
    draw_kept_glasses,
    draw_mouth,
    finish_mask,
    measure_glasses,
    put_hands_in_front,
)
from fsgan_core.stages.neural.fsgan_crop import Crop, compute_face_crop, mark_crop_area, paste_crop
from fsgan_core.stages.neural.fsgan_network import (
    crop_for_network,
    get_network,
    get_working_size,
    run_network,
    to_network_planes,
)
from fsgan_core.stages.occluders.beard import draw_beard_zone
from fsgan_core.stages.occluders.hands import add_hands, measure_hand_mattes

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network

CLASS_BACKGROUND, CLASS_FACE, CLASS_HAIR = range(3)  # published classes
SCORE_CHANNELS = ("score.background", "score.face", "score.hair")
OUTSIDE_SCORES = (4.0, -4.0, -4.0)  # scores where the network sees nothing: it is not face
HOLE_SHARE = 10 / 256  # of the crop: holes in the face up to this wide are closed, as the published erosion does
OUTLINE_SIGMA, MIN_OUTLINE_SIGMA = 0.6, 0.5  # softness of the outline: working pixels; plate pixels
NEAR_OUTLINE, FAR_OUTLINE = (
    0.12,
    0.22,
)  # of the face: beyond the landmarks' outline, surely and at most
HAIRLINE_SOFTNESS = 0.01  # of the face
HAIRLINE_REACH = 3  # of the face: how far beside and below it the area below the hairline is drawn


@dataclass(frozen=True)
class FsganMask:
    """The published segmentation network. networks: "mask"."""

    networks: Networks

    def measure_mattes(self, frame: FaceFrame, *, params: MaskParams) -> Plate:
        """Measures the mattes of one frame by itself (see `interface.MaskEngine`).

        Further channels: the network's scores score.background, score.face, score.hair; and matte.glasses, the frames
        of glasses that are to be kept.

        Raises:
            EngineError: There is no segmentation network.
        """
        target, face, region, codec = frame.plate, frame.face, frame.region, frame.codec
        aspect = target.pixel_aspect
        network = get_network(self.networks, "mask")
        crop = compute_face_crop(face, network.info.crop, get_working_size(network, params.resolution), aspect)
        scores = compute_scores(network, crop_for_network(target, crop, codec), crop, region)

        display = to_display(target, region, codec)
        hull = draw_hull(face, region, aspect, 1.0)
        glasses = draw_kept_glasses(frame, display, measure_glasses(frame, params))[0] if params.keep_glasses else None
        frames = np.zeros_like(hull) if glasses is None else glasses * hull
        mattes = _make_mattes(scores, frames, face, region, crop, params)
        pixels = np.dstack([*(mattes[name] for name in MATTES), scores, frames]).astype(np.float32)
        channels = (*MATTES, *SCORE_CHANNELS, MATTE_GLASSES)
        measured = Plate(pixels, channels, region, target.display_window, aspect)
        if params.hands:
            measured = add_hands(measured, measure_hand_mattes(frame, display, hull), hull, params.occlusions)
        return add_texture(frame, measured, display)

    def combine_mattes(
        self, frame: FaceFrame, *, neighbours: Sequence[tuple[Face, Plate]], params: MaskParams
    ) -> Plate:
        """Combines what `measure_mattes` gave for neighbouring frames (see `interface.MaskEngine`)."""
        face, region, aspect = frame.face, frame.region, frame.pixel_aspect
        network = get_network(self.networks, "mask")
        crop = compute_face_crop(face, network.info.crop, get_working_size(network, params.resolution), aspect)
        mean = average_mattes(frame, neighbours, params, (*SCORE_CHANNELS, MATTE_GLASSES))
        scores = stack_planes([mean[name] for name in SCORE_CHANNELS])
        mattes = _make_mattes(scores, mean[MATTE_GLASSES], face, region, crop, params)
        return finish_mask(frame, put_hands_in_front(frame, mattes, neighbours, params), neighbours, params)


def compute_scores(network: Network, picture: Image, crop: Crop, region: Window) -> Image:
    """Compute the network's class scores on a region.

    Args:
        network: The segmentation network.
        picture: (size, size, 3) the crop's picture, 0..1.
        crop: The crop.
        region: The part of the plate that is wanted.

    Returns:
        (height, width, 3) scores of background, face and hair.
    """
    scores = run_network(network, to_network_planes(picture)[None])[0][0]
    there = mark_crop_area(crop, region)[..., None] >= 0.5
    return np.where(
        there, paste_crop(np.moveaxis(scores, 0, -1), crop, region, "cubic"), np.array(OUTSIDE_SCORES, np.float32)
    )


def extract_class_matte(scores: Image, label: int, pixel: float, aspect: float) -> Matte:
    """Mark where one class scores highest, with a soft outline.

    Args:
        scores: (height, width, classes).
        label: The class.
        pixel: Height of one of the network's pixels, in plate rows; the outline is about that soft.
        aspect: Width of the plate's pixels over their height.
    """
    return _soften_outline(mark_class(scores, label), pixel, aspect)


def mark_class(scores: Image, label: int) -> Matte:
    """Mark where one class of `scores` (height, width, classes) scores highest: 1 there, 0 elsewhere."""
    others = [k for k in range(scores.shape[-1]) if k != label]
    return np.asarray(scores[..., label] > scores[..., others].max(-1), np.float32)


def close_holes(matte: Matte, size: float) -> Matte:
    """Close the holes of a matte (0 or 1) that are at most `size` pixels wide."""
    empty = (matte < HALF_COVERED).astype(np.uint8)
    count, label_image = cv2.connectedComponents(empty, connectivity=4)
    labels = np.asarray(label_image, np.intp)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    # Half the width of each part at its widest place.
    reach = np.zeros(count)
    np.maximum.at(reach, labels, cv2.distanceTransform(empty, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
    is_hole: Mask = 2 * reach - 1 <= size
    is_hole[[0, *border]] = False  # label 0 is the matte itself
    closed: Matte = np.where(is_hole[labels], np.float32(1), matte)
    return closed


def _soften_outline(matte: Matte, pixel: float, aspect: float) -> Matte:
    sigma = max(MIN_OUTLINE_SIGMA, OUTLINE_SIGMA * pixel)
    return np.asarray(cv2.GaussianBlur(matte, (0, 0), sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE))


def _make_mattes(
    scores: Image, frames: Matte, face: Face, region: Window, crop: Crop, params: MaskParams
) -> dict[str, Matte]:
    """All mattes of one moment, from class scores and frames of glasses."""
    aspect = crop.aspect
    width = warp_points.measure_face_width(face.landmarks, aspect)
    hull = draw_hull(face, region, aspect, 1.0)
    marked, hair = mark_class(scores, CLASS_FACE), mark_class(scores, CLASS_HAIR)
    if params.as_published:  # the hard face, wherever it is
        return {
            MATTE_FACE: marked,
            MATTE_HAIR: hair,
            MATTE_MOUTH: draw_mouth(face, region, width, aspect),
            MATTE_OCCLUSION: np.asarray((1 - marked - hair) * hull, np.float32),
        }
    own = _mark_near_hull(hull, width)
    marked = close_holes(marked, HOLE_SHARE * crop.height)
    skin, hair = (_soften_outline(one, crop.pixel_height, aspect) for one in (marked, hair * (1 - marked)))
    occlusion = np.maximum(np.clip(1 - skin - hair, 0, 1) * hull, frames)
    matte = skin * own
    # What is not skin is removed only as far as the parameters say.
    matte = np.maximum(matte, hull * np.clip((1 - params.refine) * hair + (1 - params.occlusions) * occlusion, 0, 1))
    if params.forehead < 1:
        matte = matte * _mark_below_hairline(face, region, params.forehead, width, aspect)
    if params.beard == "keep":
        matte = matte * (1 - draw_beard_zone(face.get_mesh(aspect)[:, :2], region, width))
    mattes = {
        MATTE_FACE: matte,
        MATTE_HAIR: hair,
        MATTE_MOUTH: draw_mouth(face, region, width, aspect),
        MATTE_OCCLUSION: occlusion,
        MATTE_GLASSES: frames,
    }
    return {name: np.asarray(np.clip(value, 0, 1), np.float32) for name, value in mattes.items()}


def _mark_near_hull(hull: Matte, width: float) -> Matte:
    """1 up to NEAR_OUTLINE from the outline, 0 beyond FAR_OUTLINE."""
    distance = cv2.distanceTransform((hull < 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    result: Matte = np.clip((FAR_OUTLINE * width - distance) / ((FAR_OUTLINE - NEAR_OUTLINE) * width), 0, 1)
    return result


def _mark_below_hairline(face: Face, region: Window, forehead: float, width: float, aspect: float) -> Matte:
    """1 below the hairline (lowered by `forehead`), 0 above, with a soft edge."""
    hairline = warp_points.locate_forehead(face.landmarks, aspect, forehead)[0] * (aspect, 1.0)
    roll = np.radians(face.euler[2])
    across, up = np.array([np.cos(roll), np.sin(roll)]), np.array([np.sin(roll), -np.cos(roll)])
    # Temple to temple, on outwards, and down around the face.
    reach = HAIRLINE_REACH * width
    ends = hairline[0] - reach * across, hairline[-1] + reach * across
    shape = np.vstack([ends[0], hairline, ends[1], ends[1] - reach * up, ends[0] - reach * up]) / (aspect, 1.0)
    below = draw_polygon(shape, region, feather=HAIRLINE_SOFTNESS * width)
    return np.maximum(below, draw_hull(face, region, aspect, forehead))
