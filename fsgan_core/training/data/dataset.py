"""Prepared faces on disk: a folder with one .npz file for each clip, with plain arrays and a JSON header.

docs/training.md describes the format. A file is written whole or not at all. Its header has a key of everything it was
made from, so that preparing again makes only what is missing or has changed. Training and validation faces are split by
person, never by frame (`choose_held_out_people`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.runtime.array_files import ARRAY_FILE_ERRORS
from fsgan_core.runtime.arrays import AnyArray, Names
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.training.data.face_crops import FaceLayout, FaceSet

__all__ = ["FaceDataset", "PreparedClip", "choose_held_out_people", "load_dataset", "read_prepared_clip", "save_clip"]

log = logging.getLogger(__name__)

FACES_FORMAT = "fsgan-faces-1"
FACES_SUFFIX = ".npz"
MATTES_KEY = "mattes"  # only in files that were prepared with mattes
_ARRAY_KEYS = ("pictures", "landmarks", "points", "angles", "frames")


@dataclass(frozen=True)
class PreparedClip:
    """The header of a file of prepared faces.

    Attributes:
        name: Name of the file, without its suffix.
        person: Whose face the clip shows; any name that the studio uses.
        licence: Licence class of the footage.
        source: Name of the clip.
        fingerprint: Digest of the clip's content.
        key: Digest of everything that the file depends on.
        face_count: Number of faces in the file.
        layout: Resolution, crop and landmarks of the faces.
    """

    name: str
    person: str
    licence: str
    source: str
    fingerprint: str
    key: str
    face_count: int
    layout: FaceLayout


@dataclass(frozen=True)
class FaceDataset:
    """A folder of prepared clips.

    Attributes:
        clips: The headers of the clips.
        faces: The faces of all clips; `faces.clips` are positions in `clips`.
    """

    clips: tuple[PreparedClip, ...]
    faces: FaceSet

    @property
    def people(self) -> Names:
        """The name of each face's person, (n,)."""
        result: Names = np.array([subject.person for subject in self.clips])[self.faces.clips]
        return result

    @property
    def key(self) -> list[str]:
        """The keys of all clips; they change when any face changes."""
        return [subject.key for subject in self.clips]


def save_clip(path: Path, faces: FaceSet, subject: PreparedClip) -> None:
    """Write the faces of one clip.

    Raises:
        OutputError: The file cannot be written.
    """
    head = {
        "format": FACES_FORMAT,
        "name": subject.name,
        "person": subject.person,
        "licence": subject.licence,
        "source": subject.source,
        "fingerprint": subject.fingerprint,
        "key": subject.key,
        "faces": len(faces),
        "resolution": faces.layout.resolution,
        "crop": faces.layout.crop,
        "landmarks": faces.layout.landmarks,
    }
    arrays = {name: getattr(faces, name) for name in (*_ARRAY_KEYS, MATTES_KEY)}
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            head=np.array(json.dumps(head)),
            **{name: array for name, array in arrays.items() if array is not None},
        )


def read_prepared_clip(path: Path) -> PreparedClip | None:
    """Read the header of a file of prepared faces; None if the file is missing or not usable."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return _parse_prepared_clip(parse_json(str(data["head"])))
    except ARRAY_FILE_ERRORS as error:
        log.warning("%s is not usable: %s", path, error)
        return None


def load_dataset(folder: Path) -> FaceDataset:
    """Load all prepared clips of a folder, sorted by file name.

    Raises:
        InputError: The folder has no prepared clips, their layouts differ, or a file is broken.
    """
    paths = sorted(folder.glob(f"*{FACES_SUFFIX}"))
    if not paths:
        raise InputError(f"{folder} has no prepared faces; make them with: fsgan train prepare CLIPS --output {folder}")
    subjects: list[PreparedClip] = []
    clip_arrays: dict[str, list[AnyArray]] = {name: [] for name in (*_ARRAY_KEYS, MATTES_KEY)}
    for path in paths:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                subjects.append(_parse_prepared_clip(parse_json(str(data["head"]))))
                for name in clip_arrays:
                    if name in data or name != MATTES_KEY:
                        clip_arrays[name].append(data[name])
        except ARRAY_FILE_ERRORS as error:
            raise InputError(
                f"{path} is not a complete file of prepared faces ({error}); delete it and prepare again"
            ) from error
    layouts = {subject.layout for subject in subjects}
    if len(layouts) > 1:
        raise InputError(
            f"{folder} mixes faces of different resolution, crop or landmarks; prepare all of them again with --force"
        )
    clips = np.repeat(np.arange(len(subjects)), [subject.face_count for subject in subjects])
    if len(clip_arrays[MATTES_KEY]) < len(subjects):  # training needs the mattes of all clips or uses none
        del clip_arrays[MATTES_KEY]
    joined_arrays = {name: np.concatenate(arrays) for name, arrays in clip_arrays.items()}
    faces = FaceSet(
        layouts.pop(),
        joined_arrays["pictures"],
        joined_arrays["landmarks"],
        joined_arrays["points"],
        clips,
        joined_arrays["frames"],
        joined_arrays["angles"],
        joined_arrays.get(MATTES_KEY),
    )
    return FaceDataset(tuple(subjects), faces)


def choose_held_out_people(
    prepared: FaceDataset, named_people: Sequence[str], share: float, seed: int
) -> tuple[str, ...]:
    """Choose the people whose faces are used for validation only.

    Args:
        prepared: The faces.
        named_people: Names of people to hold out; if empty, people are drawn at random.
        share: Share of the people to draw, 0 to 1; at least one is drawn.
        seed: Decides who is drawn.

    Raises:
        InputError: A name is unknown, or nobody is left to train on.
    """
    people = sorted({subject.person for subject in prepared.clips})
    unknown = [name for name in named_people if name not in people]
    if unknown:
        raise InputError(f"the prepared faces show no {', '.join(unknown)}; they show {', '.join(people)}")
    if len(people) < 2:
        raise InputError(
            f"the prepared faces show only one person, {people[0]}; validation needs another one. To train on one "
            "person, use `fsgan finetune`"
        )
    held_out = tuple(sorted(named_people))
    if not held_out:
        count = min(max(1, round(share * len(people))), len(people) - 1)
        order = np.random.default_rng([seed, len(people)]).permutation(len(people))
        held_out = tuple(sorted(people[position] for position in order[:count]))
    if len(held_out) == len(people):
        raise InputError("everybody in the prepared faces is held out for validation; nobody is left to train on")
    return held_out


def _parse_prepared_clip(head: dict[str, Any]) -> PreparedClip:
    if head["format"] != FACES_FORMAT:
        raise ValueError(f"format {head['format']}, expected {FACES_FORMAT}")
    layout = FaceLayout(int(head["resolution"]), float(head["crop"]), int(head["landmarks"]))
    return PreparedClip(
        head["name"],
        head["person"],
        head["licence"],
        head["source"],
        head["fingerprint"],
        head["key"],
        int(head["faces"]),
        layout,
    )
