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
from pathlib import Path
from typing import Any

from fsgan_core.clips.finetuned import foreign_sources
from fsgan_core.clips.inputs import Input, Inputs, first_readable, open_input, open_inputs
from fsgan_core.clips.shot_file import load_shot
from fsgan_core.contract import layers
from fsgan_core.contract.errors import CancelledError, FsganError, InputError, MachineError, ShotError
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.plates.exr import write_exr
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import check_output, frames_text, output_path, select_frames
from fsgan_core.plates.stream import WriteBehind, read_ahead
from fsgan_core.render.final import EXTRA_CHANNELS, STAGE_CHANNELS, empty_stage_picture, final_plate, passed_plate
from fsgan_core.render.frames import BRIDGED, NO_FACE, STAGES, FrameMaker
from fsgan_core.render.keys import key_parts, parts_text
from fsgan_core.render.provenance import finished, flags_of
from fsgan_core.render.recognise import recognised
from fsgan_core.render.scene import Scenes
from fsgan_core.render.warm_cache import Warm
from fsgan_core.runtime.cache import digest
from fsgan_core.runtime.events import (
    FAILED,
    KEPT,
    PASSED,
    RENDERED,
    Asked,
    Clock,
    Event,
    FrameReport,
    Listener,
    RenderResult,
    go_on,
    ignore,
    never,
)
from fsgan_core.runtime.threads import frame_workers, one_thread_algebra
from fsgan_core.stages.drive import drive_stages

__all__ = ["Work", "drive", "render_shot", "render_stage", "shot_work", "stage_work", "swap"]

log = logging.getLogger(__name__)

WRITTEN_BEHIND = 256 << 20  # bytes: a larger plate is written before its worker begins the next one
LOSSLESS = ("none", "rle", "zips", "zip", "piz")  # for float32; pxr24 drops bits


def render_shot(shot: Shot, *, frames: str = "", device: str = "cpu", force: bool = False,
                listen: Listener = ignore, cancelled: Asked = never) -> RenderResult:
    """Renders a shot (swap or drive) in one pass, without files between stages.

    frames: which frames, empty: those of the shot; never changes what a frame looks like. force: render frames
    whose file is already right. cancelled: asked often, from several threads; once it says so, no further step of a
    frame is begun, and CancelledError is raised. Raises FsganError for what concerns the whole shot; failures of
    single frames are in the result.
    """
    return shot_work(shot, frames=frames, device=device, force=force, listen=listen, cancelled=cancelled).run()


def shot_work(shot: Shot, *, frames: str = "", device: str = "cpu", **options: Any) -> Work:
    """A shot's render before it begins. options: as Work has them. Raises as render_shot."""
    inputs = open_inputs(shot.source, shot.target, shot.stages, holdout=shot.holdout,
                         output_colorspace=shot.output.colorspace, device=device)
    return _work(shot.job, shot.job, inputs, {}, shot.output.path, frames or shot.frames, options)


def swap(shot: Shot | Mapping[str, Any] | str | Path, **options: Any) -> RenderResult:
    """Puts the source's face on the target's head: `render_shot` of a shot, a shot file's path, or plain data as in a
    shot file (whose relative paths start at the working directory). options: as in render_shot.

    Raises ShotError when the shot is another job.
    """
    return _render_job("swap", shot, options)


def drive(shot: Shot | Mapping[str, Any] | str | Path, **options: Any) -> RenderResult:
    """Moves the plate's own actor with the driver's (the shot's source's) expression; else as `swap`."""
    return _render_job("drive", shot, options)


def _render_job(job: str, shot: Shot | Mapping[str, Any] | str | Path, options: Mapping[str, Any]) -> RenderResult:
    if isinstance(shot, (str, Path)):
        shot = load_shot(shot)
    elif not isinstance(shot, Shot):
        shot = Shot.from_dict({"job": job, **shot})
    if shot.job != job:
        raise ShotError(f"the shot's job is {shot.job}, not {job}")
    return render_shot(shot, **options)


