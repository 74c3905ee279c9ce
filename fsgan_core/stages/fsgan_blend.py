"""Blending, engine `fsgan`: the network seats the face.

Published: the completed face inside the hard matte and the target outside it go, with the target and that matte,
through Gb; the answer is mixed into the target by the soft matte. Here what Gb changed is brought up and added to the
picture at the plate's own resolution (at the network's raster that is the same), the plate's sharpness and grain are
given to it after that, since a network draws neither, and the soft matte is the mask's own, so that nothing beyond
what an artist sees in it is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fsgan_core.contract.params import BlendParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.stages.blend import Blended, mixed, prepared, textured, untouched
from fsgan_core.stages.fsgan_crop import covered, crop_of, paste
from fsgan_core.stages.fsgan_network import (
    change,
    hard_matte,
    limited,
    network_of,
    picture_of,
    planes,
    run,
    seen,
    shown_in,
    working_size,
)
from fsgan_core.stages.image_ops import scene, straight

if TYPE_CHECKING:
    from fsgan_core.networks.network import Network


def blend(target: Plate, completed: Plate, mattes: Plate, face: Face, codec: Codec, params: BlendParams,
          holdout: np.ndarray | None = None, *, networks: Mapping[str, Network]) -> Blended:
    """The target with the face in it, as `blend.blend`. Raises EngineError."""
    given = prepared(target, completed, mattes, face, codec, params, holdout)
    if given is None:
        return untouched(target, completed)
    network = network_of(networks, "blend")
    region = given.region
    crop = crop_of(face, network.weight.crop, working_size(network, params.resolution), given.aspect)
    own = seen(target, crop, codec)
    alpha = (straight(completed)[1] > 0).astype(np.float32)
    display = np.clip(codec.encode(scene(given.new, codec.exposure)), 0, 1)
    new, known = shown_in(display, alpha, region, crop)
    hard = hard_matte(given.matte, region, crop) * (known > 0.5)
    inner = hard[..., None]
    before = np.clip(new, 0, 1) * inner + own * (1 - inner)
    after = picture_of(run(network, np.concatenate([planes(before), planes(own), hard[None]])[None])[0][0])
    after = limited(np.clip(after, 0, 1), np.maximum(before, own))

    # Beyond the crop the network sees nothing, and the face goes on as it is.
    there = covered(crop, region)
    core = np.clip(paste(hard, crop, region, "linear") * there + (given.matte > 0.5) * (1 - there), 0, 1)[..., None]
    seated = given.new * core + given.own * (1 - core)
    seated = seated + change(before, after, np.ones(hard.shape, bool), crop, region, codec)
    # Around the hard matte it is the plate itself, which has its grain.
    return mixed(target, given, seated + core * (textured(seated, given, mattes, params, face) - seated), codec, params)
