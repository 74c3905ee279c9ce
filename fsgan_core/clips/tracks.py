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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import Input, Inputs, check_rgb, first_readable, open_input, open_inputs
from fsgan_core.contract.errors import InputError, PlateError, TrackError, WeightsError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import Clip, Stages, person_settings
from fsgan_core.faces.analyse import analyse, analyser_names, reference_descriptor
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.networks.weights.catalogue import is_allowed, limit
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.sequence import frames_text, select_frames
from fsgan_core.runtime.cache import cache_folder, code_digest, digest, kept_file
from fsgan_core.runtime.events import Event, Listener, ignore
from fsgan_core.runtime.threads import one_thread_algebra

__all__ = ["Section", "analyse_clip", "choose_person", "clip_track", "sections", "source_frames", "write_track"]

log = logging.getLogger(__name__)

WHOLE_CLIP = 1500
SECTION = 1000
OVERLAP = 100


@dataclass(frozen=True)
class Section:
    """A part of a clip that is analysed as one. core: the frames that it answers for; frames: those looked at."""

    core: tuple[int, ...]
    frames: tuple[int, ...]


def sections(available: Sequence[int]) -> tuple[Section, ...]:
    """The sections of a target by its available frames, in order; together their cores are all of them."""
    available = tuple(available)
    if len(available) <= WHOLE_CLIP:
        return (Section(available, available),)
    found = []
    for number in sorted({frame // SECTION for frame in available}):
        first, last = number * SECTION, number * SECTION + SECTION - 1
        core = tuple(frame for frame in available if first <= frame <= last)
        around = tuple(frame for frame in available if first - OVERLAP <= frame <= last + OVERLAP)
        found.append(Section(core, around))
    return tuple(found)


def source_frames(available: Sequence[int]) -> tuple[int, ...]:
    """Which frames of a source are analysed: all, or evenly spread ones of a very long clip."""
    step = -(-len(available) // WHOLE_CLIP)
    return tuple(available[::step])


def clip_track(item: Input, frames: tuple[int, ...], inputs: Inputs, listen: Listener, *, of_target: bool) -> Track:
    """The track of these frames: the clip's own track file where the clip names one, else the one kept in the cache,
    else made now (and kept).

    Raises TrackError (track file), PlateError (no frame can be read), EngineError (detector not installed),
    WeightsError (landmarks or pose by a network whose weights are not there or not allowed).
    """
    if item.clip.track:
        return _own_track(item, inputs.stages.weights.allow)
    params = person_params(item, inputs, of_target)
    analysers = analyser_names(params, inputs.device, inputs.stages.weights.allow)
    prints = [item.sequence.fingerprint(frame) for frame in frames]
    key = digest("track", code_digest(("faces", "plates")), params.replace(person_reference=""),
                 _reference(params, inputs), list(analysers), list(frames), prints, item.space, inputs.config.digest,
                 _exposure(inputs, of_target))
    return kept_file(cache_folder() / "tracks" / f"{key}.json",
                     lambda: analyse_clip(item, frames, inputs, listen, of_target=of_target), save_track, load_track)


def _own_track(item: Input, allow: str) -> Track:
    """The track file that the clip names. Raises TrackError, also for a track of pictures of another size; WeightsError
    for one that was made with weights whose licence is not allowed."""
    track = load_track(Path(item.clip.track).expanduser())
    for used in track.weights:
        if not is_allowed(used.licence, allow):
            level, setting = limit(allow)
            raise WeightsError(f"the track {item.clip.track} was made with weights {used.name} of the licence class "
                               f"'{used.licence}', which {setting} = {level} does not allow; analyse the clip again, "
                               "or loosen the setting if you may")
    window = item.sequence.header(item.sequence.frames[0]).display_window
    if track.related and (track.width, track.height) != (window.width, window.height):
        raise TrackError(f"the track {item.clip.track} is of another clip: {track.width}x{track.height} pixels, "
                         f"{item.clip.path} has {window.width}x{window.height}; analyse this one")
    return track


def analyse_clip(item: Input, frames: tuple[int, ...], inputs: Inputs, listen: Listener, *, of_target: bool,
                 previous: Track | None = None) -> Track:
    """`faces.analyse` on the frames that can be read; the others are logged and count as without a face (rendering
    them fails later, each for itself). previous: a track whose manual overrides are kept.

    Raises PlateError when no frame can be read, EngineError.
    """
    start = time.perf_counter()
    params = person_params(item, inputs, of_target)
    track = analyse(_Readable(item, frames, listen), inputs.config, params, frames,
                    lambda done, total: listen(Event("analyse", item.name, done, total)),
                    exposure=_exposure(inputs, of_target), previous=previous, reference=_reference(params, inputs),
                    device=inputs.device, allow=inputs.stages.weights.allow)
    log.info("analysed %s: %d frames, %d people, %.1f s", item.name, len(frames), len(track.people),
             time.perf_counter() - start)
    return track


def write_track(clip: Clip, output: Path, stages: Stages, *, of_target: bool = True, frames: str = "",
                device: str = "cpu", listen: Listener = ignore) -> dict[str, Any]:
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
    with one_thread_algebra():
        track = analyse_clip(item, wanted, inputs, listen, of_target=of_target, previous=previous)
    save_track(output, track)
    people = [{"index": person.index, "frames": len(person.faces), "height": round(person.size, 1),
               "missing": frames_text([frame for frame in wanted if frame not in person.faces])}
              for person in track.people]
    return {"command": "analyse", "output": str(output), "frames": len(wanted), "exposure": track.exposure,
            "detector": track.detector, "landmarks": track.landmarker, "pose": track.pose, "people": people}


def choose_person(item: Input, track: Track, inputs: Inputs, *, of_target: bool) -> Person:
    """Whom to work on in a clip. Raises NoFaceError (nobody there), TrackError (no such person)."""
    params = person_params(item, inputs, of_target)
    return track.choose(params, _reference(params, inputs))


def person_params(item: Input, inputs: Inputs, of_target: bool) -> AnalyseParams:
    """[stages.analyse] with the choice of a person for this clip: its own; for a target, else, that of
    [stages.analyse]; for a source, else, the largest face."""
    params = inputs.stages.analyse
    if not of_target:
        params = params.replace(**{name: getattr(AnalyseParams(), name) for name in _PERSON})
    return params.replace(**person_settings(item.clip.person))


def _exposure(inputs: Inputs, of_target: bool) -> float | None:
    """Stops that a person gave, for the target; a source's are always measured."""
    return inputs.stages.colour.exposure if of_target else None


def _reference(params: AnalyseParams, inputs: Inputs) -> np.ndarray | None:
    """Descriptor of the reference still, where the choice of the person needs one."""
    if params.person != "reference" or not params.person_reference:
        return None
    still = open_input(Clip(params.person_reference), inputs.config)
    return np.round(reference_descriptor(still.sequence, inputs.config, AnalyseParams(), inputs.device,
                                         inputs.stages.weights.allow), 6)


_PERSON = ("person", "person_index", "person_point", "person_reference")


class _Readable:
    """A clip in which frames that cannot be read are black, so that one broken file does not end an analysis."""

    def __init__(self, item: Input, frames: Sequence[int], listen: Listener = ignore) -> None:
        self._item = item
        self._listen = listen
        self.clip, self.kind, self.frames = item.clip, item.sequence.kind, tuple(frames)
        self._blank: Plate | None = None

    def read(self, frame: int) -> Plate:
        try:
            plate = self._item.sequence.read(frame)
            check_rgb(plate, str(self._item.sequence.path_of(frame)))
            return plate
        except PlateError as error:
            log.warning("frame %d of %s is not analysed: %s", frame, self._item.name, error)
            self._listen(Event("unread", self._item.name, 0, 0, frame, message=str(error)))
        if self._blank is None:
            shown = first_readable(self._item, self.frames)
            self._blank = replace(shown, pixels=np.zeros_like(shown.pixels), integers={})
        return self._blank
