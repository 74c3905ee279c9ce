"""Drawings of a track: boxes, landmarks, mesh and pose as four mattes, to lay over the clip.

They are files beside the track, one for each frame with a face. Each channel is a matte, so that the colours, and what
is shown, are chosen where the files are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsgan_core.contract.errors import NoFaceError
from fsgan_core.contract.params import AnalyseParams
from fsgan_core.contract.shot import parse_person
from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import TRIANGLES
from fsgan_core.faces.pose import BOX_CENTRE, BOX_SIDE, CAMERA_DISTANCE, FACE_MODEL, HeadPose, make_rotation
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import load_track
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.runtime.arrays import AnyArray, Points
from fsgan_core.runtime.events import (
    CancelCheck,
    Event,
    EventListener,
    ignore_event,
    never_cancelled,
    raise_if_cancelled,
)

__all__ = ["CHANNELS", "draw_faces", "write_drawings"]

CHANNELS = ("R", "G", "B", "A")  # boxes, landmarks, mesh, pose
BOXES, LANDMARKS, MESH, POSE = range(len(CHANNELS))
OTHER_PEOPLE = 110  # of 255: how strong the boxes of people are who are not chosen
_SUBPIXEL_BITS = 4  # cv2 takes whole numbers with so many bits behind the point
_MARGIN = 0.35  # of the box, around it: room for the number and the axes
_AXIS_LENGTH = 70.0  # mm on the face
_NOSE_TIP = 30  # landmark
_FACE_HEIGHT_OF_THICK_LINES = 350  # pixels; on larger faces, lines are thicker


def write_drawings(
    track_path: Path | str,
    output: str,
    person: str = "",
    *,
    on_event: EventListener = ignore_event,
    is_cancelled: CancelCheck = never_cancelled,
) -> dict[str, Any]:
    """Writes a drawing for each frame of a track that has a face.

    Args:
        track_path: The track file.
        output: Path pattern of the EXR files.
        person: The chosen person, as `Clip.person`; the largest if empty. With a reference still, all are drawn alike.
        on_event: Called with the progress.
        is_cancelled: Asked before each frame.

    Returns:
        "output", "frames" (how many), "people".

    Raises:
        TrackError: The track cannot be read, or has no such person.
        NoFaceError: The track has no face.
        OutputError: A file cannot be written.
    """
    track = load_track(track_path)
    params = replace(AnalyseParams(), **parse_person(person))
    chosen = None if params.person == "reference" else track.choose_person(params).index
    frames = sorted({frame for one in track.people for frame in one.faces})
    if not frames:
        raise NoFaceError(f"{track_path} has no face in any frame")
    for number, frame in enumerate(frames):
        raise_if_cancelled(is_cancelled)
        write_exr(format_output_path(output, frame), draw_faces(track, frame, chosen), depth="half")
        on_event(Event("draw", str(track_path), number + 1, len(frames)))
    return {"output": output, "frames": len(frames), "people": len(track.people)}


def draw_faces(track: Track, frame: int, chosen: int | None = None) -> Plate:
    """Draws the faces of a frame.

    Args:
        track: The track.
        frame: A frame in which someone has a face.
        chosen: Index of the person whose landmarks, mesh and pose are drawn; None draws everyone's.

    Returns:
        A plate with the display window of the clip, and a data window around the faces.
    """
    people = [person for person in track.people if frame in person.faces]
    display_window = Window(0, 0, track.width, track.height)
    window = _find_window([person.faces[frame] for person in people], display_window)
    canvas = np.zeros((len(CHANNELS), window.height, window.width), np.uint8)
    for person in people:
        is_chosen = chosen in (None, person.index)
        _draw_box(canvas[BOXES], person, frame, window, 255 if is_chosen else OTHER_PEOPLE)
        if is_chosen:
            _draw_face(canvas, person.faces[frame], window, track.pixel_aspect)
    pixels = np.ascontiguousarray(np.moveaxis(canvas, 0, -1)).astype(np.float32) / np.float32(255)
    return Plate(pixels, CHANNELS, window, display_window, track.pixel_aspect, {}, ("half",) * len(CHANNELS))


def _find_window(faces: Sequence[Face], display_window: Window) -> Window:
    """Finds the window around the faces, with room around them, inside the picture; never empty."""
    boxes = np.array([face.box for face in faces], np.float64)
    room = _MARGIN * boxes[:, 2:]
    left, top = np.floor((boxes[:, :2] - room).min(0)).astype(int)
    right, bottom = np.ceil((boxes[:, :2] + boxes[:, 2:] + room).max(0)).astype(int)
    window = Window(int(left), int(top), int(right - left), int(bottom - top)).intersect(display_window)
    return display_window if window.empty else window


def _measure_line_width(face: Face) -> int:
    return max(1, round(face.box[3] / _FACE_HEIGHT_OF_THICK_LINES))


def _to_canvas(points: AnyArray, window: Window) -> AnyArray:
    """Converts plate coordinates to cv2's whole numbers with bits behind the point."""
    return np.rint((np.asarray(points, np.float64) - (window.x, window.y)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _draw_lines(channel: AnyArray, lines: Sequence[AnyArray], closed: bool, value: int, width: int) -> None:
    cv2.polylines(channel, list(lines), closed, value, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_box(channel: AnyArray, person: Person, frame: int, window: Window, value: int) -> None:
    """Draws a person's box, with the person's number and the confidence above it."""
    face = person.faces[frame]
    x, y, width, height = face.box
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
    line_width = _measure_line_width(face)
    _draw_lines(channel, [_to_canvas(corners, window)], True, value, line_width)
    origin = "" if face.origin == "detected" else f" {face.origin}"
    size = max(0.4, height / 500)
    above = y - window.y
    place = (int(x - window.x), int(above - 6 * size if above > 30 * size else above + 26 * size))
    text = f"{person.index}: {face.confidence:.2f}{origin}"
    cv2.putText(channel, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, value, line_width, cv2.LINE_AA)


def _draw_face(canvas: AnyArray, face: Face, window: Window, pixel_aspect: float) -> None:
    """Draws landmarks, mesh and pose."""
    line_width = _measure_line_width(face)
    vertices = _to_canvas(face.get_mesh(pixel_aspect)[:, :2], window)
    _draw_lines(canvas[MESH], [vertices[triangle] for triangle in TRIANGLES], True, 255, 1)
    radius = max(1 << _SUBPIXEL_BITS, round(face.box[3] / 150 * (1 << _SUBPIXEL_BITS)))
    for point in _to_canvas(face.landmarks, window):
        cv2.circle(canvas[LANDMARKS], tuple(map(int, point)), radius, 255, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    origin, *tips = _to_canvas(_project_axes(face, pixel_aspect), window)
    for tip in tips:
        _draw_lines(canvas[POSE], [np.stack([origin, tip])], False, 255, line_width)
    cv2.circle(canvas[POSE], tuple(map(int, tips[-1])), 2 * radius, 255, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _project_axes(face: Face, pixel_aspect: float) -> Points:
    """Projects the head's axes, from the tip of the nose: (4, 2) origin, sideways, up, and where the face looks."""
    # The model's axes: x to the right of the picture, y down, z away from the camera.
    ends = np.array([(0, 0, 0), (1, 0, 0), (0, -1, 0), (0, 0, -1)], np.float64) * _AXIS_LENGTH
    head = HeadPose(make_rotation(*face.euler), np.zeros(2), face.box[3] / BOX_SIDE, CAMERA_DISTANCE, 0.0)
    around = head.project(FACE_MODEL[_NOSE_TIP] + ends) - head.project(BOX_CENTRE)
    x, y, width, height = face.box
    return np.asarray((x + width / 2, y + height / 2) + around / (pixel_aspect, 1.0), np.float64)