def render_stage(stage: str, *, sources: Sequence[Clip] = (), target: Clip, output: str, stages: Stages | None = None,
                 job: str = "swap", holdout: Clip | None = None, upstream: Mapping[str, Clip] | None = None,
                 output_colorspace: str = "", frames: str = "", device: str = "cpu", force: bool = False,
                 listen: Listener = ignore, cancelled: Asked = never) -> RenderResult:
    """Renders one stage ("reenact", "mask", "inpaint" or "blend") to files.

    upstream: the files of the stages before it, by stage: inpaint needs "reenact" and "mask", blend needs "inpaint"
    and "mask". sources: for reenact, and for inpaint where it may fill from other views (without them it does not).
    The rest as in render_shot.
    """
    return stage_work(stage, sources=sources, target=target, output=output, stages=stages, job=job, holdout=holdout,
                      upstream=upstream, output_colorspace=output_colorspace, frames=frames, device=device,
                      force=force, listen=listen, cancelled=cancelled).run()


def stage_work(stage: str, *, sources: Sequence[Clip] = (), target: Clip, output: str, stages: Stages | None = None,
               job: str = "swap", holdout: Clip | None = None, upstream: Mapping[str, Clip] | None = None,
               output_colorspace: str = "", frames: str = "", device: str = "cpu", **options: Any) -> Work:
    """A stage's render before it begins. options: as Work has them. Raises as render_stage."""
    if stage not in UPSTREAM:
        raise InputError(f"there is no stage '{stage}'; there are {', '.join(UPSTREAM)}")
    stages = stages or Stages()
    upstream = dict(upstream or {})
    missing = [name for name in UPSTREAM[stage] if name not in upstream]
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
    opened = {name: open_input(clip, inputs.config) for name, clip in upstream.items() if name in UPSTREAM[stage]}
    return _work(stage, job, inputs, opened, output, frames, options)


def _work(command: str, job: str, inputs: Inputs, upstream: Mapping[str, Input], output: str, frames: str,
          options: Mapping[str, Any]) -> Work:
    if job == "drive":
        inputs = replace(inputs, stages=drive_stages(inputs.stages))
    target = inputs.target.sequence
    return Work(command, job, inputs, upstream, output, select_frames(frames, target.frames, target.missing), **options)


UPSTREAM: Mapping[str, tuple[str, ...]] = {
    "reenact": (), "mask": (), "inpaint": ("reenact", "mask"), "blend": ("inpaint", "mask"),
}


