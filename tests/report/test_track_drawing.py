"""Drawings of a track."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import CancelledError, TrackError
from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import CANONICAL, read_landmarks68
from fsgan_core.faces.pose import compute_face_box, measure_euler_angles
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import save_track
from fsgan_core.plates.image_reader import read_image
from fsgan_core.report.track_drawing import BOXES, LANDMARKS, MESH, POSE, draw_faces, write_drawings


def make_face(frame: int, x: float) -> Face:
    mesh = CANONICAL * 1.2 + (x, 160.0, 0.0)
    landmarks = read_landmarks68(mesh)
    return Face(frame, compute_face_box(landmarks), landmarks, measure_euler_angles(landmarks), 0.8, mesh=mesh)


@pytest.fixture
def track() -> Track:
    """Two people in frame 1, one in frame 2."""
    people = []
    for index, x in enumerate((150.0, 450.0)):
        faces = {frame: make_face(frame, x) for frame in (1, 2)[: 2 - index]}
        people.append(Person(index, faces, faces, np.zeros(128)))
    return Track("clip.####.exr", (1, 2), 640, 360, 1.0, 0.0, tuple(people), "mesh", "mesh")


def test_each_channel_is_a_matte_at_the_face(track: Track) -> None:
    plate = draw_faces(track, 1, chosen=0)
    window, pixels = plate.data_window, plate.pixels
    assert (plate.display_window.width, plate.display_window.height) == (640, 360)
    assert pixels.min() == 0 and pixels.max() == 1
    middle = 300 - window.x
    for channel in (LANDMARKS, MESH, POSE):
        assert pixels[:, :middle, channel].any() and not pixels[:, middle:, channel].any(), "of the chosen person only"
    assert pixels[:, :middle, BOXES].max() == 1 and 0.3 < pixels[:, middle:, BOXES].max() < 0.6
    x, y = track.people[0].faces[1].landmarks[30]
    assert pixels[round(y) - window.y, round(x) - window.x, LANDMARKS] == 1
    everyone = draw_faces(track, 1)
    assert everyone.pixels[:, middle:, MESH].any()


def test_the_dot_is_where_the_face_looks(track: Track) -> None:
    means = []
    for yaw in (-30.0, 30.0):
        face = replace(track.people[0].faces[1], euler=(yaw, 0.0, 0.0))
        turned = replace(track, people=(replace(track.people[0], faces={1: face}),))
        plate = draw_faces(turned, 1)
        columns = np.nonzero(plate.pixels[..., POSE] > 0.5)[1]
        means.append(columns.mean() + plate.data_window.x)
    assert means[0] < means[1], "above 0 the face is turned to the right of the picture"


def test_files(track: Track, tmp_path: Path) -> None:
    path = tmp_path / "t.track.json"
    save_track(path, track)
    output = str(tmp_path / "d.####.exr")
    steps: list[int] = []
    result = write_drawings(path, output, "1", on_event=lambda event: steps.append(event.done))
    assert result == {"output": output, "frames": 2, "people": 2} and steps == [1, 2]
    assert read_image(tmp_path / "d.0002.exr").channels == ("R", "G", "B", "A")
    with pytest.raises(TrackError):
        write_drawings(path, output, "7")
    with pytest.raises(CancelledError):
        write_drawings(path, output, is_cancelled=lambda: True)
