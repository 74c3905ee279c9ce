"""Tracks of a job's clips: from a track file, from the cache, or analysed now.

What is analysed never depends on which frames are rendered, so that chunks of a shot agree bit for bit:
- A target of up to MAX_WHOLE_CLIP frames is analysed whole. A longer one is cut into sections at frame numbers that are
  multiples of SECTION_FRAMES. Each section is analysed with OVERLAP_FRAMES more on either side (more than any smoothing
  reaches), and only the sections that hold frames to be rendered are analysed.
- A source of up to MAX_WHOLE_CLIP frames is analysed whole; of a longer one, every n-th frame, so that at most
  MAX_WHOLE_CLIP are analysed.
- A driver is analysed whole.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import ClipInput, JobInputs, check_rgb, open_input, open_inputs, read_first_readable
from fsgan_core.clips.open_mouths import warn_of_open_mouths
from fsgan_core.contract.errors import InputError, PlateError, TrackError, WeightsError
from fsgan_core.contract.licences import is_allowed, resolve_allow
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip, ClipLike, Stages, check_frames, parse_person, to_clip, to_stages
from fsgan_core.faces.analyse import analyse, compute_reference_descriptor, list_analysers
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import format_frames, select_frames
from fsgan_core.plates.stated_colour import StatedColour
from fsgan_core.runtime.arrays import Descriptor
from fsgan_core.runtime.atomic import check_output_folder
from fsgan_core.runtime.cache import compute_code_digest, compute_digest, get_cache_folder, load_or_compute
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.runtime.user_paths import expand_home

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
"""Frames up to which a clip is analysed whole."""
SECTION_FRAMES = 1000
"""Frames of a section of a longer clip."""
OVERLAP_FRAMES = 100
"""Frames that are analysed on either side of a section."""
_DESCRIPTOR_DIGITS = 6  # of a reference still's descriptor, so that keys agree between machines


@dataclass(frozen=True)
class ClipSection:
    """A part of a clip that is analysed as one.

    Attributes:
        core_frames: The frames whose faces come from this section.
        frames: The frames that are analysed.
    """

    core_frames: tuple[int, ...]
    frames: tuple[int, ...]


def split_into_sections(available: Sequence[int]) -> tuple[ClipSection, ...]:
    """Splits a target by its available frames into sections, in order; their cores together are all frames.

    >>> [section.core_frames[0] for section in split_into_sections(range(1001, 3001))]
    [1001, 2000, 3000]
    """
    available = tuple(available)
    if len(available) <= MAX_WHOLE_CLIP:
        return (ClipSection(available, available),)
    sections = []
    for number in sorted({frame // SECTION_FRAMES for frame in available}):
        first, last = number * SECTION_FRAMES, number * SECTION_FRAMES + SECTION_FRAMES - 1
        core = tuple(frame for frame in available if first <= frame <= last)
        frames_with_overlap = tuple(
            frame for frame in available if first - OVERLAP_FRAMES <= frame <= last + OVERLAP_FRAMES
        )
        sections.append(ClipSection(core, frames_with_overlap))
    return tuple(sections)


def select_source_frames(available: Sequence[int]) -> tuple[int, ...]:
    """Selects the frames of a source to analyse: all, or evenly spread ones of a very long clip."""
    step = -(-len(available) // MAX_WHOLE_CLIP)
    return tuple(available[::step])


def get_clip_track(
    clip_input: ClipInput,
    frames: tuple[int, ...],
    inputs: JobInputs,
    on_event: EventListener,
    *,
    of_target: bool,
    tells_unread: bool = True,
) -> Track:
    """Gets the track of these frames: the track file that the clip names, else the cached one, else a new one.

    Args:
        clip_input: The clip.
        frames: Frames to analyse.
        inputs: The job.
        on_event: Called with progress.
        of_target: Whether the clip is the target.
        tells_unread: As in `analyse_clip`.

    Raises:
        TrackError: The track file is missing, broken or of another clip.
        PlateError: No frame can be read.
        EngineError: The detector is not installed.
        WeightsError: Landmarks or pose need weights that are missing or not allowed.
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
        inputs.config.compute_digest(clip_input.space),
        _get_given_exposure(inputs, of_target),
    )
    return load_or_compute(
        get_cache_folder() / "tracks" / f"{key}.json",
        lambda: analyse_clip(clip_input, frames, inputs, on_event, of_target=of_target, tells_unread=tells_unread),
        save_track,
        load_track,
    )


