"""Track files: a clip's analysis as JSON that a person can read and edit. docs/track-file.md describes the format.

The measured faces and the overrides are the file's truth. The final faces are written for other readers; they are made
anew when someone has edited the rest of the file, which the digest shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fsgan_core.contract.errors import TrackError
from fsgan_core.contract.plain_data import check_count, parse_json
from fsgan_core.faces.face import ORIGINS, Face
from fsgan_core.faces.face_override import FaceOverride, check_offset
from fsgan_core.faces.landmarkers.landmarks_wflw import WFLW_COUNT
from fsgan_core.faces.mesh_pose import fit_mesh_to_landmarks
from fsgan_core.faces.track import (
    OFFSET_VERSION,
    POSE_METHODS,
    TRACK_VERSION,
    Person,
    Track,
    UsedWeights,
    rebuild_faces,
)
from fsgan_core.faces.track_meshes import (
    TrackMeshes,
    collect_meshes,
    find_archive,
    is_archive_used,
    load_meshes,
    name_archive,
    save_meshes,
)
from fsgan_core.runtime.arrays import AnyArray
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.text_files import read_text_file

TRACK_FORMAT = "fsgan-track"
_WEIGHTS_KEYS = ("role", "name", "sha256", "licence")
_MAX_FRAMES = 1_000_000  # of a clip: eleven hours at 24 frames a second
_MAX_NUMBER = 1e7  # pixels, degrees, stops: all are far smaller
_MAX_SIDE = 1_000_000  # pixels of a plate's side
_MAX_PEOPLE = 1000
_MIN_ASPECT = 0.01  # of pixels, and its inverse
_MAX_FRAME_DIGITS = 12
_MIN_FACE = 1e-3  # pixels from the leftmost to the rightmost landmark, and from the highest to the lowest
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def save_track(path: Path | str, track: Track) -> None:
    """Writes a track file and the archive of its meshes beside it, both or neither.

    Raises:
        OutputError: A file cannot be written.
    """
    path = Path(path)
    before = find_archive(path)
    meshes = collect_meshes(track.people)
    archive = None if meshes is None else path.with_name(name_archive(path, meshes))
    if meshes is not None and archive is not None and archive != before:
        save_meshes(archive, meshes)
    try:
        with write_atomically(path) as temporary:
            text = _format_file(track, meshes, "" if archive is None else archive.name)
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except BaseException:
        if archive is not None and archive != before:
            archive.unlink(missing_ok=True)
        raise
    if before is not None and before != archive and not is_archive_used(before):
        with contextlib.suppress(OSError):
            before.unlink()


def load_track(path: Path | str) -> Track:
    """Reads a track file and its meshes.

    Raises:
        TrackError: A file is missing, broken or of another version.
    """
    path = Path(path)
    try:
        text = read_text_file(path)
    except (OSError, ValueError) as error:
        raise TrackError(f"cannot read the track {path}: {error}") from error
    try:
        data = parse_json(text)
    except json.JSONDecodeError as error:
        raise TrackError(f"{path} is not a track: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except ValueError as error:
        raise TrackError(f"{path} is not a track: {error}") from error
    meshes = None
    if isinstance(data, Mapping) and "meshes" in data:
        try:
            file, digest = str(data["meshes"]["file"]), str(data["meshes"]["digest"])
        except (KeyError, TypeError) as error:
            raise TrackError(f"{path} is broken in the head: meshes takes a file and a digest") from error
        if not file or "\0" in file or Path(file).name != file:
            raise TrackError(f"{path} is broken in the head: {file!r} is not the name of a file beside it")
        meshes = load_meshes(path.parent / file, digest)
    return parse_track(data, str(path), meshes)


def format_track(track: Track) -> str:
    """Formats a track without its meshes as the file's text, one face or override a line."""
    return _format_file(track, None, "")


