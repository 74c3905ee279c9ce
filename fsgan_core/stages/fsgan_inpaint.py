"""Inpainting, engine `fsgan`: the network completes the face.

Published: the reenacted face, everything else of the picture at -1, and the hard matte of the target's face go through
Gc, whose answer is the completed face. Here the picture keeps the plate's resolution: where there was a face already,
what the network changed is brought up and added to it; where there was none, its answer itself. At the network's own
raster the two are the published result. As published, the answer counts inside the hard matte alone; the soft matte's
edge beyond it is the picture's own, or a smooth continuation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.contract.params import InpaintParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.stages.fsgan_crop import covered, crop_of, paste
from fsgan_core.stages.fsgan_network import (
    SHOWN,
    change,
    hard_matte,
    limited,
    network_of,
    perceptual,
    picture_of,
    planes,
    run,
    shown_in,
    working_size,
)
from fsgan_core.stages.image_ops import cleaned, perceived, scene, straight
from fsgan_core.stages.inpaint import CONFIDENT, as_plate, dark_parts, extended, gathered, wanted_of

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network

CORE_EDGE = 1.5  # of the network's pixels: over so much its answer gives way to the picture, inside the hard matte


def inpaint(reenacted: Plate, mattes: Plate, others: Callable[[], Iterable[Plate]], codec: Codec,
            params: InpaintParams, holdout: np.ndarray | None = None, face: Face | None = None, *,
            networks: Mapping[str, Network]) -> Plate:
    """The completed face, as `inpaint.inpaint`. face: the target's, which says where the crop is. Raises EngineError.

    A picture that shows nothing at all is completed too. What is wanted beyond the crop is a smooth continuation.
    """
    if face is None:
        raise EngineError("inpaint.engine = fsgan needs the target's face")
    network = network_of(networks, "inpaint")
    region = reenacted.data_window
    crop = crop_of(face, network.weight.crop, working_size(network, params.resolution), reenacted.pixel_aspect)
    rgb, alpha = straight(reenacted)
    wanted, needed = wanted_of(mattes, holdout)
    picture = perceived(cleaned(rgb), codec.exposure)
    picture, shown = gathered(picture, alpha, needed, others, codec, params, dark_parts(face, reenacted))

    display = np.clip(codec.encode(scene(picture, codec.exposure)), 0, 1)
    before, known = shown_in(display, shown, region, crop)
    before = np.clip(before, 0, 1)
    given = np.where((known >= SHOWN)[..., None], before, 0)
    hard = hard_matte(wanted, region, crop)
    after = picture_of(run(network, np.concatenate([planes(given), hard[None]])[None])[0][0])
    after = limited(np.clip(after, 0, 1), before)

    drawn = perceptual(after, codec)
    core = np.clip(paste(cv2.GaussianBlur(hard, (0, 0), CORE_EDGE), crop, region, "linear"), 0, 1)
    core = np.clip(2 * core - 1, 0, 1) * covered(crop, region)  # 0 at the hard matte's edge
    changed = picture + core[..., None] * change(before, after, (known >= SHOWN) & (hard > 0), crop, region, codec)
    drawn = np.clip(paste(drawn, crop, region), drawn.min(), drawn.max())
    # What is less than half shown the network did not see: it counts as not being there.
    missing = 1 - np.clip((shown - SHOWN) / (1 - SHOWN), 0, 1)
    picture = changed + (missing * (core > 0))[..., None] * (drawn - changed)
    filled = np.maximum(shown, core)
    if (filled > CONFIDENT).any():
        picture = extended(picture, filled, needed)
    return as_plate(picture, alpha, wanted, needed, codec, reenacted)
