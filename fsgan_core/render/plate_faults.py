"""What is the matter with a frame's plate: no file, so that another frame stands for it; pixels that are no numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fsgan_core.contract import layers
from fsgan_core.plates.plate import Plate, count_bad_pixels
from fsgan_core.render.context import BAD_PIXELS, HELD
from fsgan_core.render.frames import FrameRenderer
from fsgan_core.render.plan import RenderPlan
from fsgan_core.render.provenance import read_flags

__all__ = ["add_plate_faults", "warn_of_hidden_plate"]

log = logging.getLogger(__name__)


def add_plate_faults(
    plan: RenderPlan, renderer: FrameRenderer, frame: int, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Adds the faults of a frame's plate to the metadata of its file: flags, the frame held, the number of bad pixels.

    Args:
        plan: The render.
        renderer: Reads the target.
        frame: Number of the file.
        metadata: What the file says otherwise.

    Raises:
        PlateError: The target cannot be read.
    """
    source, faults = plan.resolve_held_frame(frame), dict[str, Any]()
    flags = list(read_flags(metadata))
    if source != frame:
        flags.append(HELD)
        faults[layers.META_HELD] = source
    if renderer.context.has_face(source):
        bad = count_bad_pixels(renderer.get_target(source).plate, renderer.context.get_region(source))
        if bad:
            flags.append(BAD_PIXELS)
            faults[layers.META_BAD_PIXELS] = bad
    if faults:
        faults[layers.META_FLAGS] = ", ".join(dict.fromkeys(flags))
    return {**metadata, **faults}


def warn_of_hidden_plate(plan: RenderPlan, plate: Plate) -> None:
    """Warns if nothing of the target lies in its display window: whoever looks at the frame sees black.

    Args:
        plan: The render.
        plate: A frame of its target.
    """
    data, display = plate.data_window, plate.display_window
    if data.intersect(display).empty:
        log.warning(
            "%s: all pixels lie outside the display window (data window %s, display window %s), so a viewer shows "
            "nothing of the plate or of the result; was it cropped or moved by mistake?",
            plan.inputs.target.clip.path,
            *(f"{one.width}x{one.height} at {one.x},{one.y}" for one in (data, display)),
        )
