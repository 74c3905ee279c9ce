"""What the four neural engines share: what a network sees, what it answers, and both ways between that and the plate.

A network sees sRGB values at the codec's exposure, clipped to 0..1 and mapped to -1..1 (R, G, B, as published), and
answers in the same way: the codec without its shoulder, so that white and bright skin are what it was trained on. What
it changes is added to the plate in perceptual steps (`image_ops.to_perceptual`), so values outside 0..1 stay as they
are wherever nothing changes.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.contract.landmarks import LANDMARK_COUNT
from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.landmarks_wflw import WFLW_COUNT, carry_points, from_ibug
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import AnyArray, Image, Mask, Matte, Points
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    clip01,
    mark_plate_area,
    to_display,
    to_perceptual,
    to_scene_linear,
)
from fsgan_core.stages.masking import extract_outline
from fsgan_core.stages.neural.erosion import EROSION_KERNEL, erode_softly
from fsgan_core.stages.neural.fsgan_crop import Crop, cut_crop, paste_crop

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network

log = logging.getLogger(__name__)

PUBLISHED_SIZE = 256  # pixels of the crop that EROSION_KERNEL is given for
# Shares of a crop's pixel that the picture covers.
MIN_SHOWN = 0.5  # from here on it counts as shown
MIN_COLOUR_SHARE = 0.02  # below this its colour is unknown
SHARP_SHARE, SHARP_TOLERANCE = 0.9, 0.1  # covered enough for a sharp filter, whose own share is this close to 1
FADE_PIXELS = 4  # of the crop: a change fades over so many to the crop's edge
CHANGE_SIGMA = 2.0  # pixels of the crop: how smoothly a change goes on where the network was shown nothing
MIN_WEIGHT, MIN_COVER = 1e-3, 1e-6  # least weights that are divided by


def get_network(networks: Mapping[str, Network], role: str) -> Network:
    """Return the network of a role.

    Raises:
        EngineError: There is none.
    """
    if role not in networks:
        raise EngineError(
            f"the engine 'fsgan' has no network for {role}; choose weights with {role}.network, or another engine"
        )
    return networks[role]


def get_working_size(network: Network, resolution: int) -> int:
    """Return the side of the network's picture in pixels: `resolution`, or the size it was trained at if that is 0."""
    return resolution or network.info.resolution


def run_network(network: Network, batch: AnyArray) -> tuple[AnyArray, ...]:
    """Run a network.

    Args:
        network: The network.
        batch: float32 (n, channels, height, width).

    Returns:
        Its outputs, float32 (n, channels, height, width) each.

    Raises:
        EngineError: An answer has NaN or infinity.
    """
    import torch

    answer: Any = network.runner.run(torch.from_numpy(np.ascontiguousarray(batch, np.float32)))
    outputs = tuple(one.detach().float().cpu().numpy() for one in (answer if isinstance(answer, tuple) else (answer,)))
    if not all(np.isfinite(one).all() for one in outputs):
        raise EngineError(
            f"the weights {network.info.name} answered with NaN or infinity; set weights.precision to "
            "fp32, or check the file with `fsgan weights verify`"
        )
    return outputs


