"""A job's inputs, opened and checked: clips, colour spaces, the space that the stages work in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.params import INTERLACED_MODES
from fsgan_core.contract.shot import Clip, ClipLike, Stages, to_clip
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import open_clip
from fsgan_core.runtime.arrays import Matte

if TYPE_CHECKING:
    from fsgan_core.plates.sequence import FrameSequence as FrameSequence

__all__ = ["ClipInput", "JobInputs", "check_rgb", "open_input", "open_inputs", "read_holdout_matte"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipInput:
    """An opened clip and the colour space of its pixels.

    Attributes:
        clip: The clip as the user named it.
        sequence: Its frames.
        space: Colour space.
        channel: The channel to read of a hold-out, or "".
    """

    clip: Clip
    sequence: FrameSequence
    space: str
    channel: str = ""

    @property
    def name(self) -> str:
        """Short name, for logs."""
        return self.sequence.name


@dataclass(frozen=True)
class JobInputs:
    """Everything that a job reads.

    Attributes:
        stages: Parameters of the stages.
        config: OCIO config.
        sources: Clips of the person whose face is wanted.
        target: The clip to change.
        holdout: Matte of what must stay as it is, or None.
        working_space: Scene-linear space of the stages' pictures.
        output_space: Space of the final picture.
        device: Where networks run, such as "cpu" or "cuda".
    """

    stages: Stages
    config: ColourConfig
    sources: tuple[ClipInput, ...]
    target: ClipInput
    holdout: ClipInput | None
    working_space: str
    output_space: str
    device: str

    def choose_exposure(self, measured: float, *, of_target: bool) -> float:
        """Chooses the stops that a clip's codec adds: as measured, as set for the target, or none as published."""
        colour = self.stages.colour
        if colour.as_published:
            return 0.0
        return measured if colour.exposure is None or not of_target else colour.exposure


def open_input(
    clip: ClipLike, config: ColourConfig, missing: str = "error", interlaced: str = INTERLACED_MODES[0]
) -> ClipInput:
    """Opens a clip and resolves its colour space.

    Args:
        clip: The clip, or just its path or pattern.
        config: OCIO config.
        missing: What a frame without a file means: "error", "hold" or "skip".
        interlaced: What becomes of interlaced frames of a movie: "deinterlace" or "keep".

    Raises:
        PlateError: There are no files, or they cannot be read.
        ColourError: The colour space is unknown.
    """
    clip = to_clip(clip)
    sequence = open_clip(clip, missing, interlaced)
    stated = sequence.read_stated_colour()
    return ClipInput(clip, sequence, config.resolve_space(clip.colorspace, clip.path, sequence.kind, stated))


def open_inputs(
    sources: Sequence[Clip],
    target: Clip,
    stages: Stages,
    *,
    holdout: Clip | None = None,
    output_colorspace: str = "",
    device: str = "cpu",
) -> JobInputs:
    """Opens the clips of a job.

    The working space is the target's own if that is scene-linear, else the config's role scene_linear.

    Args:
        sources: Clips of the person whose face is wanted.
        target: The clip to change.
        stages: Parameters of the stages.
        holdout: Matte of what must stay as it is.
        output_colorspace: Space of the final picture; empty takes the working space.
        device: Where networks run, such as "cpu" or "cuda".

    Raises:
        PlateError: A clip has no files, or they cannot be read.
        ColourError: A colour space is unknown.
    """
    config = open_config(stages.colour.config)
    fields = stages.output.interlaced
    opened = open_input(target, config, stages.output.missing, fields)
    working = opened.space if config.is_scene_linear(opened.space) else config.scene_linear
    inputs = JobInputs(
        stages=stages,
        config=config,
        sources=tuple(open_input(source, config, interlaced=fields) for source in sources),
        target=opened,
        holdout=_open_holdout(holdout, config, fields) if holdout is not None else None,
        working_space=working,
        output_space=config.resolve_space(output_colorspace) if output_colorspace else working,
        device=device,
    )
    for item in (*inputs.sources, opened):
        log.info("%s: %d frames, %s, %s", item.name, len(item.sequence.frames), item.sequence.kind, item.space)
    log.info("working space %s, output space %s (%s)", working, inputs.output_space, config.name)
    return inputs


def check_rgb(plate: Plate, name: str) -> None:
    """Checks that a plate has red, green and blue.

    Args:
        plate: The plate.
        name: Its name, for the message.

    Raises:
        PlateError: A channel is missing.
    """
    if any(channel not in plate.channels for channel in RGB):
        raise PlateError(
            f"{name} has no R, G and B; it has {', '.join(plate.channels) or 'no channels'}. "
            "Choose another part, or shuffle the layer that you want into rgb."
        )


def read_first_readable(clip_input: ClipInput, frames: Iterable[int]) -> Plate:
    """Reads the first frame that can be read and has RGB.

    Raises:
        PlateError: No frame can be read; the error is that of the first frame.
    """
    first_error: PlateError | None = None
    for frame in frames:
        try:
            plate = clip_input.sequence.read(frame)
            check_rgb(plate, str(clip_input.sequence.get_frame_path(frame)))
            return plate
        except PlateError as error:
            first_error = first_error or error
    raise first_error or PlateError(f"{clip_input.clip.path} has no frames")


def _open_holdout(clip: Clip, config: ColourConfig, interlaced: str) -> ClipInput:
    """Opens a hold-out; `clip.part` may name a part or view of the file, or one of its channels."""
    item = open_input(clip, config, interlaced=interlaced)
    first_frame = item.sequence.frames[0]
    try:
        item.sequence.read_header(first_frame)
        return item
    except PlateError:
        if not clip.part:
            raise
    whole_file = open_input(replace(clip, part=""), config, interlaced=interlaced)
    channels = whole_file.sequence.read_header(first_frame).channels
    # Nuke calls a file's channel Z depth.Z.
    channel = clip.part if clip.part in channels else clip.part.rpartition(".")[2]
    if channel not in channels:
        raise PlateError(
            f"the hold-out {clip.path} has no part, view or channel '{clip.part}'; its channels are "
            f"{', '.join(channels)}"
        )
    return replace(whole_file, channel=channel)


def get_holdout_frame(clip_input: ClipInput, frame: int) -> int:
    """Returns the hold-out's frame for a frame of the target: the same number, or the only one there is."""
    frames = clip_input.sequence.frames
    return frames[0] if len(frames) == 1 else frame


def read_holdout_matte(clip_input: ClipInput, frame: int, region: Window) -> Matte:
    """Reads the artist's matte on the region: 1 where the plate stays as it is.

    It is the named channel, else alpha, else the first channel. Outside the file's data window it is 0.

    Raises:
        PlateError: The frame is missing or unreadable.
    """
    plate = clip_input.sequence.read(get_holdout_frame(clip_input, frame))
    channel = clip_input.channel or ("A" if "A" in plate.channels else plate.channels[0])
    matte = plate.crop(region).get(channel)[..., 0]
    return np.clip(np.nan_to_num(matte, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
