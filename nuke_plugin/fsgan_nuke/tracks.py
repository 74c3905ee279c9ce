"""Converts track files for Nuke (curves, Tracker4 and CornerPin2D text, outlines), and takes edits back.

This module does not import nuke. Points are in Nuke's coordinates: origin at the lower left, pixel centres at one half.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import uuid
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from fsgan_core.contract.errors import TrackError
from fsgan_core.contract.landmarks import FACE_OUTLINE, LANDMARK_COUNT, LANDMARK_REGIONS, TRACKABLE_LANDMARKS
from fsgan_core.contract.plain_data import parse_json

POINT_KNOBS = {f"p{index:02d}": index for index in range(LANDMARK_COUNT)}  # knobs of a Points node -> landmark
MIN_MOVE = 0.05  # pixels; a point that moved less counts as not edited

# Columns of a Tracker4's table, as Nuke writes them.
_TRACKER_COLUMNS = (
    "{ 5 1 20 enable e 1 }",
    "{ 3 1 75 name name 1 }",
    "{ 2 1 58 track_x track_x 1 }",
    "{ 2 1 58 track_y track_y 1 }",
    "{ 2 1 63 offset_x offset_x 1 }",
    "{ 2 1 63 offset_y offset_y 1 }",
    "{ 4 1 27 T T 1 }",
    "{ 4 1 27 R R 1 }",
    "{ 4 1 27 S S 1 }",
    "{ 2 0 45 error error 1 }",
    "{ 1 1 0 error_min error_min 1 }",
    "{ 1 1 0 error_max error_max 1 }",
    "{ 1 1 0 pattern_x pattern_x 1 }",
    "{ 1 1 0 pattern_y pattern_y 1 }",
    "{ 1 1 0 pattern_r pattern_r 1 }",
    "{ 1 1 0 pattern_t pattern_t 1 }",
    "{ 1 1 0 search_x search_x 1 }",
    "{ 1 1 0 search_y search_y 1 }",
    "{ 1 1 0 search_r search_r 1 }",
    "{ 1 1 0 search_t search_t 1 }",
    "{ 2 1 0 key_track key_track 1 }",
    "{ 2 1 0 key_search_x key_search_x 1 }",
    "{ 2 1 0 key_search_y key_search_y 1 }",
    "{ 2 1 0 key_search_r key_search_r 1 }",
    "{ 2 1 0 key_search_t key_search_t 1 }",
    "{ 2 1 0 key_track_x key_track_x 1 }",
    "{ 2 1 0 key_track_y key_track_y 1 }",
    "{ 2 1 0 key_track_r key_track_r 1 }",
    "{ 2 1 0 key_track_t key_track_t 1 }",
    "{ 2 1 0 key_centre_offset_x key_centre_offset_x 1 }",
    "{ 2 1 0 key_centre_offset_y key_centre_offset_y 1 }",
)


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame, in Nuke's coordinates.

    Attributes:
        centre: Centre of the box.
        width: Width of the box in pixels.
        euler: Yaw, pitch and roll in degrees.
        confidence: Confidence of the analysis, 0..1.
        landmarks: The landmarks.
    """

    centre: tuple[float, float]
    width: float
    euler: tuple[float, float, float]
    confidence: float
    landmarks: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FaceTrack:
    """One person's faces by frame.

    Attributes:
        path: The track file.
        person: Index of the person.
        height: Height of the display window, to convert between rows from the top and from the bottom.
        faces: Faces by frame.
    """

    path: str
    person: int
    height: int
    faces: Mapping[int, TrackedFace]


