"""Writes the atlas of a source to a file, for an artist to paint on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import open_inputs
from fsgan_core.contract import layers
from fsgan_core.contract.errors import InputError, NoFaceError
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.sequence import check_output
from fsgan_core.render.atlas import SourceAtlas
from fsgan_core.render.scene import JobScenes
from fsgan_core.runtime.events import EventListener, ignore_event
from fsgan_core.stages.skin.face_regions import draw_regions

__all__ = ["write_atlas"]


def write_atlas(
    sources: Sequence[Clip],
    output: Path | str,
    stages: Stages | None = None,
    *,
    device: str = "cpu",
    on_event: EventListener = ignore_event,
) -> dict[str, Any]:
    """Writes the atlas of a source as an EXR file.

    Args:
        sources: Clips or stills of the person.
        output: The file; its name must end in .exr.
        stages: Parameters of all stages; `reenact.exclude` and the like choose the views.
        device: What networks run on.
        on_event: Called with the progress.

    Returns:
        "output", "size", "views", "sure" (share of the face that a view shows), "colorspace".

    Raises:
        InputError: No source is named, or the name of the output does not end in .exr.
        OutputError: The file cannot be written.
        FsganError: What opening and analysing the sources raises.
    """
    stages = stages or Stages()
    if not str(output).lower().endswith(".exr"):
        raise InputError(f"the name of the atlas {output} must end in .exr")
    if not sources:
        raise InputError("an atlas needs a source; name at least one still, sequence or movie")
    stages = replace(stages, reenact=stages.reenact.replace(atlas=""))
    inputs = open_inputs(sources, sources[0], stages, device=device)
    check_output(str(output), [clip.sequence for clip in inputs.sources])
    clips = JobScenes(inputs, "swap", on_event=on_event).get_source_clips()
    if not any(clip.performer.faces for clip in clips):
        raise NoFaceError("no face was found in the source")
    source = SourceAtlas(
        replace(inputs, stages=replace(stages, reenact=stages.reenact.replace(atlas=""))), clips, on_event
    )
    plate = source.make_plate()
    write_exr(output, plate, compression=stages.output.compression, depth="float")
    face = draw_regions(plate.data_window.width)
    area = np.maximum.reduce([face["forehead"], face["cheeks"], face["chin"], face["nose"]])
    confidence = plate.get_matte(layers.CONFIDENCE)
    return {
        "output": str(output),
        "size": plate.data_window.width,
        "views": source.view_count,
        "sure": round(float((confidence * area).sum() / area.sum()), 3),
        "colorspace": inputs.working_space,
    }