def _format_file(track: Track, meshes: TrackMeshes | None, archive: str) -> str:
    body = _make_body(track)
    if meshes is not None:
        people = body.pop("people")
        body.update(meshes={"file": archive, "digest": meshes.digest}, people=people)
    offset = any(override.offset for person in track.people for override in person.overrides.values())
    version = OFFSET_VERSION if offset else track.version
    head = {"format": TRACK_FORMAT, "version": version, **{key: body[key] for key in body if key != "people"}}
    lines = ["{"]
    lines += [f" {json.dumps(key)}: {_format_json(value)}," for key, value in head.items()]
    lines.append(f' "digest": "{_compute_digest(body)}",')
    blocks = [_format_person(person, data) for person, data in zip(track.people, body["people"], strict=True)]
    lines.append(' "people": [' + ("\n" + ",\n".join(blocks) + "\n ]" if blocks else "]"))
    return "\n".join([*lines, "}"]) + "\n"


def parse_track(data: Any, name: str = "the track", meshes: TrackMeshes | None = None) -> Track:
    """Parses JSON data as a track.

    Args:
        data: What `json.loads` returned.
        name: Name of the file, for messages.
        meshes: The track's meshes; None fits them to the landmarks.

    Raises:
        TrackError: The data are no track; the message names the place.
    """
    if not isinstance(data, Mapping) or data.get("format") != TRACK_FORMAT:
        raise TrackError(f'{name} is not a track: it does not say "format": "{TRACK_FORMAT}"')
    if data.get("version") not in (TRACK_VERSION, OFFSET_VERSION):
        raise TrackError(
            f"{name} has version {data.get('version')!r}; this program reads {TRACK_VERSION} and "
            f"{OFFSET_VERSION}. Analyse the clip again"
        )
    where = "the head"
    try:
        check_count(len(data["people"]), _MAX_PEOPLE, "people")
        people = []
        for index, entry in enumerate(data["people"]):
            where = f"person {index}"
            people.append(_parse_person(index, entry, _parse_aspect(data["pixel_aspect"]), meshes))
        where = "the head"
        track = Track(
            clip=str(data["clip"]),
            frames=tuple(_expand_frames(data["frames"])),
            width=_parse_integer(data["width"], "width", 1, _MAX_SIDE),
            height=_parse_integer(data["height"], "height", 1, _MAX_SIDE),
            pixel_aspect=_parse_aspect(data["pixel_aspect"]),
            exposure=_parse_number(data["exposure"]),
            people=tuple(people),
            detector=str(data["detector"]),
            landmarker=str(data["landmarks"]),
            gap=_parse_integer(data["gap"], "gap", 0, _MAX_FRAMES),
            smooth=_parse_number(data["smooth"]),
            related=bool(data["related"]),
            pose=_check_choice(data.get("pose", POSE_METHODS[0]), POSE_METHODS, "pose"),
            weights=tuple(
                UsedWeights(**{key: str(entry[key]) for key in _WEIGHTS_KEYS}) for entry in data.get("weights", ())
            ),
        )
        where = "its measured faces"
        if data.get("digest") != _compute_digest(_extract_body(data)):
            track = rebuild_faces(track)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise TrackError(f"{name} is broken in {where}: {what}") from error
    return track


def _make_body(track: Track) -> dict[str, Any]:
    """What the final faces are made from, as JSON data."""
    body: dict[str, Any] = {
        "clip": track.clip,
        "frames": _compress_frames(track.frames),
        "width": track.width,
        "height": track.height,
        "pixel_aspect": track.pixel_aspect,
        "exposure": track.exposure,
        "detector": track.detector,
        "landmarks": track.landmarker,
        "gap": track.gap,
        "smooth": track.smooth,
        "related": track.related,
    }
    # Left out at their defaults, so that such a track stays readable for programs without these keys.
    if track.pose != POSE_METHODS[0]:
        body["pose"] = track.pose
    if track.weights:
        body["weights"] = [{key: getattr(used, key) for key in _WEIGHTS_KEYS} for used in track.weights]
    body["people"] = [
        {
            "descriptor": person.descriptor.tolist(),
            "overrides": {str(frame): _encode_override(override) for frame, override in person.overrides.items()},
            "measured": {str(frame): _encode_face(face) for frame, face in person.measured.items()},
        }
        for person in track.people
    ]
    return body


