"""Prepare faces for training: from folders of clips and stills to one file of faces for each clip."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsgan_core.clips.inputs import ClipInput, JobInputs, check_rgb, open_inputs
from fsgan_core.clips.tracks import choose_person, get_clip_track
from fsgan_core.contract.errors import InputError, NoFaceError, PlateError
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.plates.movies.movie import MOVIE_SUFFIXES
from fsgan_core.plates.plate import Plate
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.device import choose_device
from fsgan_core.runtime.events import Event, EventListener, ignore_event
from fsgan_core.runtime.threads import limit_algebra_threads
from fsgan_core.runtime.user_paths import expand_home
from fsgan_core.training.data.dataset import FACES_SUFFIX, PreparedClip, read_prepared_clip, save_clip
from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout, collect_faces
from fsgan_core.training.runs import make_file_stem

__all__ = [
    "FootageClip",
    "PrepareResult",
    "find_footage",
    "make_clip_faces",
    "prepare_faces",
    "read_people",
]

log = logging.getLogger(__name__)

# Part of every key. Raise it when the same footage would give other faces.
METHOD_VERSION = 1
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".dpx", ".bmp", ".webp")
DEFAULT_FACES_PER_CLIP = 200
_FRAME_NUMBER = re.compile(r"\.(\d{3,})$")


@dataclass(frozen=True)
class FootageClip:
    """One clip to prepare.

    Attributes:
        path: A movie, a still, or a pattern, as `open_clip` takes it.
        person: Whose face the clip shows.
    """

    path: str
    person: str


@dataclass(frozen=True)
class PrepareResult:
    """What `prepare_faces` did.

    Attributes:
        output: The folder of prepared faces.
        clips: Clips with usable faces.
        kept: How many of these clips were prepared already.
        people: Different people in these clips.
        faces: Faces in all of them.
        left_out: Clips that could not be used, and why.
    """

    output: Path
    clips: int
    kept: int
    people: int
    faces: int
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        return {
            "command": "train prepare",
            "output": str(self.output),
            "clips": self.clips,
            "kept": self.kept,
            "people": self.people,
            "faces": self.faces,
            "left_out": dict(self.left_out),
        }


@dataclass(frozen=True)
class _PrepareSettings:
    """What all clips of one preparation share."""

    output: Path
    stages: Stages
    layout: FaceLayout
    faces_per_clip: int
    licence: str
    with_mattes: bool
    device: str
    force: bool
    on_event: EventListener


def prepare_faces(
    footage: Sequence[FootageClip],
    output: str | Path,
    *,
    layout: FaceLayout | None = None,
    stages: Stages | None = None,
    faces_per_clip: int = DEFAULT_FACES_PER_CLIP,
    licence: str = "unknown",
    mattes: bool = True,
    device: str = "auto",
    force: bool = False,
    on_event: EventListener = ignore_event,
) -> PrepareResult:
    """Cut the faces out of clips and write one file for each clip.

    Files that are already there and up to date are kept. Clips without a usable face are logged and left out.

    Args:
        footage: The clips, for example from `find_footage`.
        output: The folder to write.
        layout: Resolution, crop and landmarks of the faces; None uses 256 pixels, a crop of 1.2 and 68 landmarks.
        stages: Parameters of the analysis and the mattes; None uses the defaults.
        faces_per_clip: Largest number of faces taken from a clip, evenly spread over it; at least 2.
        licence: Licence class of the footage. Weights that learn from it inherit the class.
        mattes: Whether to measure mattes too. That takes most of the time, and reenact can be trained without them.
        device: Where the networks of the analysis run: "auto", "cpu", "cuda", "cuda:1", "mps".
        force: Whether to prepare clips again that are up to date.
        on_event: Receives the progress.

    Raises:
        InputError: A setting is out of range.
        NoFaceError: No clip has a usable face.
        PlateError: The only clip cannot be read.
        OutputError: The folder cannot be written.
    """
    if faces_per_clip < 2:
        raise InputError("--most must be at least 2")
    settings = _PrepareSettings(
        output=expand_home(output),
        stages=stages or Stages(),
        layout=layout or FaceLayout(),
        faces_per_clip=faces_per_clip,
        licence=licence,
        with_mattes=mattes,
        device=choose_device(device),
        force=force,
        on_event=on_event,
    )
    left_out: dict[str, str] = {}
    faces = kept = clips = 0
    people = set()
    for clip in footage:
        try:
            count, was_kept = _prepare_clip(clip, settings)
        except (PlateError, NoFaceError) as error:
            if len(footage) == 1:
                raise
            log.warning("%s is left out: %s", clip.path, error)
            left_out[clip.path] = str(error)
            continue
        faces, kept, clips = faces + count, kept + was_kept, clips + 1
        people.add(clip.person)
        log.info("%s: %d faces of %s%s", clip.path, count, clip.person, " (kept)" if was_kept else "")
    if not clips:
        raise NoFaceError("no clip shows a usable face; the log gives the reason for each clip")
    return PrepareResult(settings.output, clips, kept, len(people), faces, left_out)


def find_footage(paths: Sequence[str | Path], people: Mapping[str, str] | None = None) -> tuple[FootageClip, ...]:
    """Find the clips in folders, and the person that each clip shows.

    Args:
        paths: Clips, patterns, or folders. Folders are searched for movies, numbered sequences and stills; all
            unnumbered stills of a folder are one clip.
        people: The person by file name or by end of a path. Other clips belong to the person that their folder
            inside a searched folder is named after, or else to a person named after the file.

    Raises:
        InputError: A folder has no clips, or `people` names a clip that was not found.
    """
    people = people or {}
    clips_by_path: dict[str, FootageClip] = {}
    used_names: set[str] = set()
    for path in paths:
        folder = expand_home(path)
        clips = [(clip, folder) for clip in _list_clip_paths(folder)] if folder.is_dir() else [(str(path), None)]
        if not clips:
            raise InputError(f"{path} has no movies and no pictures")
        for clip, root in clips:
            listed = next((name for name in people if Path(clip).as_posix().endswith(name)), None)
            if listed is not None:
                used_names.add(listed)
            clips_by_path[clip] = FootageClip(clip, people[listed] if listed is not None else _guess_person(clip, root))
    missing = [name for name in people if name not in used_names]
    if missing:
        raise InputError(f"the list of people names clips that were not found: {', '.join(missing[:5])}")
    return tuple(clips_by_path[clip] for clip in sorted(clips_by_path))


def read_people(path: str | Path) -> dict[str, str]:
    """Read a CSV file with FILE,PERSON lines; lines that start with # are comments.

    Returns:
        The person by file name or by end of a path, for `find_footage`.

    Raises:
        InputError: The file cannot be read, or a line has another form.
    """
    try:
        with expand_home(path).open(newline="", encoding="utf-8") as file:
            rows: Iterable[list[str]] = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the list of people {path} cannot be read: {error}") from error
    wrong = [row for row in rows if len(row) != 2 or not all(cell.strip() for cell in row)]
    if wrong:
        raise InputError(f"{path}: every line must be FILE,PERSON, but one is: {','.join(wrong[0])}")
    return {name.strip(): person.strip() for name, person in rows}


def make_clip_faces(
    item: ClipInput, frames: Sequence[int], inputs: JobInputs, on_event: EventListener = ignore_event
) -> ClipFaces:
    """Analyse a source clip, and describe how to read the faces of its person.

    Args:
        item: The clip, one of `inputs.sources`.
        frames: The frames to analyse. A track in the cache is used if it is there.
        inputs: The opened inputs of the job.
        on_event: Receives the progress.

    Raises:
        NoFaceError: The clip shows no face.
    """
    track = get_clip_track(item, tuple(frames), inputs, on_event, of_target=False)
    person = choose_person(item, track, inputs, of_target=False)
    codec = inputs.config.make_codec(item.space, track.exposure)
    return ClipFaces(item.name, _make_plate_reader(item), person.faces, codec, track.pixel_aspect)


def _make_plate_reader(item: ClipInput) -> Callable[[int], Plate]:
    def read_plate(frame: int) -> Plate:
        plate = item.sequence.read(frame)
        check_rgb(plate, str(item.sequence.get_frame_path(frame)))
        return plate

    return read_plate


def _prepare_clip(footage: FootageClip, settings: _PrepareSettings) -> tuple[int, bool]:
    """Return how many faces the clip gives, and whether they were there already."""
    stages, layout = settings.stages, settings.layout
    clip = Clip(footage.path)
    inputs = open_inputs((clip,), clip, stages, device=settings.device)
    item = inputs.sources[0]
    frames = _spread_frames(item.sequence.frames, settings.faces_per_clip)
    fingerprint = compute_digest("source", list(frames), [item.sequence.compute_fingerprint(frame) for frame in frames])
    key = compute_digest(
        "faces",
        METHOD_VERSION,
        fingerprint,
        item.space,
        stages.analyse,
        stages.mask,
        layout,
        settings.faces_per_clip,
        footage.person,
        settings.licence,
        settings.with_mattes,
    )
    name = f"{make_file_stem(footage.person, 'clip')}--{make_file_stem(item.name, 'clip')}-{fingerprint[:8]}"
    path = settings.output / f"{name}{FACES_SUFFIX}"
    existing = None if settings.force else read_prepared_clip(path)
    if existing is not None and existing.key == key:
        return existing.face_count, True

    def report_faces(done: int, total: int) -> None:
        settings.on_event(Event("collect", item.name, done, total))

    with limit_algebra_threads():
        faces = collect_faces(
            [make_clip_faces(item, frames, inputs, settings.on_event)],
            layout,
            report_faces,
            max_faces=settings.faces_per_clip,
            mattes=stages.mask if settings.with_mattes else None,
        )
    prepared = PreparedClip(name, footage.person, settings.licence, item.name, fingerprint, key, len(faces), layout)
    save_clip(path, faces, prepared)
    item.sequence.close()
    return len(faces), False


def _spread_frames(available: Sequence[int], most: int) -> tuple[int, ...]:
    """Choose at most `most` frames, evenly spread."""
    return tuple(available[:: -(-len(available) // most)])


def _list_clip_paths(folder: Path) -> list[str]:
    clips: set[str] = set()
    try:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be searched: {error.strerror or error}") from error
    for path in files:
        if path.suffix.lower() in MOVIE_SUFFIXES:
            clips.add(str(path))
        elif path.suffix.lower() in STILL_SUFFIXES:
            number = _FRAME_NUMBER.search(path.stem)
            name = f"{path.stem[: number.start()]}.####{path.suffix}" if number else f"*{path.suffix}"
            clips.add(str(path.with_name(name)))
    return sorted(clips)


def _guess_person(clip: str, root: Path | None) -> str:
    folders = Path(clip).relative_to(root).parts[:-1] if root is not None else ()
    return folders[0] if folders else make_file_stem(Path(clip).stem, "clip")
