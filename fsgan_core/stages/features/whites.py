"""Whites of the view's eyes that its mesh misses: they would show on the new face beside the plate's eyeball."""

from __future__ import annotations

import numpy as np

from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Matte, Mesh
from fsgan_core.stages.features.openings import (
    EYES,
    continue_skin,
    make_opening_window,
    measure_ring_distance,
    measure_ring_width,
    soften_edge,
    square_points,
    trace_ring,
)
from fsgan_core.stages.image_ops import weigh

MARGIN = 0.4  # of the eye's width: of the window around an eye
NEAR_LIDS = (0.04, 0.1)  # of the eye's width, outwards: there the mesh of lids may be off; farther off is shine
WHITER = (0.03, 0.1)  # luma, display values, above the skin around: a white begins, and surely is one


def cover_whites(picture: Image, alpha: Matte, plate: Image, goal: Mesh, region: Window, aspect: float) -> Image:
    """Covers with skin what is brighter than skin beside the goal's lids, and more so than in the plate.

    Where the mesh of a view lies inside its eye, the warp carries a strip of the white beyond the new lids, which would
    look like a second eye behind the first.

    Args:
        picture: The warped view, display-like, on the region.
        alpha: Where it shows skin, 0..1.
        plate: Display-like picture of the region.
        goal: The mesh of the new face.
        region: The part of the plate that the arrays cover.
        aspect: Width of a pixel over its height.

    Returns:
        The picture, with no such places; the same array if no eye is in the region.
    """
    result = picture
    for eye in EYES:
        ring = square_points(goal, eye.lids, aspect)
        width = measure_ring_width(ring)
        part = make_opening_window(ring, MARGIN * width, region, aspect)
        if part is None:
            continue
        result = picture.copy() if result is picture else result
        outwards = -measure_ring_distance(trace_ring(ring), part.places)
        beyond = soften_edge(outwards, *(share * width for share in NEAR_LIDS))
        socket = measure_ring_distance(square_points(goal, eye.socket, aspect), part.places) > 0
        crop, own = picture[part.slices], plate[part.slices]
        known = np.asarray(beyond * socket * alpha[part.slices], np.float32)
        skin, own_skin = (continue_skin(one, known, width, aspect) for one in (crop, own))
        whiter, own_whiter = ((a - b) @ LUMA_WEIGHTS.astype(np.float32) for a, b in ((crop, skin), (own, own_skin)))
        share = (1 - beyond) * soften_edge(whiter - np.maximum(own_whiter, 0), *WHITER)
        result[part.slices] = crop + weigh(skin - crop, np.asarray(share, np.float32))
    return result