def _load_named_track(clip_input: ClipInput, allow: str) -> Track:
    """The track file that the clip names.

    Raises:
        TrackError: It cannot be read, or is of pictures of another size.
        WeightsError: It was made with weights whose licence is not allowed.
    """
    track = load_track(expand_home(clip_input.clip.track))
    for weights in track.weights:
        if not is_allowed(weights.licence, allow):
            level, setting = resolve_allow(allow)
            raise WeightsError(
                f"the track {clip_input.clip.track} was made with weights {weights.name} of the licence class "
                f"'{weights.licence}', which {setting} = {level} does not allow; analyse the clip again, "
                "or loosen the setting if you may"
            )
    window = clip_input.sequence.read_first_header().display_window
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
    tells_unread: bool = True,
) -> Track:
    """Analyses the frames that can be read, with `faces.analyse`.

    The others are logged and count as frames without a face; rendering them fails later, each for itself.

    Args:
        clip_input: The clip.
        frames: Frames to analyse.
        inputs: The job.
        on_event: Called with progress.
        of_target: Whether the clip is the target.
        previous: A track whose manual overrides are kept.
        tells_unread: Whether frames that cannot be read are warned of; if not, the caller does it.

    Raises:
        PlateError: No frame can be read.
        EngineError: The detector is not installed.
    """
    start = time.perf_counter()
    params = resolve_person_params(clip_input, inputs, of_target)
    readable = _ReadableClip(clip_input, frames, on_event, logging.WARNING if tells_unread else logging.INFO)
    track = analyse(
        readable,
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
    if of_target:  # pictures of a source may differ
        _warn_of_sizes(clip_input.clip.path, readable.sizes)
    return track


def _warn_of_sizes(path: str, sizes: Mapping[int, tuple[int, int]]) -> None:
    """Warn if frames are not all of one size: then a file of another version is among them, and positions jump."""
    counts = Counter(sizes.values())
    if len(counts) > 1:
        usual, _ = counts.most_common(1)[0]
        others = [frame for frame, size in sizes.items() if size != usual]
        width, height = sizes[others[0]]
        log.warning(
            "not all frames of %s are %dx%d: frame %s (%dx%d). Are they of the same version?",
            path,
            *usual,
            format_frames(sorted(others)),
            width,
            height,
        )


def _load_previous_track(path: Path) -> Track | None:
    """Loads the track that is at a path, if any; moves it aside if it is damaged."""
    if not path.exists():
        return None
    try:
        return load_track(path)
    except TrackError as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        log.warning("%s. It was moved to %s, and the clip is analysed anew without its corrections.", error, aside)
        return None


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
    """Analyses a clip and writes its track file; manual corrections in a track that is already there are kept.

    A damaged track is moved aside, with a warning: its name gets the suffix .damaged.

    Args:
        clip: The clip.
        output: Path of the track file, *.json.
        stages: Parameters of the stages.
        of_target: Whether the clip is the target.
        frames: Frames to analyse; empty takes all.
        device: Where networks run, such as "cpu" or "cuda".
        on_event: Called with progress.

    Returns:
        A summary, as plain data for JSON.

    Raises:
        InputError: The output is not called .json, or its folder is a file.
        PlateError: No frame can be read.
        FrameRangeError: The frames are not in the clip.
        OutputError: The file cannot be written.
    """
    inputs = open_inputs((), clip, stages, device=device)
    clip_input = inputs.target
    if output.suffix.lower() != ".json":
        raise InputError(f"the track {output} must have the suffix .json")
    selected = select_frames(frames, clip_input.sequence.frames, "skip")
    check_output_folder(output.parent)
    previous = _load_previous_track(output)
    with limit_algebra_threads():
        track = analyse_clip(clip_input, selected, inputs, on_event, of_target=of_target, previous=previous)
    save_track(output, track)
    if not of_target and track.people:
        person = choose_person(clip_input, track, inputs, of_target=False)
        warn_of_open_mouths([(clip.path, person.faces, track.pixel_aspect)])
    people = [
        {
            "index": person.index,
            "frames": len(person.faces),
            "height": round(person.size, 1),
            "missing": format_frames([frame for frame in selected if frame not in person.faces]),
        }
        for person in track.people
    ]
    return {
        "command": "analyse",
        "output": str(output),
        "frames": len(selected),
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
    selected_frames = select_frames(check_frames(frames), inputs.target.sequence.frames, "skip")
    with limit_algebra_threads():
        return get_clip_track(inputs.target, selected_frames, inputs, on_event, of_target=True)


def choose_person(clip_input: ClipInput, track: Track, inputs: JobInputs, *, of_target: bool) -> Person:
    """Chooses the person of a clip to work on.

    Raises:
        NoFaceError: The clip has no people.
        TrackError: There is no such person.
    """
    params = resolve_person_params(clip_input, inputs, of_target)
    return track.choose_person(params, _describe_reference_still(params, inputs))


def resolve_person_params(clip_input: ClipInput, inputs: JobInputs, of_target: bool) -> AnalyseParams:
    """Resolves [stages.analyse] with the choice of a person for this clip.

    The clip's own choice comes first. Otherwise a target takes that of [stages.analyse], a source the largest face.
    """
    params = inputs.stages.analyse
    if not of_target:
        params = params.replace(**{name: getattr(AnalyseParams(), name) for name in _PERSON_FIELDS})
    return params.replace(**parse_person(clip_input.clip.person))


def _get_given_exposure(inputs: JobInputs, of_target: bool) -> float | None:
    """Stops that the user set for the target, or None; a source's are always measured."""
    return inputs.stages.colour.exposure if of_target else None


def _describe_reference_still(params: AnalyseParams, inputs: JobInputs) -> Descriptor | None:
    """Descriptor of the reference still, if the choice of the person needs one."""
    if params.person != "reference" or not params.person_reference:
        return None
    still = open_input(Clip(params.person_reference), inputs.config, interlaced=inputs.stages.output.interlaced)
    return np.round(
        compute_reference_descriptor(
            still.sequence, inputs.config, AnalyseParams(), inputs.device, inputs.stages.weights.allow
        ),
        _DESCRIPTOR_DIGITS,
    )


_PERSON_FIELDS = ("person", "person_index", "person_point", "person_reference")


class _ReadableClip:
    """A clip in which frames that cannot be read are black, so that one broken file does not end an analysis."""

    def __init__(self, clip_input: ClipInput, frames: Sequence[int], on_event: EventListener, log_level: int) -> None:
        self._clip_input = clip_input
        self._on_event = on_event
        self._log_level = log_level
        self.clip, self.kind, self.frames = clip_input.clip, clip_input.sequence.kind, tuple(frames)
        self._blank_plate: Plate | None = None
        self.sizes: dict[int, tuple[int, int]] = {}  # of the display window, by frame

    def read_stated_colour(self) -> StatedColour:
        return self._clip_input.sequence.read_stated_colour()

    def read(self, frame: int) -> Plate:
        try:
            plate = self._clip_input.sequence.read(frame)
            check_rgb(plate, str(self._clip_input.sequence.get_frame_path(frame)))
            self.sizes[frame] = (plate.display_window.width, plate.display_window.height)
            return plate
        except PlateError as error:
            log.log(self._log_level, "cannot analyse frame %d of %s: %s", frame, self._clip_input.name, error)
            self._on_event(Event("unread", self._clip_input.name, 0, 0, frame, message=str(error)))
        if self._blank_plate is None:
            readable = read_first_readable(self._clip_input, self.frames)
            self._blank_plate = replace(readable, pixels=np.zeros_like(readable.pixels), integers={})
        return self._blank_plate
