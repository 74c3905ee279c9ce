"""A render from files to files: the whole job in memory, or one stage alone with files between stages.

Frames are independent of each other. Whatever spans a clip (analysis, the plan of views) comes first and uses the whole
clip, no matter which frames are rendered. A frame whose file has the right key is kept. A frame that fails is listed,
and the others are rendered; if the machine fails (disk full, no memory), the render ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from fsgan_core.clips.finetuned import describe_foreign_sources
from fsgan_core.contract import layers
from fsgan_core.contract.consent import check_consent
from fsgan_core.contract.errors import CancelledError, FsganError, InputError, MachineError, PlateError
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.contract.stage_graph import FINAL
from fsgan_core.plates.exr_writer import LOSSLESS_COMPRESSIONS, write_exr
from fsgan_core.plates.kept_chunks import UnchangedRows
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import check_output, format_frames, format_output_path
from fsgan_core.plates.stream import BackgroundWriter, read_ahead
from fsgan_core.render.analysis_cost import AnalysisCost
from fsgan_core.render.changed_parts import describe_parts, find_changed_parts, format_parts
from fsgan_core.render.context import FLAG_MEANINGS, NO_FACE, make_context
from fsgan_core.render.final import make_empty_picture, make_passed_plate, render_final_plate
from fsgan_core.render.frames import FrameRenderer
from fsgan_core.render.plan import RenderPlan, describe_skipped_frames, plan_shot_job, plan_stage_job
from fsgan_core.render.plate_faults import add_plate_faults, warn_of_hidden_plate
from fsgan_core.render.provenance import is_full_frame, read_finished_metadata, read_flags, read_other_parts
from fsgan_core.render.scene import JobScenes
from fsgan_core.render.shared_dependencies import Dependencies
from fsgan_core.render.staleness import compute_key, compute_parts, list_dependencies
from fsgan_core.render.warm_cache import WarmCache
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
from fsgan_core.runtime.threads import count_frame_workers, limit_algebra_threads, limit_render_threads

__all__ = ["PictureListener", "RenderJob", "render_shot", "render_stage"]

log = logging.getLogger(__name__)

FRAMES_PER_WRITER = 4  # frames at a time that one thread can write
MAX_WRITE_BEHIND_BYTES = 256 << 20  # a larger plate is written before its worker begins the next one

PictureListener = Callable[["RenderJob", int, Plate], object]
"""Gets a job, a frame's number and its finished plate, before the plate is written. Called from several threads."""


