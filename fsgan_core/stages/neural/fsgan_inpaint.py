"""Inpainting, engine `fsgan`: the network completes the face.

Published: the reenacted face, everything else of the picture at -1, and the hard matte of the target's face go through
Gc, whose answer is the completed face. Here the picture keeps the plate's resolution: where there was a face already,
what the network changed is brought up and added to it; where there was none, its answer itself. At the network's own
raster the two are the published result. As published, the answer counts inside the whole hard matte; around it it
fades into the picture's own, or into a smooth continuation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from fsgan_core.contract.params import InpaintParams
from fsgan_core.plates.plate import Plate
from fsgan_core.runtime.arrays import Matte
from fsgan_core.stages.image_ops import fill_nonfinite, to_perceptual, unpremultiply
from fsgan_core.stages.inpainting import (
    CONFIDENT_SHARE,
    compute_fill_mattes,
    extend_picture,
    gather_views,
    make_completed_plate,
    measure_target_skin,
)
from fsgan_core.stages.interface import AtlasProjector, FaceFrame, FurtherViews, Networks
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop, mark_crop_area, paste_crop
from fsgan_core.stages.neural.fsgan_network import (
    MIN_SHOWN,
    compute_network_mattes,
    cut_masked_crop,
    display_to_perceptual,
    from_network_planes,
    get_network,
    get_working_size,
    perceptual_to_display,
    run_network,
    to_network_planes,
    upscale_change,
)
from fsgan_core.stages.occluders.arm_fill import replace_arms

CORE_EDGE = 1.5  # of the network's pixels: over so much its answer gives way to the picture, around the hard matte


@dataclass(frozen=True)
class FsganInpaint:
    """The published completion network. networks: "inpaint"."""

    networks: Networks

    def inpaint(
        self,
        frame: FaceFrame,
        *,
        reenacted: Plate,
        mattes: Plate,
        further_views: FurtherViews,
        params: InpaintParams,
        atlas: AtlasProjector | None = None,
    ) -> Plate:
        """Completes the face with the network (see `interface.InpaintEngine`).

        A picture that shows nothing at all is completed too. Beyond the crop the face is continued smoothly.

        Raises:
            EngineError: There is no completion network.
        """
        network = get_network(self.networks, "inpaint")
        face, region, codec = frame.face, frame.region, frame.codec
        crop = compute_face_crop(
            face, network.info.crop, get_working_size(network, params.resolution), reenacted.pixel_aspect
        )
        rgb, alpha = unpremultiply(reenacted)
        face_matte, needed = compute_fill_mattes(mattes, frame.holdout)
        own = to_perceptual(fill_nonfinite(rgb), codec.exposure)
        picture, shown = gather_views(
            own, alpha, needed, further_views, codec, params, region, atlas and partial(atlas, reenacted)
        )

        before, known = cut_masked_crop(perceptual_to_display(picture, codec), shown, region, crop)
        before = np.clip(before, 0, 1)
        shown_picture = np.where((known >= MIN_SHOWN)[..., None], before, 0)
        hard = compute_network_mattes(network, mattes, frame.holdout, crop, params.as_published)[1]
        after = from_network_planes(
            run_network(network, np.concatenate([to_network_planes(shown_picture), hard[None]])[None])[0][0]
        )
        after = np.clip(after, 0, 1)

        if params.as_published:  # the answer itself, wherever the network draws
            there = mark_crop_area(crop, region)
            drawn = display_to_perceptual(paste_crop(after, crop, region), codec)
            return make_completed_plate(drawn, own, alpha, face_matte, there, codec, reenacted)
        drawn = display_to_perceptual(after, codec)
        soft: Matte = np.asarray(cv2.GaussianBlur(hard, (0, 0), CORE_EDGE))
        core = np.clip(paste_crop(np.maximum(hard, np.clip(2 * soft, 0, 1)), crop, region, "linear"), 0, 1)
        core = core * mark_crop_area(crop, region)
        changed = picture + core[..., None] * upscale_change(
            before, after, (known >= MIN_SHOWN) & (hard > 0), crop, region, codec
        )
        drawn = np.clip(paste_crop(drawn, crop, region), drawn.min(), drawn.max())
        # What is less than half shown the network did not see: it counts as not being there.
        missing = 1 - np.clip((shown - MIN_SHOWN) / (1 - MIN_SHOWN), 0, 1)
        picture = np.asarray(changed + (missing * (core > 0))[..., None] * (drawn - changed))
        filled = np.maximum(shown, core)
        behind, kept_arms = replace_arms(frame, reenacted, face_matte)
        if (filled > CONFIDENT_SHARE).any():
            picture = extend_picture(picture, filled, filled, measure_target_skin(frame, mattes, behind))
        return make_completed_plate(picture, own, alpha, face_matte, needed, codec, reenacted, kept_arms, behind)
