"""What a render does before it begins: which pictures, from which inputs, to which files."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fsgan_core.clips.inputs import ClipInput, JobInputs, open_input, open_inputs
from fsgan_core.contract.errors import FrameRangeError, InputError
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.contract.stage_graph import FINAL, RENDER_STAGES, UPSTREAM_STAGES, list_running_stages
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_frames, parse_frames, select_frames
from fsgan_core.render.final import EXTRA_CHANNELS, STAGE_CHANNELS
from fsgan_core.stages.drive import resolve_drive_stages

__all__ = ["SKIPPED_NOTE", "RenderPlan", "describe_skipped_frames", "plan_shot_job", "plan_stage_job"]

SKIPPED_NOTE = "skipped "
"""How the note on skipped frames begins."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderPlan:
    """One render: opened inputs to files.

    Attributes:
        command: "swap", "drive", or the one stage that is rendered.
        job: "swap" or "drive"; of which a single stage is a part.
        inputs: Opened clips, colour configuration and parameters.
        upstream: Stage -> its opened files, which are read in place of rendering the stage.
        output: Path of the frames, with #### for the frame number.
        frames: The frames to write.
        skipped_frames: Those left out because the target has no file there.
        is_quick: Whether only these frames of the target are analysed, and a few of each source.
    """

    command: str
    job: str
    inputs: JobInputs
    upstream: Mapping[str, ClipInput]
    output: str
    frames: tuple[int, ...]
    skipped_frames: tuple[int, ...] = ()
    is_quick: bool = False

    @property
    def stage(self) -> str:
        """What is written: "final", or the stage whose own picture it is. Blending writes the finished picture."""
        return self.command if self.command in STAGE_CHANNELS else FINAL

    @property
    def running_stages(self) -> tuple[str, ...]:
        """The stages that run, in order."""
        return list_running_stages(self.job, self.command if self.command in UPSTREAM_STAGES else "")

    @property
    def needs_views(self) -> bool:
        """Whether views of the source are needed."""
        return self.command in ("swap", "drive", "reenact") or (
            self.command == "inpaint"
            and (self.inputs.stages.inpaint.other_views or self.inputs.stages.inpaint.from_atlas)
        )

    @property
    def read_clips(self) -> tuple[ClipInput, ...]:
        """Every clip that is read."""
        clips = [self.inputs.target, *self.inputs.sources, *self.upstream.values(), self.inputs.holdout]
        return tuple(clip for clip in clips if clip is not None)

    def resolve_held_frame(self, frame: int) -> int:
        """Finds the target's frame that stands for `frame`: itself; if missing, the one before it, or the first one."""
        available = self.inputs.target.sequence.frames
        return available[max(0, bisect_right(available, frame) - 1)]

    def count_written_bytes(self, plate: Plate) -> int:
        """Counts the bytes in memory of what is written for a plate of the target."""
        height, width, channels = plate.pixels.shape
        if self.stage == FINAL and self.inputs.stages.output.layers == "all":
            channels += len(EXTRA_CHANNELS)
        result: int = 4 * width * height * channels
        return result


def describe_skipped_frames(frames: Sequence[int]) -> str:
    """Says which frames are left out, and why, in a line.

    >>> describe_skipped_frames([1003, 1004])
    'skipped 1003-1004 (2 frames): no file of the target (output.missing=skip)'
    """
    count = "1 frame" if len(frames) == 1 else f"{len(frames)} frames"
    return f"{SKIPPED_NOTE}{format_frames(frames)} ({count}): no file of the target (output.missing=skip)"


def plan_shot_job(shot: Shot, *, frames: str = "", device: str = "cpu", quick: bool = False) -> RenderPlan:
    """Opens the inputs of a whole shot.

    Args:
        shot: Inputs, parameters and output.
        frames: Which frames to write; empty: those of the shot. It never changes what a frame looks like.
        device: What networks run on: "cpu", "cuda:0", ...
        quick: As in `pipeline.render_shot`.

    Raises:
        FsganError: Something is wrong with the inputs or the parameters.
    """
    if quick and shot.job != "swap":
        raise InputError("a drive cannot be quick: it compares each frame's expression with those of the whole clip")
    inputs = open_inputs(
        shot.source,
        shot.target,
        shot.stages,
        holdout=shot.holdout,
        output_colorspace=shot.output.colorspace,
        device=device,
    )
    plan = _make_plan(shot.job, shot.job, inputs, {}, shot.output.path, frames or shot.frames)
    _check_held_frames(plan, shot.frames)
    return replace(plan, is_quick=quick)


