"""A shot, from files to files: the whole job in memory, or one stage alone with files between stages.

Frames are independent of each other: what spans a clip (analysis, the plan of views) is made first, from the whole
clip, whatever frames are rendered. A frame whose file carries the right key is kept. A frame that fails is listed and
the others go on; a machine that fails (disk full, no memory) ends the render.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fsgan_core.clips.finetuned import describe_foreign_sources
from fsgan_core.clips.inputs import ClipInput, JobInputs, open_input, open_inputs, read_first_readable
from fsgan_core.contract import layers
from fsgan_core.contract.errors import CancelledError, FsganError, InputError, MachineError
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.plates.exr import write_exr
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import check_output, format_frames, format_output_path, select_frames
from fsgan_core.plates.stream import BackgroundWriter, read_ahead
from fsgan_core.render.final import (
    EXTRA_CHANNELS,
    STAGE_CHANNELS,
    make_empty_picture,
    make_passed_plate,
    render_final_plate,
)
from fsgan_core.render.frames import BRIDGED, NO_FACE, RENDER_STAGES, FrameRenderer
from fsgan_core.render.keys import compute_key_parts, format_parts
from fsgan_core.render.provenance import read_finished_metadata, read_flags
from fsgan_core.render.recognise import find_recognition
from fsgan_core.render.scene import JobScenes
from fsgan_core.render.warm_cache import WarmCache
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.events import (
    FAILED,
    KEPT,
    PASSED,
    RENDERED,
    CancelCheck,
    Event,
    EventListener,
    FrameReport,
    RenderResult,
    StageClock,
    ignore_event,
    never_cancelled,
    raise_if_cancelled,
)
from fsgan_core.runtime.threads import count_frame_workers, limit_algebra_threads
from fsgan_core.stages.drive import resolve_drive_stages

__all__ = ["RenderJob", "plan_shot_job", "plan_stage_job", "render_shot", "render_stage"]

log = logging.getLogger(__name__)

MAX_WRITE_BEHIND_BYTES = 256 << 20  # bytes: a larger plate is written before its worker begins the next one
LOSSLESS_COMPRESSIONS = ("none", "rle", "zips", "zip", "piz")  # for float32; pxr24 drops bits


def render_shot(
    shot: Shot,
    *,
    frames: str = "",
    device: str = "cpu",
    force: bool = False,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Renders a shot (swap or drive) in one pass, without files between stages.

    frames: which frames, empty: those of the shot; never changes what a frame looks like. force: render frames
    whose file is already right. cancelled: asked often, from several threads; once it says so, no further step of a
    frame is begun, and CancelledError is raised. Raises FsganError for what concerns the whole shot; failures of
    single frames are in the result.
    """
    return plan_shot_job(
        shot, frames=frames, device=device, force=force, on_event=on_event, is_cancelled=is_cancelled
    ).run()


def plan_shot_job(shot: Shot, *, frames: str = "", device: str = "cpu", **options: Any) -> RenderJob:
    """A shot's render before it begins. options: as Work has them. Raises as render_shot."""
    inputs = open_inputs(
        shot.source,
        shot.target,
        shot.stages,
        holdout=shot.holdout,
        output_colorspace=shot.output.colorspace,
        device=device,
    )
    return _plan_job(shot.job, shot.job, inputs, {}, shot.output.path, frames or shot.frames, options)


