"""Blending, engine `fsgan`: the network seats the face.

Published: the completed face inside the hard matte and the target outside it go, with the target and that matte,
through Gb; the answer is mixed into the target by the soft matte. Here what Gb changed is brought up and added to the
picture at the plate's own resolution (at the network's raster that is the same), the plate's sharpness and grain are
given to it after that, since a network draws neither, and the soft matte is the mask's own, so that nothing beyond
what an artist sees in it is touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fsgan_core.contract.params import BlendParams
from fsgan_core.plates.plate import Plate
from fsgan_core.stages.blending import apply_plate_texture, finish_seat, mix_into_target, prepare_blend, skip_blend
from fsgan_core.stages.image_ops import HALF_COVERED, clip01, mark_plate_area, to_display, unpremultiply
from fsgan_core.stages.interface import BlendedPlate, FaceFrame, Networks, SeatKeeper
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop, mark_crop_area, paste_crop
from fsgan_core.stages.neural.fsgan_network import (
    compute_network_mattes,
    crop_for_network,
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


@dataclass(frozen=True)
class FsganBlend:
    """The published blending network. networks: "blend"."""

    networks: Networks

    def blend(
        self, frame: FaceFrame, *, completed: Plate, mattes: Plate, params: BlendParams, keep: SeatKeeper | None = None
    ) -> BlendedPlate:
        """Blends the face with the network (see `interface.BlendEngine`).

        Raises:
            EngineError: There is no blending network.
        """
        inputs = prepare_blend(frame, completed, mattes, params)
        if inputs is None:
            return skip_blend(frame)
        network = get_network(self.networks, "blend")
        target, face, region, codec = frame.plate, frame.face, frame.region, frame.codec
        crop = compute_face_crop(face, network.info.crop, get_working_size(network, params.resolution), inputs.aspect)
        own = crop_for_network(target, crop, codec)
        alpha = (unpremultiply(completed)[1] > 0).astype(np.float32)
        new, known = cut_masked_crop(perceptual_to_display(inputs.new_face, codec), alpha, region, crop)
        soft, hard = compute_network_mattes(network, mattes, frame.holdout, crop, params.as_published)
        hard = hard * (known > HALF_COVERED)
        inner = hard[..., None]
        before = np.clip(new, 0, 1) * inner + own * (1 - inner)
        after = from_network_planes(
            run_network(network, np.concatenate([to_network_planes(before), to_network_planes(own), hard[None]])[None])[
                0
            ][0]
        )
        after = np.clip(after, 0, 1)

        there = mark_crop_area(crop, region)
        if params.as_published:  # the answer itself, by the published soft edge
            shown = np.clip(paste_crop(soft, crop, region, "linear"), 0, 1) * there * mark_plate_area(target, region)
            if frame.holdout is not None:
                shown = shown * (1 - clip01(frame.holdout))
            # Mixed as it is seen, not as light.
            seen = to_display(target, region, codec.without_shoulder())
            mixed = display_to_perceptual(seen + shown[..., None] * (paste_crop(after, crop, region) - seen), codec)
            support = replace(inputs, matte=(shown > 0).astype(np.float32))
            return replace(
                mix_into_target(frame, finish_seat(support, mixed), params), matte=shown * np.float32(params.mix)
            )
        # Beyond the crop the network sees nothing, and the face goes on as it is.
        core = np.clip(paste_crop(hard, crop, region, "linear") * there + (inputs.matte > 0.5) * (1 - there), 0, 1)[
            ..., None
        ]
        seated = inputs.new_face * core + inputs.target_face * (1 - core)
        seated = seated + upscale_change(before, after, np.ones(hard.shape, bool), crop, region, codec)
        # Around the hard matte it is the plate itself, which has its grain.
        textured = seated + core * (apply_plate_texture(seated, inputs, mattes, params, frame) - seated)
        return mix_into_target(frame, finish_seat(inputs, textured), params)