def render_shot(
    shot: Shot,
    *,
    frames: str = "",
    device: str = "cpu",
    force: bool = False,
    quick: bool = False,
    on_event: EventListener = ignore_event,
    on_picture: PictureListener | None = None,
    is_cancelled: CancelCheck = never_cancelled,
) -> RenderResult:
    """Renders a shot (swap or drive) in one pass, without files between stages.

    Args:
        shot: Inputs, parameters and output.
        frames: Which frames to write; empty: those of the shot. It never changes what a frame looks like.
        device: What networks run on: "cpu", "cuda:0", ...
        force: Render frames whose file is already right.
        quick: For a look: analyse only these frames, and a few of each source, instead of whole clips. Such a frame
            depends on the others that are rendered with it, has the flag "quick", and is stale for any other render.
        on_event: Called with each step. Several threads may call it, one at a time.
        on_picture: Called with each finished plate.
        is_cancelled: Called often, from several threads. Once it returns True, no further step of a frame begins.

    Returns:
        The outcome of each frame, failures of single frames included.

    Raises:
        CancelledError: The render was cancelled.
        FsganError: Something is wrong with the whole shot.
    """
    plan = plan_shot_job(shot, frames=frames, device=device, quick=quick)
    return RenderJob(plan, force=force, on_event=on_event, on_picture=on_picture, is_cancelled=is_cancelled).run()


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

    The first arguments are those of `plan_stage_job`, the last three those of `render_shot`.
    """
    plan = plan_stage_job(
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
    )
    return RenderJob(plan, force=force, on_event=on_event, is_cancelled=is_cancelled).run()


class RenderJob:
    """Runs a plan.

    Args:
        plan: What to render, from which inputs, to which files.
        force: Render frames whose file is already right.
        on_event: Called with each step. Several threads may call it, one at a time.
        on_picture: Called with each finished plate.
        is_cancelled: Called often, from several threads.
        warm: What earlier renders of this process left in memory.
    """

    def __init__(
        self,
        plan: RenderPlan,
        *,
        force: bool = False,
        on_event: EventListener = ignore_event,
        on_picture: PictureListener | None = None,
        is_cancelled: CancelCheck = never_cancelled,
        warm: WarmCache | None = None,
    ) -> None:
        self.plan = plan
        self.force = force
        self.on_event = on_event
        self.on_picture = on_picture
        self.is_cancelled = is_cancelled

        def make_scenes() -> JobScenes:
            quick_frames = [plan.resolve_held_frame(frame) for frame in plan.frames] if plan.is_quick else None
            return JobScenes(plan.inputs, plan.job, with_views=plan.needs_views, quick_frames=quick_frames)

        def make_renderer(scenes: JobScenes, like: FrameRenderer | None) -> FrameRenderer:
            context = make_context(plan.inputs, scenes, plan.upstream, is_quick=plan.is_quick)
            return FrameRenderer(context, clock=StageClock(is_cancelled), keeps_pictures=warm is not None, like=like)

        if warm is None:
            self.scenes = make_scenes()
            self.renderer = make_renderer(self.scenes, None)
        else:
            self.scenes, self.renderer = warm.renew(plan, make_scenes, make_renderer)
        self.context = self.renderer.context
        self.scenes.on_event = self._forward_event
        self._lock = threading.Lock()
        self._reports: dict[int, FrameReport] = {}
        self._seconds: dict[str, float] = {}
        self._foreign_note = ""
        self._other_parts: set[str] = set()
        self._is_warm = warm is not None
        self._analysis_cost = AnalysisCost(plan.inputs.target.name, len(plan.frames), plan.job == "swap")

    def run(self) -> RenderResult:
        """Renders the frames.

        Raises:
            CancelledError: The render was cancelled.
            FsganError: Something is wrong with all frames.
        """
        plan = self.plan
        expired = check_consent(plan.inputs.stages.consent)
        if expired:
            log.warning("%s", expired)
        check_output(plan.output, [clip.sequence for clip in plan.read_clips], plan.frames)
        if plan.is_quick and not self.force:
            self._check_for_full_frames()
        first = self._read_first_readable()
        warn_of_hidden_plate(plan, first)
        written_bytes = plan.count_written_bytes(first)
        workers = min(count_frame_workers(written_bytes), len(plan.frames))
        start = time.perf_counter()
        for stage in plan.running_stages:
            engine = self.context.engines[stage]
            log.info("%s: engine %s, weights %s", stage, engine.name, engine.weights_text)
        self._foreign_note = self._describe_foreign_weights()
        if self._foreign_note:
            log.warning("%s", self._foreign_note)
        with limit_algebra_threads():
            if plan.needs_views:
                self.scenes.get_source_clips()  # before the target: a source without a face is found out in seconds
            for frame in plan.frames:
                raise_if_cancelled(self.is_cancelled)
                self.scenes(plan.resolve_held_frame(frame))
        self._add_seconds({"analyse": time.perf_counter() - start})
        writers = max(1, workers // FRAMES_PER_WRITER)
        with limit_render_threads(workers), BackgroundWriter(limit=writers, workers=writers) as writer:
            for frame, error in read_ahead(
                lambda frame: self._render_frame(frame, writer), plan.frames, workers=workers, ahead=workers
            ):
                if error is not None:
                    self._report_failure(frame, error)
        self._add_seconds({"total": time.perf_counter() - start})
        return self._make_result()

    def _read_first_readable(self) -> Plate:
        """Reads the first frame of the target that can be read, and keeps it for its own turn.

        Raises PlateError: none can be read; the error is that of the first frame.
        """
        first_error: PlateError | None = None
        for frame in self.plan.frames:
            try:
                return self.renderer.get_target(self.plan.resolve_held_frame(frame)).original
            except PlateError as error:
                first_error = first_error or error
        raise first_error or PlateError(f"{self.plan.inputs.target.clip.path} has no frames")

    def _check_for_full_frames(self) -> None:
        """Raises InputError if a quick look would replace frames that were made with the whole analysis."""
        for path in (format_output_path(self.plan.output, frame) for frame in self.plan.frames):
            if is_full_frame(path):
                raise InputError(
                    f"{path} was rendered with the analysis of the whole clip, and a quick look would replace it; give "
                    "the quick look another output, or force it"
                )

    def _render_frame(self, frame: int, writer: BackgroundWriter) -> Exception | None:
        """Renders one frame in a worker's thread, unless its file is already right. Returns what went wrong."""
        clock = self.renderer.clock
        clock.take_seconds()
        source = self.plan.resolve_held_frame(frame)
        try:
            with clock.time("check"):
                dependencies = self._list_dependencies(source)
                key = compute_key(self.plan.stage, dependencies)
                finished_metadata = (
                    None if self.force else read_finished_metadata(format_output_path(self.plan.output, frame), key)
                )
                if finished_metadata is None and not self.force:
                    self._find_other_settings(frame, key, dependencies)
            if finished_metadata is not None:
                self._report_done(frame, KEPT, clock.take_seconds(), read_flags(finished_metadata))
                return None
            self._report_begin(frame)
            plate, state = self._render_picture(source)
            keys = {layers.META_KEY: key, layers.META_PARTS: format_parts(compute_parts(dependencies))}
            metadata = add_plate_faults(self.plan, self.renderer, frame, plate.metadata)
            plate = replace(plate, metadata={**metadata, **keys})
            if self.on_picture is not None:
                self.on_picture(self, frame, plate)
            unchanged = self.renderer.get_target(source).find_unchanged_rows(plate)
            finish = partial(self._write_frame, frame, plate, state, unchanged, clock.take_seconds())
            finish() if plate.pixels.nbytes > MAX_WRITE_BEHIND_BYTES else writer.submit(finish)
        except Exception as error:
            return error
        return None

    def compute_frame_key(self, frame: int) -> str:
        """Computes the key of an available frame's file. Raises PlateError, and what the analysis raises."""
        return compute_key(self.plan.stage, self._list_dependencies(frame))

    def compute_frame_parts(self, frame: int) -> dict[str, str]:
        """Computes a short digest of each dependency of a frame; raises the same."""
        return compute_parts(self._list_dependencies(frame))

    def _list_dependencies(self, frame: int) -> Dependencies:
        return list_dependencies(self.context, self.plan.stage, frame)

    def _find_other_settings(self, frame: int, key: str, dependencies: Dependencies) -> None:
        """Finds what differs in a file that is about to be replaced; the first one is logged."""
        parts = read_other_parts(format_output_path(self.plan.output, frame), key)
        if parts is None:
            return
        with self._lock:
            is_first = not self._other_parts
            self._other_parts.update(find_changed_parts(parts, compute_parts(dependencies)))
            if is_first:
                # In Nuke's worker (warm), the artist has just changed a knob.
                log.log(logging.INFO if self._is_warm else logging.WARNING, "%s", self._describe_other_settings())

    def _describe_other_settings(self) -> str:
        parts = tuple(sorted(self._other_parts))
        is_settings = all("." in part and not part.startswith("files.") for part in parts)
        return (
            f"{format_output_path(self.plan.output, 0).parent}/ holds frames rendered with other "
            f"{'settings' if is_settings else 'settings or inputs'} ({describe_parts(parts)}); they are rendered again"
        )

    def _render_picture(self, frame: int) -> tuple[Plate, str]:
        renderer, stage = self.renderer, self.plan.stage
        if not self.context.has_face(frame):
            if stage == FINAL:
                return make_passed_plate(renderer, frame), PASSED
            return make_empty_picture(renderer, stage, frame), PASSED
        render = {
            FINAL: lambda: render_final_plate(renderer, frame),
            "reenact": lambda: renderer.render_reenacted(frame),
            "mask": lambda: renderer.render_mattes(frame),
            "inpaint": lambda: renderer.render_completed(frame),
        }
        return render[stage](), RENDERED

    def _write_frame(
        self, frame: int, plate: Plate, state: str, unchanged: UnchangedRows | None, seconds: dict[str, float]
    ) -> None:
        """Writes a frame, in a thread. Raises MachineError."""
        output = self.plan.inputs.stages.output
        start = time.perf_counter()
        path = format_output_path(self.plan.output, frame)
        try:
            if self.plan.stage == FINAL:
                other_parts = self.plan.inputs.target.sequence.list_other_parts(self.plan.resolve_held_frame(frame))
                write = partial(write_exr, path, plate, other_parts=other_parts, unchanged=unchanged)
                write(compression=output.compression, depth=output.depth)
            else:
                # The next stage must read the same bits.
                lossless = output.compression if output.compression in LOSSLESS_COMPRESSIONS else "zip"
                write_exr(path, plate, compression=lossless, depth="float")
        except Exception as error:
            self._report_failure(frame, error)
            return
        seconds["write"] = time.perf_counter() - start
        self._report_done(frame, state, seconds, read_flags(plate.metadata))

    def _report_failure(self, frame: int, error: Exception) -> None:
        """Reports a frame's failure. Raises MachineError if the next frame would fail likewise."""
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
        self._analysis_cost.follow(event)
        self.on_event(event)

    def _report_begin(self, frame: int) -> None:
        with self._lock:
            self.on_event(Event("begin", self.plan.command, len(self._reports), len(self.plan.frames), frame))

    def _report_done(
        self, frame: int, state: str, seconds: Mapping[str, float], flags: tuple[str, ...], message: str = ""
    ) -> None:
        path, text = str(format_output_path(self.plan.output, frame)), f": {message}" if message else ""
        extra = {"frame": frame, "state": state, "seconds": dict(seconds), "flags": flags}
        log.info("frame %d %s%s", frame, state, text, extra=extra)
        with self._lock:
            self._reports[frame] = FrameReport(frame, state, path, seconds, flags, message)
            self._add_seconds(seconds)
            event = Event(
                "frame",
                self.plan.command,
                len(self._reports),
                len(self.plan.frames),
                frame,
                state,
                sum(seconds.values()),
                message or ", ".join(flags),
            )
            self.on_event(event)

    def _add_seconds(self, seconds: Mapping[str, float]) -> None:
        for stage, stage_seconds in seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + stage_seconds

    def _make_result(self) -> RenderResult:
        plan, inputs = self.plan, self.plan.inputs
        reports = tuple(self._reports[frame] for frame in plan.frames)
        return RenderResult(
            command=plan.command,
            output=plan.output,
            colorspace=inputs.output_space if plan.stage == FINAL else inputs.working_space,
            frames=reports,
            seconds=self._seconds,
            engines={stage: self.context.engines[stage].name for stage in plan.running_stages},
            device=inputs.device,
            skipped=plan.skipped_frames,
            notes=tuple(self._iterate_notes(reports)),
        )

    def _describe_foreign_weights(self) -> str:
        """A note if the reenactment's weights were fine-tuned on another source than this one."""
        if "reenact" not in self.plan.running_stages:
            return ""
        weights = self.context.engines.reenact.installed_weights.get("reenact")
        return "" if weights is None else describe_foreign_sources(weights.path, self.plan.inputs.sources)

    def _iterate_notes(self, reports: Sequence[FrameReport]) -> Iterator[str]:
        if self._foreign_note:
            yield self._foreign_note
        if self._other_parts:
            yield self._describe_other_settings()
        if self.plan.skipped_frames:
            yield describe_skipped_frames(self.plan.skipped_frames)
        yield from self._iterate_faceless_notes(reports)
        for flag, meaning in FLAG_MEANINGS.items():
            frames = [report.frame for report in reports if flag in report.flags]
            if frames:
                yield f"{flag} in {format_frames(frames)} ({_count_frames(frames)}): {meaning}"

    def _iterate_faceless_notes(self, reports: Sequence[FrameReport]) -> Iterator[str]:
        """Notes on frames without the person's face; they say who else is there, as after a cut."""
        frames_by_people: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for report in reports:
            if NO_FACE in report.flags:
                source = self.plan.resolve_held_frame(report.frame)
                scene = self.scenes(source)
                people = (scene.person, scene.other_people.get(source, ()))
                frames_by_people.setdefault(people if people[1] else (0, ()), []).append(report.frame)
        for (person, others), frames in sorted(frames_by_people.items()):
            if others:
                there = " and ".join(f"person {number}" for number in others)
                yield (
                    f"no face of person {person} in {format_frames(frames)}; {there} "
                    f"{'is' if len(others) == 1 else 'are'} there; these frames are the plate, unchanged"
                )
            elif len(frames) == len(reports):
                yield "no face was found in any of these frames of the target; they are the plate, unchanged"
            else:
                yield f"no face in {format_frames(frames)}; these frames are the plate, unchanged"


def _count_frames(frames: Sequence[int]) -> str:
    return "1 frame" if len(frames) == 1 else f"{len(frames)} frames"
