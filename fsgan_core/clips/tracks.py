"""Tracks of a job's clips: from a track file, from the cache, or analysed now.

What is analysed never depends on which frames are rendered, so that chunks of a shot agree bit for bit:
- A target of up to WHOLE_CLIP frames is analysed whole. A longer one is cut into sections at frame numbers that are
  multiples of SECTION; each section is analysed with OVERLAP frames more on either side (more than any smoothing
  reaches), and only the sections that hold frames to be rendered are analysed.
- A source of up to WHOLE_CLIP frames is analysed whole; of a longer one, every n-th frame, so that WHOLE_CLIP at most
  are looked at.
- A driver is analysed whole.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import ClipInput, JobInputs, check_rgb, open_input, open_inputs, read_first_readable
from fsgan_core.contract.errors import InputError, PlateError, TrackError, WeightsError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip, ClipLike, Stages, check_frames, parse_person, to_clip, to_stages
from fsgan_core.faces.analyse import analyse, compute_reference_descriptor, list_analysers
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.networks.weights.catalogue import is_allowed, resolve_allow
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_frames, select_frames
from fsgan_core.runtime.cache import compute_code_digest, compute_digest, get_cache_folder, load_or_compute
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.threads import limit_algebra_threads

__all__ = [
    "ClipSection",
    "analyse_clip",
    "choose_person",
    "get_clip_track",
    "select_source_frames",
    "split_into_sections",
    "track_faces",
    "write_track",
]

log = logging.getLogger(__name__)

MAX_WHOLE_CLIP = 1500
SECTION_FRAMES = 1000
OVERLAP_FRAMES = 100


@dataclass(frozen=True)
class ClipSection:
    """A part of a clip that is analysed as one. core: the frames that it answers for; frames: those looked at."""

    core_frames: tuple[int, ...]
    frames: tuple[int, ...]


def split_into_sections(available: Sequence[int]) -> tuple[ClipSection, ...]:
    """The sections of a target by its available frames, in order; together their cores are all of them."""
    available = tuple(available)
    if len(available) <= MAX_WHOLE_CLIP:
        return (ClipSection(available, available),)
    found = []
    for number in sorted({frame // SECTION_FRAMES for frame in available}):
        first, last = number * SECTION_FRAMES, number * SECTION_FRAMES + SECTION_FRAMES - 1
        core = tuple(frame for frame in available if first <= frame <= last)
        around = tuple(frame for frame in available if first - OVERLAP_FRAMES <= frame <= last + OVERLAP_FRAMES)
        found.append(ClipSection(core, around))
    return tuple(found)


def select_source_frames(available: Sequence[int]) -> tuple[int, ...]:
    """Which frames of a source are analysed: all, or evenly spread ones of a very long clip."""
    step = -(-len(available) // MAX_WHOLE_CLIP)
    return tuple(available[::step])


def get_clip_track(
    clip_input: ClipInput, frames: tuple[int, ...], inputs: JobInputs, on_event: EventListener, *, of_target: bool
) -> Track:
    """The track of these frames: the clip's own track file where the clip names one, else the one kept in the cache,
    else made now (and kept).

    Raises TrackError (track file), PlateError (no frame can be read), EngineError (detector not installed),
    WeightsError (landmarks or pose by a network whose weights are not there or not allowed).
    """
    if clip_input.clip.track:
        return _load_named_track(clip_input, inputs.stages.weights.allow)
    params = resolve_person_params(clip_input, inputs, of_target)
    analysers = list_analysers(params, inputs.device, inputs.stages.weights.allow)
    prints = [clip_input.sequence.compute_fingerprint(frame) for frame in frames]
    key = compute_digest(
        "track",
        compute_code_digest(("faces", "plates")),
        params.replace(person_reference=""),
        _describe_reference_still(params, inputs),
        list(analysers),
        list(frames),
        prints,
        clip_input.space,
        inputs.config.digest,
        _get_given_exposure(inputs, of_target),
    )
    return load_or_compute(
        get_cache_folder() / "tracks" / f"{key}.json",
        lambda: analyse_clip(clip_input, frames, inputs, on_event, of_target=of_target),
        save_track,
        load_track,
    )


def _load_named_track(clip_input: ClipInput, allow: str) -> Track:
    """The track file that the clip names. Raises TrackError, also for a track of pictures of another size; WeightsError
    for one that was made with weights whose licence is not allowed."""
    track = load_track(Path(clip_input.clip.track).expanduser())
    for used in track.weights:
        if not is_allowed(used.licence, allow):
            level, setting = resolve_allow(allow)
            raise WeightsError(
                f"the track {clip_input.clip.track} was made with weights {used.name} of the licence class "
                f"'{used.licence}', which {setting} = {level} does not allow; analyse the clip again, "
                "or loosen the setting if you may"
            )
    window = clip_input.sequence.read_header(clip_input.sequence.frames[0]).display_window
    if track.related and (track.width, track.height) != (window.width, window.height):
        raise TrackError(
            f"the track {clip_input.clip.track} is of another clip: {track.width}x{track.height} pixels, "
            f"{clip_input.clip.path} has {window.width}x{window.height}; analyse this one"
        )
    return track


def analyse_clip(
    clip_input: ClipInput,
    frames: tuple[int, ...],
    inputs: JobInputs,
    on_event: EventListener,
    *,
    of_target: bool,
    previous: Track | None = None,
) -> Track:
    """`faces.analyse` on the frames that can be read; the others are logged and count as without a face (rendering
    them fails later, each for itself). previous: a track whose manual overrides are kept.

    Raises PlateError when no frame can be read, EngineError.
    """
    start = time.perf_counter()
    params = resolve_person_params(clip_input, inputs, of_target)
    track = analyse(
        _ReadableClip(clip_input, frames, on_event),
        inputs.config,
        params,
        frames,
        lambda done, total: on_event(Event("analyse", clip_input.name, done, total)),
        exposure=_get_given_exposure(inputs, of_target),
        previous=previous,
        reference=_describe_reference_still(params, inputs),
        device=inputs.device,
        allow=inputs.stages.weights.allow,
    )
    log.info(
        "analysed %s: %d frames, %d people, %.1f s",
        clip_input.name,
        len(frames),
        len(track.people),
        time.perf_counter() - start,
    )
    return track


def write_track(
    clip: Clip,
    output: Path,
    stages: Stages,
    *,
    of_target: bool = True,
    frames: str = "",
    device: str = "cpu",
    on_event: EventListener = ignore_event,
) -> dict[str, Any]:
    """Analyses a clip and writes its track file; corrections by hand in a track that is already there are kept.

    frames: which to look at, empty: all. Returns what was found, as plain data for JSON. Raises PlateError,
    FrameRangeError, TrackError (the file that is there is no track), OutputError.
    """
    inputs = open_inputs((), clip, stages, device=device)
    item = inputs.target
    if output.suffix.lower() != ".json":
        raise InputError(f"the track {output} must be called .json")
    wanted = select_frames(frames, item.sequence.frames, "skip")
    previous = load_track(output) if output.exists() else None
    with limit_algebra_threads():
        track = analyse_clip(item, wanted, inputs, on_event, of_target=of_target, previous=previous)
    save_track(output, track)
    people = [
        {
            "index": person.index,
            "frames": len(person.faces),
            "height": round(person.size, 1),
            "missing": format_frames([frame for frame in wanted if frame not in person.faces]),
        }
        for person in track.people
    ]
    return {
        "command": "analyse",
        "output": str(output),
        "frames": len(wanted),
        "exposure": track.exposure,
        "detector": track.detector,
        "landmarks": track.landmarker,
        "pose": track.pose,
        "people": people,
    }


def track_faces(
    clip: ClipLike,
    *,
    frames: str = "",
    settings: Mapping[str, Any] | Stages | None = None,
    device: str = "auto",
    on_event: EventListener = ignore_event,
) -> Track:
    """Finds and tracks the people in a clip. The track is kept in the cache, so that the next call is quick.

    Args:
        clip: A still, a sequence or a movie. A Clip with a track file gives that track.
        frames: Frames to look at, such as "1001-1060"; empty is all.
        settings: Stage parameters by name, such as {"analyse.minimum_size": 40}, or Stages. The groups "analyse",
            "colour" and "weights" count.
        device: "auto" (the best that is there), "cpu", "cuda", "cuda:1" or "mps".
        on_event: Called with each step.

    Returns:
        The track, people by size, the largest first. A clip without a face gives a track without people.

    Raises:
        InputError: The clip, a parameter, an engine or its weights; subclasses say which.
    """
    inputs = open_inputs((), to_clip(clip), to_stages(settings), device=choose_device(device))
    wanted = select_frames(check_frames(frames), inputs.target.sequence.frames, "skip")
    with limit_algebra_threads():
        return get_clip_track(inputs.target, wanted, inputs, on_event, of_target=True)


def choose_person(clip_input: ClipInput, track: Track, inputs: JobInputs, *, of_target: bool) -> Person:
    """Whom to work on in a clip. Raises NoFaceError (nobody there), TrackError (no such person)."""
    params = resolve_person_params(clip_input, inputs, of_target)
    return track.choose_person(params, _describe_reference_still(params, inputs))


def resolve_person_params(clip_input: ClipInput, inputs: JobInputs, of_target: bool) -> AnalyseParams:
    """[stages.analyse] with the choice of a person for this clip: its own; for a target, else, that of
    [stages.analyse]; for a source, else, the largest face."""
    params = inputs.stages.analyse
    if not of_target:
        params = params.replace(**{name: getattr(AnalyseParams(), name) for name in _PERSON_FIELDS})
    return params.replace(**parse_person(clip_input.clip.person))


def _get_given_exposure(inputs: JobInputs, of_target: bool) -> float | None:
    """Stops that a person gave, for the target; a source's are always measured."""
    return inputs.stages.colour.exposure if of_target else None