class Work:
    """One render: opened inputs to files. stage: what is written, "final" or a stage's own picture.

    warm: what earlier renders of this process left in memory.
    """

    def __init__(self, command: str, job: str, inputs: Inputs, upstream: Mapping[str, Input], output: str,
                 frames: tuple[int, ...], *, force: bool = False, listen: Listener = ignore,
                 cancelled: Asked = never, warm: Warm | None = None) -> None:
        self.command = command
        self.stage = command if command in STAGE_CHANNELS else "final"
        self.running: tuple[str, ...] = (command,) if command in UPSTREAM else STAGES
        if job == "drive":
            self.running = tuple("drive" if stage == "reenact" else stage for stage in self.running)
        self.inputs = inputs
        self.output = output
        self.frames = frames
        self.force = force
        self.listen = listen
        self.cancelled = cancelled
        with_views = command in ("swap", "drive", "reenact") or (
            command == "inpaint" and inputs.stages.inpaint.other_views)
        self._upstream = upstream

        def scenes() -> Scenes:
            return Scenes(inputs, job, with_views=with_views, recognise=recognised)

        def maker(scenes: Scenes, like: FrameMaker | None = None) -> FrameMaker:
            return FrameMaker(inputs, scenes, upstream=upstream, clock=Clock(cancelled), like=like)

        if warm is None:
            self.scenes = scenes()
            self.maker = maker(self.scenes)
        else:
            self.scenes, self.maker = warm.renewed(inputs, (job, with_views), scenes, maker)
        self.scenes.listen = self._analysing
        self._lock = threading.Lock()
        self._reports: dict[int, FrameReport] = {}
        self._seconds: dict[str, float] = {}
        self._foreign = ""

    def run(self) -> RenderResult:
        """Raises FsganError for what concerns all frames, and CancelledError."""
        read = [self.inputs.target, *self.inputs.sources, *self._upstream.values(), self.inputs.holdout]
        check_output(self.output, [item.sequence for item in read if item is not None], self.frames)
        workers = frame_workers(self.written_bytes(first_readable(self.inputs.target, self.frames)))
        start = time.perf_counter()
        for stage in self.running:
            engine = self.maker.engines[stage]
            log.info("%s: engine %s, weights %s", stage, engine.name, engine.weights_text)
        self._foreign = self._weights_of_another()
        if self._foreign:
            log.warning("%s", self._foreign)
        with one_thread_algebra():
            for frame in self.frames:
                go_on(self.cancelled)
                self.scenes(self.held(frame))
            self._add({"analyse": time.perf_counter() - start})
            with WriteBehind(limit=1, workers=1) as writer:
                for frame, error in read_ahead(lambda frame: self._frame(frame, writer), self.frames, workers=workers,
                                               ahead=workers):
                    if error is not None:
                        self._failed(frame, error)
        self._add({"total": time.perf_counter() - start})
        return self._result()

    def written_bytes(self, plate: Plate) -> int:
        """Size in memory of what is written for a plate."""
        height, width, channels = plate.pixels.shape
        if self.stage == "final" and self.inputs.stages.output.layers == "all":
            channels += len(EXTRA_CHANNELS)
        return 4 * width * height * channels

    def held(self, frame: int) -> int:
        """The target's frame that stands for `frame`: itself, or the one before it where it is missing and held."""
        there = self.inputs.target.sequence.frames
        return there[max(0, bisect_right(there, frame) - 1)]

    def _frame(self, frame: int, writer: WriteBehind) -> Exception | None:
        """In a worker's thread: one frame, unless its file is already right. What went wrong, if anything."""
        clock = self.maker.clock
        clock.taken()
        source = self.held(frame)
        try:
            with clock.time("check"):
                key = self.key(source)
                kept = None if self.force else finished(output_path(self.output, frame), key)
            if kept is not None:
                self._done(frame, KEPT, clock.taken(), flags_of(kept))
                return None
            self._begun(frame)
            plate, state = self._picture(source)
            said = {layers.META_KEY: key, layers.META_PARTS: parts_text(self.parts(source))}
            plate = replace(plate, metadata={**plate.metadata, **said})
            if plate.pixels.nbytes > WRITTEN_BEHIND:
                self._write(frame, plate, state, clock.taken())
            else:
                writer.submit(self._write, frame, plate, state, clock.taken())
        except Exception as error:
            return error
        return None

    def key(self, frame: int) -> str:
        """Key of what is written for an available frame. Raises PlateError and what the analysis raises."""
        output = self.inputs.stages.output
        if self.stage != "final":
            return digest(self.stage, self.maker.key(self.stage, frame))
        return digest("final", self.maker.key("blend", frame), output.compression, output.depth, output.layers,
                      self.inputs.output_space)

    def parts(self, frame: int) -> dict[str, str]:
        """What the key is made of, by name; raises the same."""
        return key_parts(self.maker, self.stage, frame)

    def _picture(self, frame: int) -> tuple[Plate, str]:
        maker = self.maker
        if not maker.has_face(frame):
            if self.stage == "final":
                return passed_plate(maker, frame), PASSED
            return empty_stage_picture(maker, self.stage, frame), PASSED
        made = {"final": lambda: final_plate(maker, frame), "reenact": lambda: maker.reenacted(frame),
                "mask": lambda: maker.mattes(frame), "inpaint": lambda: maker.completed(frame)}
        return made[self.stage](), RENDERED

    def _write(self, frame: int, plate: Plate, state: str, seconds: dict[str, float]) -> None:
        """In a thread. Raises MachineError."""
        output = self.inputs.stages.output
        start = time.perf_counter()
        try:
            if self.stage == "final":
                others = self.inputs.target.sequence.other_parts(self.held(frame))
                write_exr(output_path(self.output, frame), plate, compression=output.compression,
                          depth=output.depth, other_parts=others)
            else:
                # What stands between two stages must come back bit for bit.
                lossless = output.compression if output.compression in LOSSLESS else "zip"
                write_exr(output_path(self.output, frame), plate, compression=lossless, depth="float")
        except Exception as error:
            self._failed(frame, error)
            return
        seconds["write"] = time.perf_counter() - start
        self._done(frame, state, seconds, flags_of(plate.metadata))

    def _failed(self, frame: int, error: Exception) -> None:
        """Lists a frame's failure. Raises MachineError for what the next frame would meet as well."""
        if isinstance(error, (MachineError, CancelledError)):
            raise error
        if isinstance(error, MemoryError):
            raise MachineError(f"not enough memory for frame {frame}") from error
        message = str(error)
        if not isinstance(error, FsganError):
            message = f"internal error, {type(error).__name__}: {error}"
            log.debug("frame %d", frame, exc_info=error)
        self._done(frame, FAILED, {}, (), message)

    def _analysing(self, event: Event) -> None:
        go_on(self.cancelled)
        self.listen(event)

    def _begun(self, frame: int) -> None:
        with self._lock:
            self.listen(Event("begin", self.command, len(self._reports), len(self.frames), frame))

    def _done(self, frame: int, state: str, seconds: Mapping[str, float], flags: tuple[str, ...],
              message: str = "") -> None:
        path = str(output_path(self.output, frame))
        log.info("frame %d %s%s", frame, state, f": {message}" if message else "",
                 extra={"frame": frame, "state": state, "seconds": dict(seconds), "flags": flags})
        with self._lock:
            self._reports[frame] = FrameReport(frame, state, path, seconds, flags, message)
            self._add(seconds)
            event = Event("frame", self.command, len(self._reports), len(self.frames), frame, state,
                          sum(seconds.values()), message or ", ".join(flags))
            self.listen(event)

    def _add(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def _result(self) -> RenderResult:
        inputs = self.inputs
        reports = tuple(self._reports[frame] for frame in self.frames)
        return RenderResult(
            command=self.command, output=self.output,
            colorspace=inputs.output_space if self.stage == "final" else inputs.working,
            frames=reports, seconds=self._seconds,
            engines={stage: self.maker.engines[stage].name for stage in self.running},
            device=inputs.device, notes=tuple(self._notes(reports)),
        )

    def _weights_of_another(self) -> str:
        """Told where the reenactment's weights were fine-tuned on another source than this one."""
        found = self.maker.engines["reenact"].installed.get("reenact") if "reenact" in self.running else None
        return "" if found is None else foreign_sources(found.path, self.inputs.sources)

    def _notes(self, reports: Sequence[FrameReport]) -> Iterator[str]:
        if self._foreign:
            yield self._foreign
        without = [report.frame for report in reports if NO_FACE in report.flags]
        if without and len(without) == len(reports):
            yield "no face was found in any of these frames of the target; they are the plate, unchanged"
        elif without:
            yield f"no face in {frames_text(without)}; these frames are the plate, unchanged"
        for flag, meaning in FLAG_MEANINGS.items():
            frames = [report.frame for report in reports if flag in report.flags]
            if frames:
                yield f"{flag} in {frames_text(frames)}: {meaning}"


FLAG_MEANINGS: Mapping[str, str] = {
    "driver-held": "outside the driver's clip; its first or last frame is held",
    "turn-limited": "the driver turns further than a single picture of a head can be turned",
    "pose-clamped": "the head turns further than any source view; the nearest pose was used",
    "mirrored-view": "no source view looks that way; one that looks the other way stands in, left for right",
    BRIDGED: "the face was not detected there and is interpolated from the frames around",
}