def plan_stage_job(
    stage: str,
    *,
    sources: Sequence[Clip] = (),
    target: Clip,
    output: str,
    stages: Stages | None = None,
    job: str = "swap",
    holdout: Clip | None = None,
    upstream: Mapping[str, Clip] | None = None,
    output_colorspace: str = "",
    frames: str = "",
    device: str = "cpu",
) -> RenderPlan:
    """Opens the inputs of one stage.

    Args:
        stage: "reenact", "mask", "inpaint" or "blend".
        sources: Needed by reenact and by every stage of a drive. Inpaint fills from further views only if it has them.
        target: The clip to change.
        output: Path of the frames, with #### for the frame number.
        stages: Parameters of all stages.
        job: "swap" or "drive".
        holdout: Where nothing may change.
        upstream: The files of the stages before it: inpaint needs "reenact" and "mask", blend "inpaint" and "mask".
        output_colorspace: Of the finished picture; empty: the target's.
        frames: Which frames to write; empty: all of the target.
        device: What networks run on: "cpu", "cuda:0", ...

    Raises:
        InputError: There is no such stage, or it lacks an input.
        FsganError: Something else is wrong with the inputs or the parameters.
    """
    if stage not in RENDER_STAGES:
        raise InputError(f"there is no stage '{stage}'; there are {', '.join(RENDER_STAGES)}")
    stages = stages or Stages()
    upstream = upstream or {}
    missing = [name for name in UPSTREAM_STAGES[stage] if name not in upstream]
    if missing:
        raise InputError(f"{stage} needs the files of {' and '.join(missing)}")
    if job == "drive" and not sources:
        raise InputError("every stage of a drive needs the driver")
    if stage == "reenact" and not sources:
        raise InputError("reenact needs a source; name at least one still, sequence or movie")
    if stage == "inpaint" and not sources and job == "swap":
        if stages.inpaint.other_views or stages.inpaint.from_atlas:
            log.warning("inpaint has no source: nothing is filled from other views or the atlas")
        stages = replace(stages, inpaint=stages.inpaint.replace(other_views=False, from_atlas=False))
    inputs = open_inputs(sources, target, stages, holdout=holdout, output_colorspace=output_colorspace, device=device)
    opened = {
        name: open_input(clip, inputs.config) for name, clip in upstream.items() if name in UPSTREAM_STAGES[stage]
    }
    plan = _make_plan(stage, job, inputs, opened, output, frames)
    _check_held_frames(plan, frames)
    return plan


def _check_held_frames(plan: RenderPlan, shot_frames: str) -> None:
    """Raises FrameRangeError if all frames lie outside the target, where holding would only repeat one picture.

    A part of a shot's frames may lie outside, as the last task of a farm job does, if the shot itself does not.
    """
    whole = set(parse_frames(shot_frames)) if shot_frames.strip() else set()
    asked = whole if whole.issuperset(plan.frames) else plan.frames
    available = plan.inputs.target.sequence.frames
    if not any(available[0] <= frame <= available[-1] for frame in asked):
        raise FrameRangeError(
            f"missing frames: {format_frames(plan.frames)} (there are {format_frames(available)}); ask for other frames"
        )


def _make_plan(
    command: str, job: str, inputs: JobInputs, upstream: Mapping[str, ClipInput], output: str, frames: str
) -> RenderPlan:
    if job == "drive":
        inputs = replace(inputs, stages=resolve_drive_stages(inputs.stages))
    target = inputs.target.sequence
    chosen = select_frames(frames, target.frames, target.missing_policy)
    skipped = set(select_frames(frames, target.frames, "hold")) - set(chosen)
    return RenderPlan(command, job, inputs, upstream, output, chosen, tuple(sorted(skipped)))
