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
    from fsgan_core.runtime.events import Listener
    from fsgan_core.training.face_crops import Layout

__all__ = ["Footage", "find_footage", "prepare", "run"]

log = logging.getLogger(__name__)

# Part of every key: to be raised when the same footage would give other faces.
METHOD = 1
STILLS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".exr", ".dpx", ".bmp", ".webp")
_NUMBER = re.compile(r"\.(\d{3,})$")


@dataclass(frozen=True)
class Footage:
    """One clip to prepare. person: whose face. path: as `open_clip` takes it."""

    path: str
    person: str


def run(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.cli.arguments import stages_of
    from fsgan_core.runtime.device import choose_device
    from fsgan_core.training.face_crops import Layout

    if options.most < 2:
        raise InputError("--most must be at least 2")
    footage = find_footage(options.footage, _people(options.people))
    facts = prepare(footage, Path(options.output).expanduser(), stages_of(options),
                    Layout(options.resolution, options.crop, options.landmarks), options.most, options.licence,
                    presenter.listen, device=choose_device(options.device), mattes=options.mattes, force=options.force)
    if options.json:
        presenter.data({"ok": not facts["left_out"], "exit_code": 1 if facts["left_out"] else 0, **facts})
    else:
        presenter.say(f"train prepare: {facts['faces']} faces of {facts['people']} people in {facts['clips']} clips "
                      f"({facts['kept']} were there already); {facts['output']}")
        for name, why in facts["left_out"].items():
            presenter.say(f"  left out: {name}: {why}")
    return 1 if facts["left_out"] else 0


def find_footage(paths: Sequence[str], people: Mapping[str, str]) -> tuple[Footage, ...]:
    """The clips that `paths` name, files, patterns or folders that are searched; each with its person: by `people` (a
    file's name or its path's end -> person), else the folder inside a searched folder, else the file's own name.

    Raises InputError: nothing there, or a name in `people` that no clip has.
    """
    found: dict[str, Footage] = {}
    used: set[str] = set()
    for path in paths:
        folder = Path(path).expanduser()
        clips = [(clip, folder) for clip in _clips_in(folder)] if folder.is_dir() else [(path, None)]
        if not clips:
            raise InputError(f"{path} holds no movies and no pictures")
        for clip, root in clips:
            listed = next((name for name in people if Path(clip).as_posix().endswith(name)), None)
            if listed is not None:
                used.add(listed)
            found[clip] = Footage(clip, people[listed] if listed is not None else _person_of(clip, root))
    lost = [name for name in people if name not in used]
    if lost:
        raise InputError(f"the list of people names clips that are not there: {', '.join(lost[:5])}")
    return tuple(found[clip] for clip in sorted(found))


def prepare(footage: Sequence[Footage], output: Path, stages: Stages, layout: Layout, most: int, licence: str,
            listen: Listener, *, device: str = "cpu", mattes: bool = True, force: bool = False) -> dict[str, Any]:
    """Writes one file for each clip to the folder `output`; those that are there and right are kept. Clips without a
    usable face are logged and left out. Raises OutputError, EngineError, and PlateError when no clip can be read."""
    left_out: dict[str, str] = {}
    faces = kept = done = 0
    people = set()
    for one in footage:
        try:
            count, was_there = _prepare_one(one, output, stages, layout, most, licence, listen, device, mattes, force)
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
    return {"command": "train prepare", "output": str(output), "clips": done, "kept": kept, "people": len(people),
            "faces": faces, "left_out": left_out}


def _prepare_one(one: Footage, output: Path, stages: Stages, layout: Layout, most: int, licence: str, listen: Listener,
                 device: str, mattes: bool, force: bool) -> tuple[int, bool]:
    """How many faces the clip gives, and whether they were there already."""
    from fsgan_core.clips.inputs import check_rgb, open_inputs
    from fsgan_core.clips.tracks import choose_person, clip_track
    from fsgan_core.runtime.cache import digest
    from fsgan_core.runtime.events import Event
    from fsgan_core.runtime.threads import one_thread_algebra
    from fsgan_core.training.dataset import SUFFIX, Subject, read_subject, save_clip
    from fsgan_core.training.face_crops import ClipFaces, collect

    clip = Clip(one.path)
    inputs = open_inputs((clip,), clip, stages, device=device)
    item = inputs.sources[0]
    frames = _spread(item.sequence.frames, most)
    fingerprint = digest("source", list(frames), [item.sequence.fingerprint(frame) for frame in frames])
    key = digest("faces", METHOD, fingerprint, item.space, stages.analyse, stages.mask, layout, most, one.person,
                 licence, mattes)
    name = f"{_plain(one.person)}--{_plain(item.name)}-{fingerprint[:8]}"
    path = output / f"{name}{SUFFIX}"
    before = None if force else read_subject(path)
    if before is not None and before.key == key:
        return before.faces, True

    def read(frame: int) -> Any:
        plate = item.sequence.read(frame)
        check_rgb(plate, str(item.sequence.path_of(frame)))
        return plate

    with one_thread_algebra():
        track = clip_track(item, frames, inputs, listen, of_target=False)
        person = choose_person(item, track, inputs, of_target=False)
        codec = inputs.config.codec(item.space, track.exposure)
        found = collect([ClipFaces(item.name, read, person.faces, codec, track.pixel_aspect)], layout,
                        lambda done, total: listen(Event("collect", item.name, done, total)), most=most,
                        mattes=stages.mask if mattes else None)
    save_clip(path, found, Subject(name, one.person, licence, item.name, fingerprint, key, len(found), layout))
    item.sequence.close()
    return len(found), False


def _spread(available: Sequence[int], most: int) -> tuple[int, ...]:
    """Evenly spread frames, `most` of them or fewer."""
    return tuple(available[::-(-len(available) // most)])


def _clips_in(folder: Path) -> list[str]:
    """Every movie, numbered sequence and still under a folder; stills of one folder are one clip."""
    from fsgan_core.plates.movie import SUFFIXES as MOVIES

    clips: set[str] = set()
    try:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be searched: {error.strerror or error}") from error
    for path in files:
        if path.suffix.lower() in MOVIES:
            clips.add(str(path))
        elif path.suffix.lower() in STILLS:
            number = _NUMBER.search(path.stem)
            clips.add(str(path.with_name(f"{path.stem[:number.start()]}.####{path.suffix}") if number
                          else path.with_name(f"*{path.suffix}")))
    return sorted(clips)


def _person_of(clip: str, root: Path | None) -> str:
    inside = Path(clip).relative_to(root).parts[:-1] if root is not None else ()
    return inside[0] if inside else _plain(Path(clip).stem)


def _people(path: str) -> dict[str, str]:
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


def _plain(text: str) -> str:
    """As part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text).strip("_") or "clip"