def _extract_body(data: Mapping[str, Any]) -> dict[str, Any]:
    """What `_make_body` made, as it stands in the file, with keys that this program does not know."""
    body = {key: value for key, value in data.items() if key not in ("format", "version", "digest", "people")}
    body["people"] = [
        {"descriptor": person["descriptor"], "overrides": person.get("overrides", {}), "measured": person["measured"]}
        for person in data["people"]
    ]
    return body


def _compute_digest(body: Mapping[str, Any]) -> str:
    return hashlib.blake2b(_format_json(body).encode(), digest_size=8).hexdigest()


def _format_person(person: Person, data: Mapping[str, Any]) -> str:
    faces = {str(frame): _encode_face(face) for frame, face in person.faces.items()}
    lines = [f'  {{"index": {person.index},']
    for key in ("overrides", "faces", "measured"):
        table = faces if key == "faces" else data[key]
        rows = ",\n".join(f"    {json.dumps(frame)}: {_format_json(value)}" for frame, value in table.items())
        lines.append(f'   "{key}": {{' + (f"\n{rows}\n   " if rows else "") + "},")
    lines.append(f'   "descriptor": {_format_json(data["descriptor"])}}}')
    return "\n".join(lines)


def _encode_face(face: Face) -> dict[str, Any]:
    data: dict[str, Any] = {
        "confidence": face.confidence,
        "origin": face.origin,
        "euler": list(face.euler),
        "box": list(face.box),
        "landmarks": _list_rows(face.landmarks),
    }
    if face.begins:
        data["begins"] = True
    if face.wflw is not None:
        data["wflw"] = _list_rows(face.wflw)
    return data


def _encode_override(override: FaceOverride) -> dict[str, Any]:
    data: dict[str, Any] = {name: True for name in ("hidden", "ignored") if getattr(override, name)}
    if override.landmarks:
        data["landmarks"] = {str(index): list(point) for index, point in sorted(override.landmarks.items())}
    if override.offset:
        data["offset"] = {
            name: list(values) if len(values) > 1 else values[0] for name, values in sorted(override.offset.items())
        }
    return data


def _parse_person(index: int, data: Mapping[str, Any], aspect: float, meshes: TrackMeshes | None) -> Person:
    overrides = {}
    for frame, entry in data.get("overrides", {}).items():
        placed = {
            _parse_frame(key): (_parse_number(point[0]), _parse_number(point[1]))
            for key, point in entry.get("landmarks", {}).items()
        }
        if any(not 0 <= key < 68 for key in placed):
            raise ValueError(f"override of frame {frame}: landmarks are numbered 0 to 67")
        try:
            offset = {
                name: check_offset(name, values if isinstance(values, (list, tuple)) else [values])
                for name, values in entry.get("offset", {}).items()
            }
        except ValueError as error:
            raise ValueError(f"override of frame {frame}: {error}") from error
        overrides[_parse_frame(frame)] = FaceOverride(
            placed, bool(entry.get("hidden", False)), bool(entry.get("ignored", False)), offset
        )
    descriptor = np.array([_parse_number(value) for value in data["descriptor"]])
    if descriptor.shape != (128,):
        raise ValueError(f"the descriptor has {descriptor.size} numbers, not 128")
    tables = {}
    for kind in ("measured", "faces"):
        known = {} if meshes is None else meshes.get_meshes(kind, index)
        table = _parse_faces(data.get(kind, {}) if kind == "faces" else data[kind])
        tables[kind] = {frame: replace(face, mesh=known.get(frame)) for frame, face in table.items()}
    faces = {
        frame: face if face.mesh is not None else replace(face, mesh=fit_mesh_to_landmarks(face.landmarks, aspect))
        for frame, face in tables["faces"].items()
    }
    return Person(
        index,
        faces,
        tables["measured"],
        descriptor,
        dict(sorted(overrides.items())),
    )


