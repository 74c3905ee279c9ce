"""Mask, engine `fsgan`: the segmentation network says what is face, hair and neither.

Published: the face is where its class scores highest, the scores averaged over five frames. Here the scores of
neighbouring frames are carried along with the face before they are averaged, and compared on the plate's own pixels,
so that the outline is as fine as the plate. What else in the crop the network calls face (a neighbour's) is left out:
it lies too far from the landmarks' outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_FACE, MATTE_HAIR, MATTE_MOUTH, MATTE_OCCLUSION, MATTES
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages import warp_points
from fsgan_core.stages.fsgan_crop import Crop, covered, crop_of, paste
from fsgan_core.stages.fsgan_network import network_of, planes, run, seen, working_size
from fsgan_core.stages.image_ops import display_of, inside_of, polygon_matte
from fsgan_core.stages.mask import META_TEXTURE, averaged, finished, hull_of, look, mouth_of, texture_text
from fsgan_core.stages.occlusion import glasses, wears_glasses
from fsgan_core.stages.plate_match import measure_texture

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network

BACKGROUND, FACE, HAIR = range(3)  # published classes
SCORES = ("score.background", "score.face", "score.hair")
GLASSES = "matte.glasses"
BEYOND = (4.0, -4.0, -4.0)  # scores where the network sees nothing: it is not face
SOFT = 0.6  # of the working pixels: sigma of the outline's softness, about what the network can tell
NEAR, FAR = 0.12, 0.22  # of the face: a face may go on so far beyond the landmarks' outline


def measure_mattes(target: Plate, face: Face, region: Window, codec: Codec, params: MaskParams, *,
                   networks: Mapping[str, Network]) -> Plate:
    """The mattes of one frame by itself, as `mask.measure_mattes`, and the network's scores on the region:
    score.background, score.face, score.hair; matte.glasses: frames of glasses that are to be kept. Raises
    EngineError."""
    aspect = target.pixel_aspect
    network = network_of(networks, "mask")
    crop = crop_of(face, network.weight.crop, working_size(network, params.resolution), aspect)
    scores = scores_of(network, seen(target, crop, codec), crop, region)

    display = display_of(target, region, codec)
    width = warp_points.face_width(face.landmarks, aspect)
    inside = inside_of(target, region)
    hull = hull_of(face, region, aspect, 1.0)
    frames = np.zeros_like(hull)
    if params.keep_glasses:
        worn = wears_glasses(look(display, face, hull, inside, region, aspect))
        if worn > 0:
            frames = np.float32(worn) * glasses(display, face.landmarks, region, width, aspect) * hull
    mattes = _labelled(scores, frames, face, region, crop.pixel, params, aspect)
    texture = measure_texture(display, mattes[MATTE_FACE] * (1 - mattes[MATTE_MOUTH]) * inside, width)
    pixels = np.dstack([*(mattes[name] for name in MATTES), scores, frames]).astype(np.float32)
    return Plate(pixels, (*MATTES, *SCORES, GLASSES), region, target.display_window, aspect,
                 {META_TEXTURE: texture_text(texture)})


def combine_mattes(face: Face, region: Window, neighbours: Sequence[tuple[Face, Plate]], params: MaskParams,
                   inside: Plate, holdout: np.ndarray | None = None, *, networks: Mapping[str, Network]) -> Plate:
    """The mask of a frame, as `mask.combine_mattes`, from what `measure_mattes` gave for it and its neighbours."""
    aspect = inside.pixel_aspect
    network = network_of(networks, "mask")
    crop = crop_of(face, network.weight.crop, working_size(network, params.resolution), aspect)
    mean = averaged(face, region, neighbours, params, aspect)
    first = len(MATTES)
    mattes = _labelled(mean[..., first:first + 3], mean[..., first + 3], face, region, crop.pixel, params, aspect)
    return finished(mattes, face, region, neighbours, params, inside, holdout)


def scores_of(network: Network, picture: np.ndarray, crop: Crop, region: Window) -> np.ndarray:
    """float32 (h, w, 3): the network's class scores for a crop's `picture` (size, size, 3), 0..1, on the region."""
    scores = run(network, planes(picture)[None])[0][0]
    there = covered(crop, region)[..., None] >= 0.5
    return np.where(there, paste(np.moveaxis(scores, 0, -1), crop, region, "cubic"), np.array(BEYOND, np.float32))


def label_matte(scores: np.ndarray, label: int, pixel: float, aspect: float) -> np.ndarray:
    """float32 (h, w), 0..1: where `label` scores highest, its outline as soft as a working pixel (`pixel` plate rows)
    is wide."""
    others = [k for k in range(scores.shape[-1]) if k != label]
    matte = (scores[..., label] > scores[..., others].max(-1)).astype(np.float32)
    sigma = max(0.5, SOFT * pixel)
    return cv2.GaussianBlur(matte, (0, 0), sigma / aspect, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE)


def _labelled(scores: np.ndarray, frames: np.ndarray, face: Face, region: Window, pixel: float, params: MaskParams,
              aspect: float) -> dict[str, np.ndarray]:
    """All mattes of one moment, from scores (h, w, 3) and frames of glasses (h, w)."""
    width = warp_points.face_width(face.landmarks, aspect)
    hull = hull_of(face, region, aspect, 1.0)
    own = _around(hull, width)
    skin, hair = (label_matte(scores, label, pixel, aspect) for label in (FACE, HAIR))
    occlusion = np.maximum(np.clip(1 - skin - hair, 0, 1) * hull, frames)
    matte = skin * own * (1 - params.occlusions * frames)
    # What is not skin is taken out only as far as the artist wants.
    matte = np.maximum(matte, hull * np.clip((1 - params.refine) * hair + (1 - params.occlusions) * occlusion, 0, 1))
    if params.forehead < 1:
        matte = matte * _below(face, region, params.forehead, width, aspect)
    mattes = {MATTE_FACE: matte, MATTE_HAIR: hair, MATTE_MOUTH: mouth_of(face, region, width),
              MATTE_OCCLUSION: occlusion}
    return {name: np.asarray(np.clip(value, 0, 1), np.float32) for name, value in mattes.items()}


def _around(hull: np.ndarray, width: float) -> np.ndarray:
    """1 within NEAR of the outline, 0 beyond FAR."""
    distance = cv2.distanceTransform((hull < 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip((FAR * width - distance) / ((FAR - NEAR) * width), 0, 1)


def _below(face: Face, region: Window, forehead: float, width: float, aspect: float) -> np.ndarray:
    """1 below the hairline (or what `forehead` makes of it), soft by a hundredth of the face, 0 above."""
    hairline = warp_points.forehead(face.landmarks, aspect, forehead)[0] * (aspect, 1.0)
    roll = np.radians(face.euler[2])
    across, up = np.array([np.cos(roll), np.sin(roll)]), np.array([np.sin(roll), -np.cos(roll)])
    # Temple to temple, on outwards, and down around the face.
    reach = 3 * width
    ends = hairline[0] - reach * across, hairline[-1] + reach * across
    shape = np.vstack([ends[0], hairline, ends[1], ends[1] - reach * up, ends[0] - reach * up]) / (aspect, 1.0)
    return np.maximum(polygon_matte(shape, region, feather=0.01 * width), hull_of(face, region, aspect, forehead))