def load_face_track(path: str, person: int = 0, point: Optional[Sequence[float]] = None) -> FaceTrack:
    """Loads a person's faces from a track file, with the landmarks that were moved by hand.

    Args:
        path: The track file.
        person: Index of the person.
        point: If given, the person nearest to this point is loaded instead, in Nuke's coordinates.

    Raises:
        TrackError: There is no file, it is not a track, or has no such person.
    """
    data = read_track_data(path)
    try:
        people = {int(person_data["index"]): person_data for person_data in data["people"]}
        height = int(data["height"])
        if point is not None and people:
            person = min(people, key=lambda index: _measure_distance(people[index], height, point))
        if person not in people:
            raise TrackError(f"{path} has no person {person}; it has {len(people)}")
        overrides = people[person].get("overrides", {})
        faces = {
            int(frame): _parse_face(face, height, overrides.get(frame, {}).get("landmarks", {}))
            for frame, face in people[person]["faces"].items()
            if not overrides.get(frame, {}).get("hidden")
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrackError(
            f"{path} is no track file of this version ({type(error).__name__}: {error}); analyse the clip again"
        ) from error
    return FaceTrack(path, person, height, dict(sorted(faces.items())))


def make_tracker_knobs(track: FaceTrack) -> dict[str, str]:
    """Makes the knobs of a Tracker4 with the steady landmarks; each is disabled in frames without the face."""
    rows = []
    for name, index in TRACKABLE_LANDMARKS.items():
        points = {frame: face.landmarks[index] for frame, face in track.faces.items()}
        enabled = " ".join(f"x{frame} {int(frame in points)}" for frame in list_key_frames(points))
        size = " ".join(["-15 -15 15 15", "-25 -25 25 25"])
        x, y = (format_curve(_select_axis(points, axis)) for axis in (0, 1))
        rows.append(
            f'{{ {{curve K {enabled}}} "{name}" {x} {y} '
            f"{{curve K x{min(points)} 0}} {{curve K x{min(points)} 0}} 1 1 1 {{curve x{min(points)} 0}} 0 1 "
            f"{size} {' '.join(['{}'] * 11)} }}"
        )
    columns = "\n".join(_TRACKER_COLUMNS)
    return {"tracks": f"{{ {{ 1 {len(_TRACKER_COLUMNS)} {len(rows)} }}\n{{ {columns} }}\n{{ {' '.join(rows)} }}\n}}"}


def make_corner_pin_knobs(track: FaceTrack) -> dict[str, str]:
    """Makes the knobs of a CornerPin2D that makes a picture follow the face.

    The `to` corners are a square around the face, rotated by its roll; the `from` corners are that square in the first
    frame.
    """
    squares = {frame: _make_square(face) for frame, face in track.faces.items()}
    first_square = squares[min(squares)]
    knobs = {}
    for number in range(4):
        points = {frame: square[number] for frame, square in squares.items()}
        knobs[f"to{number + 1}"] = (
            "{" + format_curve(_select_axis(points, 0)) + " " + format_curve(_select_axis(points, 1)) + "}"
        )
        knobs[f"from{number + 1}"] = "{" + " ".join(f"{value:.3f}" for value in first_square[number]) + "}"
    return knobs


def make_points_knobs(track: FaceTrack) -> str:
    """Makes the knobs of a NoOp with every landmark as two curves and a tab for each region, as .nk text."""
    lines = []
    for region, (first, after) in LANDMARK_REGIONS.items():
        lines.append(f"addUserKnob {{20 {region} l {region}}}")
        for name, index in list(POINT_KNOBS.items())[first:after]:
            points = {frame: face.landmarks[index] for frame, face in track.faces.items()}
            lines += [
                f"addUserKnob {{12 {name} l {index}}}",
                f"{name} {{{format_curve(_select_axis(points, 0))} {format_curve(_select_axis(points, 1))}}}",
            ]
    return "\n".join(lines)


def format_curve(values: Mapping[int, float]) -> str:
    """Formats a curve with a key at every frame as .nk text.

    >>> format_curve({1001: 5, 1002: 6})
    '{curve x1001 5.000 x1002 6.000}'
    """
    return "{curve " + " ".join(f"x{frame} {value:.3f}" for frame, value in sorted(values.items())) + "}"


def make_curves(track: FaceTrack) -> dict[str, list[dict[int, float]]]:
    """Makes the curves of FSGAN_Analyse's knobs: name -> for each component, frame -> value."""
    faces = track.faces
    return {
        "centre": [{frame: face.centre[axis] for frame, face in faces.items()} for axis in (0, 1)],
        "face_size": [{frame: face.width for frame, face in faces.items()}],
        "face_box": [
            {frame: face.centre[axis] + side * face.width / 2 for frame, face in faces.items()}
            for side in (-1, 1)
            for axis in (0, 1)
        ],
        "yaw": [{frame: face.euler[0] for frame, face in faces.items()}],
        "pitch": [{frame: face.euler[1] for frame, face in faces.items()}],
        "roll": [{frame: face.euler[2] for frame, face in faces.items()}],
        "confidence": [{frame: face.confidence for frame, face in faces.items()}],
    }


def make_outlines(track: FaceTrack) -> dict[int, list[tuple[float, float]]]:
    """Returns the face's outline in each frame, as a closed polygon."""
    return {frame: [face.landmarks[index] for index in FACE_OUTLINE] for frame, face in track.faces.items()}


def parse_tracker_points(text: str) -> dict[str, dict[int, tuple[float, float]]]:
    """Reads the points of a Tracker4's `tracks` knob, in frames with a key in both coordinates.

    Returns:
        Name -> frame -> point.

    Raises:
        TrackError: The text has another form than Nuke's.
    """
    try:
        parts = _split_words(text)
        if len(parts) == 1:
            parts = _split_words(parts[0])
        points = {}
        for row in _split_words(parts[2]):
            columns = _split_words(row)
            x, y = (_parse_keys(columns[column]) for column in (2, 3))
            points[columns[1]] = {frame: (x[frame], y[frame]) for frame in x if frame in y}
    except (IndexError, ValueError) as error:
        raise TrackError(f"the format of the Tracker's points is unknown ({error}); no edits were taken") from error
    return points


def _parse_keys(curve_text: str) -> dict[int, float]:
    """Reads frame -> value from a curve. "curve x1001 5 6" has keys at 1001 and 1002; letters set the interpolation."""
    values: dict[int, float] = {}
    frame: Optional[int] = None
    for word in _split_words(curve_text)[1:]:
        if word[0] == "x":
            frame = round(float(word[1:]))
        elif word[0].isalpha():
            continue
        elif frame is not None:
            values[frame] = float(word)
            frame += 1
    return values


def _split_words(text: str) -> list[str]:
    """Splits a Tcl list into words; text in braces or quotes is one word, without them. Raises ValueError."""
    words: list[str] = []
    position = 0
    while position < len(text):
        letter = text[position]
        if letter.isspace():
            position += 1
            continue
        start = position
        if letter == "{":
            depth = 0
            while position < len(text):
                depth += {"{": 1, "}": -1}.get(text[position], 0)
                position += 1
                if not depth:
                    break
            if depth:
                raise ValueError("a brace is not closed")
            words.append(text[start + 1 : position - 1])
        elif letter == '"':
            position = text.index('"', start + 1) + 1
            words.append(text[start + 1 : position - 1])
        else:
            while position < len(text) and not text[position].isspace():
                position += 1
            words.append(text[start:position])
    return words


def find_moved_points(
    track: FaceTrack, edited: Mapping[str, Mapping[int, Sequence[float]]]
) -> dict[int, dict[int, Any]]:
    """Finds the points that were moved by hand.

    Args:
        track: The track that the points were made from.
        edited: Name of a point, as in a Tracker or Points node -> frame -> (x, y).

    Returns:
        Frame -> landmark -> point in the file's coordinates (rows from the top).
    """
    moved_points: dict[int, dict[int, Any]] = {}
    for name, points in edited.items():
        index = TRACKABLE_LANDMARKS.get(name, POINT_KNOBS.get(name, -1))
        if index < 0:
            continue
        for frame, (x, y) in points.items():
            face = track.faces.get(frame)
            if face is None:
                continue
            tracked_point = face.landmarks[index]
            if math.hypot(x - tracked_point[0], y - tracked_point[1]) > MIN_MOVE:
                moved_points.setdefault(frame, {})[index] = [round(x - 0.5, 3), round(track.height - 0.5 - y, 3)]
    return moved_points


def save_edits(track: FaceTrack, moved: Mapping[int, Mapping[int, Any]]) -> None:
    """Writes moved points into the track file's overrides. The worker applies them when it reads the file.

    Raises:
        TrackError: The track file cannot be read.
        OSError: It cannot be written.
    """
    data = read_track_data(track.path)
    person = next(person_data for person_data in data["people"] if int(person_data["index"]) == track.person)
    overrides = person.setdefault("overrides", {})
    for frame, points in moved.items():
        landmarks = overrides.setdefault(str(frame), {}).setdefault("landmarks", {})
        landmarks.update({str(index): point for index, point in points.items()})
    temporary_path = f"{track.path}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
    with open(temporary_path, "w", encoding="utf-8") as file:
        json.dump(data, file)
    os.replace(temporary_path, track.path)


def read_track_data(path: str) -> dict[str, Any]:
    """Reads a track file. Raises TrackError if it does not exist or is not a track."""
    try:
        with open(path, encoding="utf-8") as file:
            data = parse_json(file.read())
    except OSError as error:
        raise TrackError(f"{path} cannot be read ({error.strerror}); press Analyse first") from error
    except ValueError as error:
        raise TrackError(f"{path} is not JSON ({error}); analyse the clip again") from error
    if not isinstance(data, dict) or data.get("format") != "fsgan-track":
        raise TrackError(f"{path} is not a track file")
    return data


def _measure_distance(person: Mapping[str, Any], height: int, point: Sequence[float]) -> float:
    """Measures the median distance of a person's face to a point, in pixels."""
    distances = []
    for face in person["faces"].values():
        x, y = _parse_face(face, height, {}).centre
        distances.append(math.hypot(x - point[0], y - point[1]))
    return statistics.median(distances) if distances else math.inf


def _parse_face(face: Mapping[str, Any], height: int, moved_landmarks: Mapping[str, Sequence[float]]) -> TrackedFace:
    x, y, width, tall = (float(value) for value in face["box"])
    yaw, pitch, roll = (float(value) for value in face["euler"])
    landmarks = [moved_landmarks.get(str(index), point) for index, point in enumerate(face["landmarks"])]
    points = tuple((float(px) + 0.5, height - 0.5 - float(py)) for px, py in landmarks)
    return TrackedFace(
        (x + width / 2 + 0.5, height - 0.5 - (y + tall / 2)),
        width,
        (yaw, pitch, roll),
        float(face["confidence"]),
        points,
    )


def _make_square(face: TrackedFace) -> tuple[tuple[float, float], ...]:
    """Makes the square around a face: lower left, lower right, upper right, upper left."""
    half = face.width / 2
    angle = -math.radians(face.euler[2])  # clockwise in the picture
    across, up = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    return tuple(
        (face.centre[0] + half * (a * across[0] + b * up[0]), face.centre[1] + half * (a * across[1] + b * up[1]))
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    )


def _select_axis(points: Mapping[int, Sequence[float]], axis: int) -> dict[int, float]:
    return {frame: point[axis] for frame, point in points.items()}


def list_key_frames(points: Mapping[int, Any]) -> list[int]:
    """Lists the frames of a track and the first missing frame of each gap, where a step curve must change."""
    frames = sorted(points)
    missing = {frame + 1 for frame in frames if frame + 1 not in points}
    return sorted({*frames, *missing})