def _parse_faces(table: Mapping[str, Any]) -> dict[int, Face]:
    faces = {}
    # Older files say how far the picture moved since the frame before, if the face was there.
    has_motion = any("motion" in data for data in table.values() if isinstance(data, Mapping))
    for key, data in table.items():
        try:
            wflw = _parse_points(data["wflw"], 2, WFLW_COUNT) if "wflw" in data else None
            origin = _check_choice(data["origin"], ORIGINS, "origin")
            box = tuple(_parse_number(value) for value in data["box"])
            angles = tuple(_parse_number(value) for value in data["euler"])
            if len(box) != 4 or len(angles) != 3:
                raise ValueError("box takes 4 numbers and euler 3")
            frame = _parse_frame(key)
            faces[frame] = Face(
                frame,
                box,
                _parse_points(data["landmarks"], 2),
                angles,
                _parse_number(data["confidence"]),
                origin,
                bool(data.get("begins", has_motion and "motion" not in data)),
                wflw,
            )
        except KeyError as error:
            raise ValueError(f"frame {key}: {error} is missing") from error
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(f"frame {key}: {error}") from error
    return dict(sorted(faces.items()))


def _parse_points(values: Any, columns: int, count: int = 68) -> AnyArray:
    points = np.array(values, np.float64)
    if points.shape != (count, columns):
        raise ValueError(f"{count} points of {columns} numbers are needed, not {points.shape}")
    if not (np.abs(points) <= _MAX_NUMBER).all():
        raise ValueError(f"a point has a number that is not within {_MAX_NUMBER:g}")
    if np.ptp(points, axis=0).min() < _MIN_FACE:
        raise ValueError("all points lie on one point or line, so they are no face")
    return points


def _check_choice(value: Any, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise ValueError(f"{what} is {value!r}, not one of {', '.join(known)}")
    return str(value)


def _parse_number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or abs(number) > _MAX_NUMBER:
        raise ValueError(f"{value!r} is not a finite number within {_MAX_NUMBER:g}")
    return number


def _parse_aspect(value: Any) -> float:
    aspect = _parse_number(value)
    if not _MIN_ASPECT <= aspect <= 1 / _MIN_ASPECT:
        raise ValueError(f"pixel_aspect is {aspect:g}, not {_MIN_ASPECT:g} to {1 / _MIN_ASPECT:g}")
    return aspect


def _parse_integer(value: Any, name: str, low: int, high: int) -> int:
    number = _parse_number(value)
    if not low <= number <= high:
        raise ValueError(f"{name} is {number:g}, not {low} to {high}")
    return int(number)


def _parse_frame(key: str) -> int:
    """Reads a frame number that is the key of a table."""
    if len(key) > _MAX_FRAME_DIGITS:
        raise ValueError("a frame's number is too long")
    return int(key)


def _list_rows(points: AnyArray) -> list[list[float]]:
    return [[value + 0.0 for value in row] for row in points.tolist()]


def _format_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    # Bytes of a file name that are not UTF-8: as JSON's own escapes.
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _compress_frames(frames: tuple[int, ...]) -> list[Any]:
    """Runs of frames as [first, last]."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return runs


def _expand_frames(runs: Any) -> list[int]:
    frames: list[int] = []
    for first, last in runs:
        if not isinstance(first, int) or not isinstance(last, int) or last < first:
            raise ValueError(f"frames: {first!r} to {last!r} is not a run of frames")
        check_count(len(frames) + last - first + 1, _MAX_FRAMES, "frames")
        frames.extend(range(first, last + 1))
    if any(b <= a for a, b in pairwise(frames)):
        raise ValueError("frames must ascend")
    return frames
