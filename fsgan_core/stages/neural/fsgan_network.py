"""What the four neural engines share: what a network sees, what it says, and both ways between that and the plate.

A network sees the codec's display-like values, clipped to 0..1 and brought to -1..1 (RGB, as published). It answers
likewise. What it changes is added to the plate in perceptual steps (`picture.perceived`), in which a highlight weighs
no more than it is seen; so what lies outside 0..1 stays where nothing is changed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.faces.landmarks_wflw import carry_points, from_ibug
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages.image_ops import mark_plate_area, to_display, to_perceptual
from fsgan_core.stages.neural.erosion import EROSION_KERNEL, erode_softly
from fsgan_core.stages.neural.fsgan_crop import Crop, cut_crop, paste_crop

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network

log = logging.getLogger(__name__)

WHITE_DISPLAY = 0.88  # display value of scene-linear 1
MIN_SHOWN = 0.5  # share of a crop's pixel from which on it counts as shown
MIN_COLOUR_SHARE = 0.02  # share below which a pixel's colour cannot be told
FADE_PIXELS = 4  # of the crop's pixels: a change ends so far from the crop's edge


def get_network(networks: Mapping[str, Network], role: str) -> Network:
    """The network of a role. Raises EngineError."""
    if role not in networks:
        raise EngineError(
            f"an engine 'fsgan' was given no network for {role}; choose weights with {role}.network, or another engine"
        )
    return networks[role]


def get_working_size(network: Network, resolution: int) -> int:
    """Pixels along a side of the network's picture: the parameter `resolution`; where that is 0, as it was trained."""
    return resolution or network.info.resolution


def run_network(network: Network, batch: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outputs, float32 (n, c, h, w) each, for `batch` float32 (n, c, h, w). Raises EngineError for an answer that
    is no number."""
    import torch

    answer: Any = network.runner.run(torch.from_numpy(np.ascontiguousarray(batch, np.float32)))
    outputs = tuple(one.detach().float().cpu().numpy() for one in (answer if isinstance(answer, tuple) else (answer,)))
    if not all(np.isfinite(one).all() for one in outputs):
        raise EngineError(
            f"the weights {network.info.name} answered with NaN or infinity; set weights.precision to "
            "fp32, or check the file with `fsgan weights verify`"
        )
    return outputs


def to_network_planes(picture: np.ndarray) -> np.ndarray:
    """float32 (c, h, w) as networks take it, -1..1, of a picture (h, w, c), 0..1."""
    return np.asarray(np.moveaxis(2 * np.clip(picture, 0, 1) - 1, -1, 0), np.float32)


def from_network_planes(answer: np.ndarray) -> np.ndarray:
    """float32 (h, w, c), 0..1: the inverse of `planes`."""
    return np.ascontiguousarray(np.moveaxis(answer, 0, -1) * np.float32(0.5) + np.float32(0.5))


def crop_for_network(plate: Plate, crop: Crop, codec: Codec) -> np.ndarray:
    """float32 (size, size, 3), 0..1: the crop of a plate as a network sees it, black where the plate has no pixels."""
    window = crop.window()
    display = np.clip(to_display(plate, window, codec), 0, 1) * mark_plate_area(plate, window)[..., None]
    return np.clip(cut_crop(display, window, crop), 0, 1)


def normalise_landmarks(face: Face, goal: np.ndarray, network: Network, crop: Crop) -> np.ndarray:
    """(68 or 98, 2): the points that the network was trained on, as shares of the crop. Raises EngineError."""
    count = network.info.landmarks
    if count == 68:
        return crop.normalise_points(goal)
    if count != 98:
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


def cut_masked_crop(
    picture: np.ndarray, alpha: np.ndarray, window: Window, crop: Crop
) -> tuple[np.ndarray, np.ndarray]:
    """The crop of straight colour (h, w, 3) that is there only where `alpha` (h, w) is, and of alpha: what lies beside
    does not bleed in."""
    weight = alpha[..., None]
    soft = cut_crop(alpha, window, crop, "linear")
    safe = np.maximum(soft, 1e-6)[..., None]
    mixed = cut_crop(picture * weight, window, crop, "linear") / safe
    sharp = cut_crop(alpha, window, crop)
    whole = (soft > 0.9) & (np.abs(sharp - 1) < 0.1)
    mixed[whole] = cut_crop(picture * weight, window, crop)[whole] / sharp[whole, None]
    return np.where(soft[..., None] > MIN_COLOUR_SHARE, mixed, 0).astype(np.float32), np.clip(soft, 0, 1)


def compute_hard_matte(matte: np.ndarray, window: Window, crop: Crop) -> np.ndarray:
    """float32 (size, size), 0 or 1: the core of a matte (h, w), by the published soft erosion."""
    kernel = 2 * round((EROSION_KERNEL - 1) / 2 * crop.size / 256) + 1
    return erode_softly(np.clip(cut_crop(matte, window, crop, "linear"), 0, 1), max(3, kernel))[1]


def limit_highlights(answer: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """A network's picture, 0..1, no brighter than what it was shown or white: near 1 the codec's curve is so steep that
    the last step of its scale would be a lamp."""
    return np.minimum(answer, max(WHITE_DISPLAY, float(shown.max(initial=0))))


def display_to_perceptual(display: np.ndarray, codec: Codec) -> np.ndarray:
    """Display-like values of the codec in `picture.perceived`'s steps."""
    return to_perceptual(codec.decode(display), codec.exposure)


def upscale_change(
    before: np.ndarray, after: np.ndarray, known: np.ndarray, crop: Crop, window: Window, codec: Codec
) -> np.ndarray:
    """float32 (h, w, 3), perceptual, on `window`: what a network changed. before, after: (size, size, 3), 0..1. known:
    bool (size, size), where it was shown something; beside that the change goes on. It ends at the crop's edge."""
    difference = display_to_perceptual(after, codec) - display_to_perceptual(before, codec)
    weight = known.astype(np.float32)
    if not weight.all():
        around = cv2.GaussianBlur(difference * weight[..., None], (0, 0), 2.0)
        total = cv2.GaussianBlur(weight, (0, 0), 2.0)[..., None]
        difference = np.where(weight[..., None] > 0, difference, around / np.maximum(total, 1e-3))
    return paste_crop(difference, crop, window) * compute_edge_fade(crop, window)[..., None]


def compute_edge_fade(crop: Crop, window: Window) -> np.ndarray:
    """float32 (h, w): 0 at the crop's edge and beyond, 1 from FADE of its pixels inside."""
    x, y = np.arange(window.width) + window.x, np.arange(window.height) + window.y
    across = np.minimum(x - crop.left, crop.left + crop.width - x) / (FADE_PIXELS * crop.width / crop.size)
    down = np.minimum(y - crop.top, crop.top + crop.height - y) / (FADE_PIXELS * crop.height / crop.size)
    return (np.clip(down, 0, 1)[:, None] * np.clip(across, 0, 1)[None, :]).astype(np.float32)