def render_stage(
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
    force: bool = False,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Renders one stage ("reenact", "mask", "inpaint" or "blend") to files.

    upstream: the files of the stages before it, by stage: inpaint needs "reenact" and "mask", blend needs "inpaint"
    and "mask". sources: for reenact, and for inpaint where it may fill from other views (without them it does not).
    The rest as in render_shot.
    """
    return plan_stage_job(
        stage,
        sources=sources,
        target=target,
        output=output,
        stages=stages,
        job=job,
        holdout=holdout,
        upstream=upstream,
        output_colorspace=output_colorspace,
        frames=frames,
        device=device,
        force=force,
        on_event=on_event,
        is_cancelled=is_cancelled,
    ).run()


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
    **options: Any,
) -> RenderJob:
    """A stage's render before it begins. options: as Work has them. Raises as render_stage."""
    if stage not in UPSTREAM_STAGES:
        raise InputError(f"there is no stage '{stage}'; there are {', '.join(UPSTREAM_STAGES)}")
    stages = stages or Stages()
    upstream = dict(upstream or {})
    missing = [name for name in UPSTREAM_STAGES[stage] if name not in upstream]
    if missing:
        raise InputError(f"{stage} needs the files of {' and '.join(missing)}")
    if job == "drive" and not sources:
        raise InputError("every stage of a drive needs the driver")
    if stage == "reenact" and not sources:
        raise InputError("reenact needs a source; name at least one still, sequence or movie")
    if stage == "inpaint" and not sources and job == "swap" and stages.inpaint.other_views:
        log.warning("inpaint has no source: nothing is filled from other views")
        stages = replace(stages, inpaint=stages.inpaint.replace(other_views=False))
    inputs = open_inputs(sources, target, stages, holdout=holdout, output_colorspace=output_colorspace, device=device)
    opened = {
        name: open_input(clip, inputs.config) for name, clip in upstream.items() if name in UPSTREAM_STAGES[stage]
    }
    return _plan_job(stage, job, inputs, opened, output, frames, options)


def _plan_job(
    command: str,
    job: str,
    inputs: JobInputs,
    upstream: Mapping[str, ClipInput],
    output: str,
    frames: str,
    options: Mapping[str, Any],
) -> RenderJob:
    if job == "drive":
        inputs = replace(inputs, stages=resolve_drive_stages(inputs.stages))
    target = inputs.target.sequence
    return RenderJob(
        command, job, inputs, upstream, output, select_frames(frames, target.frames, target.missing_policy), **options
    )


UPSTREAM_STAGES: Mapping[str, tuple[str, ...]] = {
    "reenact": (),
    "mask": (),
    "inpaint": ("reenact", "mask"),
    "blend": ("inpaint", "mask"),
}


class RenderJob:
    """One render: opened inputs to files. stage: what is written, "final" or a stage's own picture.

    warm: what earlier renders of this process left in memory.
    """

    def __init__(
        self,
        command: str,
        job: str,
        inputs: JobInputs,
        upstream: Mapping[str, ClipInput],
        output: str,
        frames: tuple[int, ...],
        *,
        force: bool = False,
        on_event: EventListener = ignore_event,
        is_cancelled: CancelCheck = never_cancelled,
        warm: WarmCache | None = None,
    ) -> None:
        self.command = command
        self.stage = command if command in STAGE_CHANNELS else "final"
        self.running_stages: tuple[str, ...] = (command,) if command in UPSTREAM_STAGES else RENDER_STAGES
        if job == "drive":
            self.running_stages = tuple("drive" if stage == "reenact" else stage for stage in self.running_stages)
        self.inputs = inputs
        self.output = output
        self.frames = frames
        self.force = force
        self.on_event = on_event
        self.is_cancelled = is_cancelled
        with_views = command in ("swap", "drive", "reenact") or (
            command == "inpaint" and inputs.stages.inpaint.other_views
        )
        self._upstream = upstream

        def make_scenes() -> JobScenes:
            return JobScenes(inputs, job, with_views=with_views, recognise=find_recognition)

        def make_renderer(scenes: JobScenes, like: FrameRenderer | None = None) -> FrameRenderer:
            return FrameRenderer(inputs, scenes, upstream=upstream, clock=StageClock(is_cancelled), like=like)

        if warm is None:
            self.scenes = make_scenes()
            self.renderer = make_renderer(self.scenes)
        else:
            self.scenes, self.renderer = warm.renew(inputs, (job, with_views), make_scenes, make_renderer)
        self.scenes.on_event = self._forward_event
        self._lock = threading.Lock()
        self._reports: dict[int, FrameReport] = {}
        self._seconds: dict[str, float] = {}
        self._foreign_note = ""

    def run(self) -> RenderResult:
        """Raises FsganError for what concerns all frames, and CancelledError."""
        read = [self.inputs.target, *self.inputs.sources, *self._upstream.values(), self.inputs.holdout]
        check_output(self.output, [item.sequence for item in read if item is not None], self.frames)
        workers = count_frame_workers(self.count_written_bytes(read_first_readable(self.inputs.target, self.frames)))
        start = time.perf_counter()
        for stage in self.running_stages:
            engine = self.renderer.engines[stage]
            log.info("%s: engine %s, weights %s", stage, engine.name, engine.weights_text)
        self._foreign_note = self._describe_foreign_weights()
        if self._foreign_note:
            log.warning("%s", self._foreign_note)
        with limit_algebra_threads():
            for frame in self.frames:
                raise_if_cancelled(self.is_cancelled)
                self.scenes(self.resolve_held_frame(frame))
            self._add_seconds({"analyse": time.perf_counter() - start})
            with BackgroundWriter(limit=1, workers=1) as writer:
                for frame, error in read_ahead(
                    lambda frame: self._render_frame(frame, writer), self.frames, workers=workers, ahead=workers
                ):
                    if error is not None:
                        self._report_failure(frame, error)
        self._add_seconds({"total": time.perf_counter() - start})
        return self._make_result()

    def count_written_bytes(self, plate: Plate) -> int:
        """Size in memory of what is written for a plate."""
        height, width, channels = plate.pixels.shape
        if self.stage == "final" and self.inputs.stages.output.layers == "all":
            channels += len(EXTRA_CHANNELS)
        return 4 * width * height * channels

    def resolve_held_frame(self, frame: int) -> int:
        """The target's frame that stands for `frame`: itself, or the one before it where it is missing and held."""
        there = self.inputs.target.sequence.frames
        return there[max(0, bisect_right(there, frame) - 1)]

    def _render_frame(self, frame: int, writer: BackgroundWriter) -> Exception | None:
        """In a worker's thread: one frame, unless its file is already right. What went wrong, if anything."""
        clock = self.renderer.clock
        clock.take_seconds()
        source = self.resolve_held_frame(frame)
        try:
            with clock.time("check"):
                key = self.compute_frame_key(source)
                kept = None if self.force else read_finished_metadata(format_output_path(self.output, frame), key)
            if kept is not None:
                self._report_done(frame, KEPT, clock.take_seconds(), read_flags(kept))
                return None
            self._report_begin(frame)
            plate, state = self._render_picture(source)
            said = {layers.META_KEY: key, layers.META_PARTS: format_parts(self.compute_frame_parts(source))}
            plate = replace(plate, metadata={**plate.metadata, **said})
            if plate.pixels.nbytes > MAX_WRITE_BEHIND_BYTES:
                self._write_frame(frame, plate, state, clock.take_seconds())
            else:
                writer.submit(self._write_frame, frame, plate, state, clock.take_seconds())
        except Exception as error:
            return error
        return None

    def compute_frame_key(self, frame: int) -> str:
        """Key of what is written for an available frame. Raises PlateError and what the analysis raises."""
        output = self.inputs.stages.output
        if self.stage != "final":
            return compute_digest(self.stage, self.renderer.compute_stage_key(self.stage, frame))
        return compute_digest(
            "final",
            self.renderer.compute_stage_key("blend", frame),
            output.compression,
            output.depth,
            output.layers,
            self.inputs.output_space,
        )

    def compute_frame_parts(self, frame: int) -> dict[str, str]:
        """What the key is made of, by name; raises the same."""
        return compute_key_parts(self.renderer, self.stage, frame)

    def _render_picture(self, frame: int) -> tuple[Plate, str]:
        maker = self.renderer
        if not maker.has_face(frame):
            if self.stage == "final":
                return make_passed_plate(maker, frame), PASSED
            return make_empty_picture(maker, self.stage, frame), PASSED
        made = {
            "final": lambda: render_final_plate(maker, frame),
            "reenact": lambda: maker.render_reenacted(frame),
            "mask": lambda: maker.render_mattes(frame),
            "inpaint": lambda: maker.render_completed(frame),
        }
        return made[self.stage](), RENDERED

    def _write_frame(self, frame: int, plate: Plate, state: str, seconds: dict[str, float]) -> None:
        """In a thread. Raises MachineError."""
        output = self.inputs.stages.output
        start = time.perf_counter()
        try:
            if self.stage == "final":
                others = self.inputs.target.sequence.list_other_parts(self.resolve_held_frame(frame))
                write_exr(
                    format_output_path(self.output, frame),
                    plate,
                    compression=output.compression,
                    depth=output.depth,
                    other_parts=others,
                )
            else:
                # What stands between two stages must come back bit for bit.
                lossless = output.compression if output.compression in LOSSLESS_COMPRESSIONS else "zip"
                write_exr(format_output_path(self.output, frame), plate, compression=lossless, depth="float")
        except Exception as error:
            self._report_failure(frame, error)
            return
        seconds["write"] = time.perf_counter() - start
        self._report_done(frame, state, seconds, read_flags(plate.metadata))

    def _report_failure(self, frame: int, error: Exception) -> None:
        """Lists a frame's failure. Raises MachineError for what the next frame would meet as well."""
        if isinstance(error, (MachineError, CancelledError)):
            raise error
        if isinstance(error, MemoryError):
            raise MachineError(f"not enough memory for frame {frame}") from error
        message = str(error)
        if not isinstance(error, FsganError):
            message = f"internal error, {type(error).__name__}: {error}"
            log.debug("frame %d", frame, exc_info=error)
        self._report_done(frame, FAILED, {}, (), message)

    def _forward_event(self, event: Event) -> None:
        raise_if_cancelled(self.is_cancelled)
        self.on_event(event)

    def _report_begin(self, frame: int) -> None:
        with self._lock:
            self.on_event(Event("begin", self.command, len(self._reports), len(self.frames), frame))

    def _report_done(
        self, frame: int, state: str, seconds: Mapping[str, float], flags: tuple[str, ...], message: str = ""
    ) -> None:
        path = str(format_output_path(self.output, frame))
        log.info(
            "frame %d %s%s",
            frame,
            state,
            f": {message}" if message else "",
            extra={"frame": frame, "state": state, "seconds": dict(seconds), "flags": flags},
        )
        with self._lock:
            self._reports[frame] = FrameReport(frame, state, path, seconds, flags, message)
            self._add_seconds(seconds)
            event = Event(
                "frame",
                self.command,
                len(self._reports),
                len(self.frames),
                frame,
                state,
                sum(seconds.values()),
                message or ", ".join(flags),
            )
            self.on_event(event)

    def _add_seconds(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def _make_result(self) -> RenderResult:
        inputs = self.inputs
        reports = tuple(self._reports[frame] for frame in self.frames)
        return RenderResult(
            command=self.command,
            output=self.output,
            colorspace=inputs.output_space if self.stage == "final" else inputs.working_space,
            frames=reports,
            seconds=self._seconds,
            engines={stage: self.renderer.engines[stage].name for stage in self.running_stages},
            device=inputs.device,
            notes=tuple(self._iterate_notes(reports)),
        )

    def _describe_foreign_weights(self) -> str:
        """Told where the reenactment's weights were fine-tuned on another source than this one."""
        found = (
            self.renderer.engines["reenact"].installed_weights.get("reenact")
            if "reenact" in self.running_stages
            else None
        )
        return "" if found is None else describe_foreign_sources(found.path, self.inputs.sources)

    def _iterate_notes(self, reports: Sequence[FrameReport]) -> Iterator[str]:
        if self._foreign_note:
            yield self._foreign_note
        without = [report.frame for report in reports if NO_FACE in report.flags]
        if without and len(without) == len(reports):
            yield "no face was found in any of these frames of the target; they are the plate, unchanged"
        elif without:
            yield f"no face in {format_frames(without)}; these frames are the plate, unchanged"
        for flag, meaning in FLAG_MEANINGS.items():
            frames = [report.frame for report in reports if flag in report.flags]
            if frames:
                yield f"{flag} in {format_frames(frames)}: {meaning}"


FLAG_MEANINGS: Mapping[str, str] = {
    "driver-held": "outside the driver's clip; its first or last frame is held",
    "turn-limited": "the driver turns further than a single picture of a head can be turned",
    "pose-clamped": "the head turns further than any source view; the nearest pose was used",
    "mirrored-view": "no source view looks that way; one that looks the other way stands in, left for right",
    BRIDGED: "the face was not detected there and is interpolated from the frames around",
}