def pack_half_maps(maps: AnyArray) -> AnyArray:
    """Pack maps of half size into planes of full size, four into one, as generators take them (`res_unet`).

    Args:
        maps: float32 (n, height, width).

    Returns:
        float32 (n / 4 rounded up, 2 height, 2 width).
    """
    count, height, width = maps.shape
    packed = np.zeros((-(-count // 4), 2, 2, height, width), np.float32)
    packed.reshape(-1, height, width)[:count] = maps
    return packed.transpose(0, 3, 1, 4, 2).reshape(-1, 2 * height, 2 * width)


def to_network_planes(picture: Image) -> AnyArray:
    """Convert a picture, 0..1, to a network's input: float32 (channels, height, width), -1..1."""
    return np.asarray(np.moveaxis(2 * np.clip(picture, 0, 1) - 1, -1, 0), np.float32)


def from_network_planes(answer: AnyArray) -> Image:
    """Convert a network's answer to a picture: the inverse of `to_network_planes`."""
    return np.ascontiguousarray(np.moveaxis(answer, 0, -1) * np.float32(0.5) + np.float32(0.5))


def crop_for_network(plate: Plate, crop: Crop, codec: Codec) -> Image:
    """Cut a plate's crop as a network sees it: (size, size, 3), 0..1, black where the plate has no pixels."""
    window = crop.window()
    display = (
        np.clip(to_display(plate, window, codec.without_shoulder()), 0, 1) * mark_plate_area(plate, window)[..., None]
    )
    return np.clip(cut_crop(display, window, crop), 0, 1)


def normalise_landmarks(face: Face, goal: AnyArray, network: Network, crop: Crop) -> Points:
    """Convert goal landmarks to the points that the network was trained on.

    Args:
        face: The face, for its 98 landmarks.
        goal: (68, 2) plate coordinates.
        network: The network.
        crop: The crop.

    Returns:
        (68 or 98, 2), 0..1 from the crop's upper left edge.

    Raises:
        EngineError: The weights take neither 68 nor 98 landmarks.
    """
    count = network.info.landmarks
    if count == LANDMARK_COUNT:
        return crop.normalise_points(goal)
    if count != WFLW_COUNT:
        raise EngineError(
            f"the weights {network.info.name} do not say whether they take 68 landmarks or 98; import "
            "them again with `fsgan weights import`"
        )
    if face.wflw is None:
        _warn_estimated_landmarks(network.info.name)
        return crop.normalise_points(from_ibug(goal))
    return crop.normalise_points(carry_points(face.wflw, face.landmarks, goal))


@functools.cache
def _warn_estimated_landmarks(name: str) -> None:
    log.warning(
        "%s was trained on 98 landmarks and the track has 68: the others are estimated; analyse with "
        "landmarks = hrnet for better ones",
        name,
    )


def cut_masked_crop(picture: Image, alpha: Matte, window: Window, crop: Crop) -> tuple[Image, Matte]:
    """Cut a crop of straight colour that exists only where `alpha` does, without colour from beside it.

    Args:
        picture: (height, width, 3) straight colour on `window`.
        alpha: Where it exists.
        window: Plate coordinates of the picture.
        crop: The crop.

    Returns:
        The crops (size, size, 3) of the colour and (size, size) of alpha.
    """
    weight = alpha[..., None]
    soft = cut_crop(alpha, window, crop, "linear")
    safe = np.maximum(soft, MIN_COVER)[..., None]
    mixed = cut_crop(picture * weight, window, crop, "linear") / safe
    sharp = cut_crop(alpha, window, crop)
    whole = (soft > SHARP_SHARE) & (np.abs(sharp - 1) < SHARP_TOLERANCE)
    mixed[whole] = cut_crop(picture * weight, window, crop)[whole] / sharp[whole, None]
    return np.where(soft[..., None] > MIN_COLOUR_SHARE, mixed, 0).astype(np.float32), np.clip(soft, 0, 1)


def compute_network_mattes(
    network: Network, mattes: Plate, holdout: Matte | None, crop: Crop, as_published: bool
) -> tuple[Matte, Matte]:
    """Compute the soft and the hard matte of the target's face that completion and blending work with.

    They come from the face's outline by the published soft erosion; the feather of the mask plays no part. As
    published, the networks of version 1 work with the outline itself.

    Args:
        network: Of the stage.
        mattes: The mask of the target.
        holdout: 1 where the plate stays as it is, or None; on the mask's window.
        crop: The crop.
        as_published: The stage's parameter.

    Returns:
        Both (size, size); the hard one is 0 or 1.
    """
    outline = extract_outline(mattes)
    if holdout is not None:
        outline = outline * (clip01(holdout) < HALF_COVERED)
    outline = np.clip(cut_crop(outline, mattes.data_window, crop, "linear"), 0, 1)
    if as_published and network.info.version == 1:
        hard = (outline >= HALF_COVERED).astype(np.float32)
        return hard, hard
    kernel = 2 * round((EROSION_KERNEL - 1) / 2 * crop.size / PUBLISHED_SIZE) + 1
    return erode_softly(outline, max(3, kernel))


def display_to_perceptual(display: Image, codec: Codec) -> Image:
    """Convert a network's values to the steps of `image_ops.to_perceptual`."""
    return to_perceptual(codec.without_shoulder().decode(display), codec.exposure)


def perceptual_to_display(picture: Image, codec: Codec) -> Image:
    """Convert perceptual steps to what a network sees, 0..1."""
    return np.clip(codec.without_shoulder().encode(to_scene_linear(picture, codec.exposure)), 0, 1)


def upscale_change(before: Image, after: Image, known: Mask, crop: Crop, window: Window, codec: Codec) -> Image:
    """Bring what a network changed to the plate's resolution.

    Args:
        before: (size, size, 3) what it was shown, 0..1.
        after: (size, size, 3) its answer, 0..1.
        known: (size, size) where it was shown something; elsewhere the change is continued.
        crop: The crop.
        window: The part of the plate that is wanted.
        codec: The plate's codec.

    Returns:
        The change in perceptual steps, 0 from the crop's edge on.
    """
    difference = display_to_perceptual(after, codec) - display_to_perceptual(before, codec)
    weight = known.astype(np.float32)
    if not weight.all():
        around = cv2.GaussianBlur(difference * weight[..., None], (0, 0), CHANGE_SIGMA)
        total = cv2.GaussianBlur(weight, (0, 0), CHANGE_SIGMA)[..., None]
        difference = np.where(weight[..., None] > 0, difference, around / np.maximum(total, MIN_WEIGHT))
    return paste_crop(difference, crop, window) * compute_edge_fade(crop, window)[..., None]


def compute_edge_fade(crop: Crop, window: Window) -> Matte:
    """Compute a fade: 0 at the crop's edge and beyond, 1 from FADE_PIXELS of its pixels inside."""
    x, y = np.arange(window.width) + window.x, np.arange(window.height) + window.y
    across = np.minimum(x - crop.left, crop.left + crop.width - x) / (FADE_PIXELS * crop.width / crop.size)
    down = np.minimum(y - crop.top, crop.top + crop.height - y) / (FADE_PIXELS * crop.height / crop.size)
    result: Matte = (np.clip(down, 0, 1)[:, None] * np.clip(across, 0, 1)[None, :]).astype(np.float32)
    return result
