"""`fsgan train prepare`: folders of clips and stills to faces that networks are trained on."""

from __future__ import annotations

import csv
import logging
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import InputError, NoFaceError, PlateError
from fsgan_core.contract.shot import Clip, Stages

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.runtime.events import EventListener
    from fsgan_core.training.data.face_crops import FaceLayout

__all__ = ["FootageClip", "find_footage", "prepare_footage", "run_prepare"]

log = logging.getLogger(__name__)

# Part of every key: to be raised when the same footage would give other faces.
METHOD_VERSION = 1
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".dpx", ".bmp", ".webp")
_FRAME_NUMBER = re.compile(r"\.(\d{3,})$")


@dataclass(frozen=True)
class FootageClip:
    """One clip to prepare. person: whose face. path: as `open_clip` takes it."""

    path: str
    person: str


def run_prepare(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.cli.arguments import make_stages
    from fsgan_core.runtime.device import choose_device
    from fsgan_core.training.data.face_crops import FaceLayout

    if options.most < 2:
        raise InputError("--most must be at least 2")
    footage = find_footage(options.footage, _read_people(options.people))
    facts = prepare_footage(
        footage,
        Path(options.output).expanduser(),
        make_stages(options),
        FaceLayout(options.resolution, options.crop, options.landmarks),
        options.most,
        options.licence,
        presenter.on_event,
        device=choose_device(options.device),
        mattes=options.mattes,
        force=options.force,
    )
    if options.json:
        presenter.print_json({"ok": not facts["left_out"], "exit_code": 1 if facts["left_out"] else 0, **facts})
    else:
        presenter.print_line(
            f"train prepare: {facts['faces']} faces of {facts['people']} people in {facts['clips']} clips "
            f"({facts['kept']} were there already); {facts['output']}"
        )
        for name, why in facts["left_out"].items():
            presenter.print_line(f"  left out: {name}: {why}")
    return 1 if facts["left_out"] else 0


def find_footage(paths: Sequence[str], people: Mapping[str, str]) -> tuple[FootageClip, ...]:
    """The clips that `paths` name, files, patterns or folders that are searched; each with its person: by `people` (a
    file's name or its path's end -> person), else the folder inside a searched folder, else the file's own name.

    Raises InputError: nothing there, or a name in `people` that no clip has.
    """
    found: dict[str, FootageClip] = {}
    used: set[str] = set()
    for path in paths:
        folder = Path(path).expanduser()
        clips = [(clip, folder) for clip in _list_clips(folder)] if folder.is_dir() else [(path, None)]
        if not clips:
            raise InputError(f"{path} holds no movies and no pictures")
        for clip, root in clips:
            listed = next((name for name in people if Path(clip).as_posix().endswith(name)), None)
            if listed is not None:
                used.add(listed)
            found[clip] = FootageClip(clip, people[listed] if listed is not None else _guess_person(clip, root))
    lost = [name for name in people if name not in used]
    if lost:
        raise InputError(f"the list of people names clips that are not there: {', '.join(lost[:5])}")
    return tuple(found[clip] for clip in sorted(found))


def prepare_footage(
    footage: Sequence[FootageClip],
    output: Path,
    stages: Stages,
    layout: FaceLayout,
    most: int,
    licence: str,
    on_event: EventListener,
    *,
    device: str = "cpu",
    mattes: bool = True,
    force: bool = False,
) -> dict[str, Any]:
    """Writes one file for each clip to the folder `output`; those that are there and right are kept. Clips without a
    usable face are logged and left out. Raises OutputError, EngineError, and PlateError when no clip can be read."""
    left_out: dict[str, str] = {}
    faces = kept = done = 0
    people = set()
    for one in footage:
        try:
            count, was_there = _prepare_clip(
                one, output, stages, layout, most, licence, on_event, device, mattes, force
            )
        except (PlateError, NoFaceError) as error:
            if len(footage) == 1:
                raise
            log.warning("%s is left out: %s", one.path, error)
            left_out[one.path] = str(error)
            continue
        faces, kept, done = faces + count, kept + was_there, done + 1
        people.add(one.person)
        log.info("%s: %d faces of %s%s", one.path, count, one.person, " (kept)" if was_there else "")
    if not done:
        raise NoFaceError("no clip shows a face that can be used; the log says what is wrong with each")
    return {
        "command": "train prepare",
        "output": str(output),
        "clips": done,
        "kept": kept,
        "people": len(people),
        "faces": faces,
        "left_out": left_out,
    }


def _prepare_clip(
    one: FootageClip,
    output: Path,
    stages: Stages,
    layout: FaceLayout,
    most: int,
    licence: str,
    on_event: EventListener,
    device: str,
    mattes: bool,
    force: bool,
) -> tuple[int, bool]:
    """How many faces the clip gives, and whether they were there already."""
    from fsgan_core.clips.inputs import check_rgb, open_inputs
    from fsgan_core.clips.tracks import choose_person, get_clip_track
    from fsgan_core.runtime.cache import compute_digest
    from fsgan_core.runtime.events import Event
    from fsgan_core.runtime.threads import limit_algebra_threads
    from fsgan_core.training.data.dataset import FACES_SUFFIX, PreparedClip, read_prepared_clip, save_clip
    from fsgan_core.training.data.face_crops import ClipFaces, collect_faces

    clip = Clip(one.path)
    inputs = open_inputs((clip,), clip, stages, device=device)
    item = inputs.sources[0]
    frames = _spread_frames(item.sequence.frames, most)
    fingerprint = compute_digest("source", list(frames), [item.sequence.compute_fingerprint(frame) for frame in frames])
    key = compute_digest(
        "faces",
        METHOD_VERSION,
        fingerprint,
        item.space,
        stages.analyse,
        stages.mask,
        layout,
        most,
        one.person,
        licence,
        mattes,
    )
    name = f"{_make_file_stem(one.person)}--{_make_file_stem(item.name)}-{fingerprint[:8]}"
    path = output / f"{name}{FACES_SUFFIX}"
    before = None if force else read_prepared_clip(path)
    if before is not None and before.key == key:
        return before.face_count, True

    def read_plate(frame: int) -> Any:
        plate = item.sequence.read(frame)
        check_rgb(plate, str(item.sequence.get_frame_path(frame)))
        return plate

    with limit_algebra_threads():
        track = get_clip_track(item, frames, inputs, on_event, of_target=False)
        person = choose_person(item, track, inputs, of_target=False)
        codec = inputs.config.make_codec(item.space, track.exposure)
        found = collect_faces(
            [ClipFaces(item.name, read_plate, person.faces, codec, track.pixel_aspect)],
            layout,
            lambda done, total: on_event(Event("collect", item.name, done, total)),
            most=most,
            mattes=stages.mask if mattes else None,
        )
    save_clip(path, found, PreparedClip(name, one.person, licence, item.name, fingerprint, key, len(found), layout))
    item.sequence.close()
    return len(found), False


def _spread_frames(available: Sequence[int], most: int) -> tuple[int, ...]:
    """Evenly spread frames, `most` of them or fewer."""
    return tuple(available[:: -(-len(available) // most)])


def _list_clips(folder: Path) -> list[str]:
    """Every movie, numbered sequence and still under a folder; stills of one folder are one clip."""
    from fsgan_core.plates.movie import MOVIE_SUFFIXES as MOVIES

    clips: set[str] = set()
    try:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be searched: {error.strerror or error}") from error
    for path in files:
        if path.suffix.lower() in MOVIES:
            clips.add(str(path))
        elif path.suffix.lower() in STILL_SUFFIXES:
            number = _FRAME_NUMBER.search(path.stem)
            clips.add(
                str(
                    path.with_name(f"{path.stem[: number.start()]}.####{path.suffix}")
                    if number
                    else path.with_name(f"*{path.suffix}")
                )
            )
    return sorted(clips)


def _guess_person(clip: str, root: Path | None) -> str:
    inside = Path(clip).relative_to(root).parts[:-1] if root is not None else ()
    return inside[0] if inside else _make_file_stem(Path(clip).stem)


def _read_people(path: str) -> dict[str, str]:
    """A table `file,person` of a CSV file, "" is none. Raises InputError."""
    if not path:
        return {}
    try:
        with Path(path).expanduser().open(newline="", encoding="utf-8") as file:
            rows: Iterable[list[str]] = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the list of people {path} cannot be read: {error}") from error
    wrong = [row for row in rows if len(row) != 2 or not all(cell.strip() for cell in row)]
    if wrong:
        raise InputError(f"{path}: every line is FILE,PERSON, and one is: {','.join(wrong[0])}")
    return {name.strip(): person.strip() for name, person in rows}


def _make_file_stem(text: str) -> str:
    """As part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text).strip("_") or "clip"
