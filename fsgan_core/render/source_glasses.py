"""What glasses the person of a source wears: told once for the clip, so that all views lose them or none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from fsgan_core.clips.inputs import check_rgb
from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.region import compute_region
from fsgan_core.render.source_clip import SourceClip
from fsgan_core.runtime.memo import remember_with
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.occluders.worn_glasses import Pair
from fsgan_core.stages.reenactment import VIEW_MARGIN, recognise_worn_glasses

log = logging.getLogger(__name__)


@remember_with
def recognise_source_glasses(clip: SourceClip) -> Pair:
    """Tells what glasses the person of a source wears, from its open-eyed frames that can be read."""
    return recognise_worn_glasses(_read_open_eyed_frames(clip))


def list_glasses_dependencies(clip: SourceClip) -> list[tuple[Any, ...]]:
    """Lists what a source's glasses depend on, beside its colour: frames, and the faces in them."""
    listed = []
    for frame in clip.open_eyed_frames:
        face = clip.performer.faces[frame]
        fingerprint, mesh = (
            clip.clip_input.sequence.compute_fingerprint(frame),
            face.get_mesh(clip.performer.pixel_aspect),
        )
        listed.append((fingerprint, list(face.box), face.landmarks, mesh))
    return listed


def _read_open_eyed_frames(clip: SourceClip) -> Iterator[FaceFrame]:
    for frame in clip.open_eyed_frames:
        try:
            plate = clip.clip_input.sequence.read(frame)
            check_rgb(plate, str(clip.clip_input.sequence.get_frame_path(frame)))
        except PlateError as error:
            log.info("glasses are not looked for in source frame %d: %s", frame, error)
            continue
        face = clip.performer.faces[frame]
        yield FaceFrame(plate, face, compute_region(face.box, VIEW_MARGIN, plate.pixel_aspect), clip.codec)