def _describe_reference_still(params: AnalyseParams, inputs: JobInputs) -> np.ndarray | None:
    """Descriptor of the reference still, where the choice of the person needs one."""
    if params.person != "reference" or not params.person_reference:
        return None
    still = open_input(Clip(params.person_reference), inputs.config)
    return np.round(
        compute_reference_descriptor(
            still.sequence, inputs.config, AnalyseParams(), inputs.device, inputs.stages.weights.allow
        ),
        6,
    )


_PERSON_FIELDS = ("person", "person_index", "person_point", "person_reference")


class _ReadableClip:
    """A clip in which frames that cannot be read are black, so that one broken file does not end an analysis."""

    def __init__(self, clip_input: ClipInput, frames: Sequence[int], on_event: EventListener = ignore_event) -> None:
        self._clip_input = clip_input
        self._on_event = on_event
        self.clip, self.kind, self.frames = clip_input.clip, clip_input.sequence.kind, tuple(frames)
        self._blank_plate: Plate | None = None

    def read(self, frame: int) -> Plate:
        try:
            plate = self._clip_input.sequence.read(frame)
            check_rgb(plate, str(self._clip_input.sequence.get_frame_path(frame)))
            return plate
        except PlateError as error:
            log.warning("frame %d of %s is not analysed: %s", frame, self._clip_input.name, error)
            self._on_event(Event("unread", self._clip_input.name, 0, 0, frame, message=str(error)))
        if self._blank_plate is None:
            shown = read_first_readable(self._clip_input, self.frames)
            self._blank_plate = replace(shown, pixels=np.zeros_like(shown.pixels), integers={})
        return self._blank_plate
