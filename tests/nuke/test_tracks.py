"""Track files as the host's text and curves, and edits back; without a host."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from fsgan_nuke import tracks

from fsgan_core.contract.errors import TrackError
from fsgan_core.faces.face import Face
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import load_track, save_track

HEIGHT = 480


def face(frame: int, roll: float = 0.0) -> Face:
    landmarks = np.stack([100.0 + np.arange(68) + frame, 200.0 + 0.5 * np.arange(68)], -1)
    return Face(frame, (90.0 + frame, 180.0, 100.0, 100.0), landmarks, (10.0, -5.0, roll), 0.9, "detected")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    faces = {frame: face(frame) for frame in (1, 2, 5)}
    person = Person(0, faces, faces, np.zeros(128))
    track = Track("plate.####.exr", (1, 2, 3, 4, 5), 640, HEIGHT, 1.0, 0.0, (person,), "dlib", "dlib")
    found = tmp_path / "a.track.json"
    save_track(found, track)
    return found


def test_points_are_turned_over(path: Path) -> None:
    track = tracks.load_face_track(str(path))
    assert sorted(track.faces) == [1, 2, 5] and track.height == HEIGHT
    assert track.faces[1].landmarks[0] == pytest.approx((101.5, HEIGHT - 0.5 - 200.0))
    assert track.faces[1].centre == pytest.approx((141.5, HEIGHT - 0.5 - 230.0))


def test_curves_have_a_key_at_every_frame(path: Path) -> None:
    curves = tracks.make_curves(tracks.load_face_track(str(path)))
    assert [sorted(part) for part in curves["centre"]] == [[1, 2, 5], [1, 2, 5]]
    assert curves["yaw"][0][5] == pytest.approx(10.0)


def test_tracker_text(path: Path) -> None:
    text = tracks.make_tracker_knobs(tracks.load_face_track(str(path)))["tracks"]
    assert text.count("{") == text.count("}")
    assert text.startswith("{ { 1 31 10 }")
    # Not there in frames 3 and 4: what comes between two keys must not be taken for a track.
    assert re.search(r'\{curve K x1 1 x2 1 x3 0 x5 1 x6 0\} "nose_tip"', text)
    assert "x1 131.500" in text


def test_corner_pin_turns_with_the_head(path: Path) -> None:
    knobs = tracks.make_corner_pin_knobs(tracks.load_face_track(str(path)))
    assert sorted(knobs) == sorted([f"{side}{number}" for side in ("from", "to") for number in (1, 2, 3, 4)])
    lower_left = [float(value) for value in re.findall(r"x1 ([\d.]+)", knobs["to1"])]
    upper_right = [float(value) for value in re.findall(r"x1 ([\d.]+)", knobs["to3"])]
    assert upper_right[0] - lower_left[0] == pytest.approx(100, abs=0.01)
    assert upper_right[1] - lower_left[1] == pytest.approx(100, abs=0.01)
    turned = tracks._make_square(tracks.TrackedFace((0.0, 0.0), 2.0, (0, 0, 90.0), 1.0, ()))
    assert turned[0] == pytest.approx((-1.0, 1.0))  # a head lying to the right: its lower left is at the upper left


def test_edits_come_back_as_overrides(path: Path) -> None:
    track = tracks.load_face_track(str(path))
    still = {frame: one.landmarks[30] for frame, one in track.faces.items()}
    moved = dict(still) | {2: (still[2][0] + 3.0, still[2][1] - 4.0)}
    found = tracks.find_moved_points(track, {"nose_tip": moved, "of another tracker": {2: (0.0, 0.0)}})
    assert list(found) == [2] and list(found[2]) == [30]
    tracks.save_edits(track, found)
    after = load_track(path).people[0].faces[2]
    assert after.landmarks[30] == pytest.approx(face(2).landmarks[30] + (3.0, 4.0), abs=2e-3)
    assert after.origin == "edited"
    assert not list(path.parent.glob("*.tmp"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "fsgan-track", "people": [{}]}', "\x00"])
def test_file_that_is_not_a_track(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(text)
    with pytest.raises(TrackError, match=r"broken\.json"):
        tracks.load_face_track(str(broken))


def test_refusals(path: Path, tmp_path: Path) -> None:
    with pytest.raises(TrackError, match="Analyse first"):
        tracks.load_face_track(str(tmp_path / "none.json"))
    with pytest.raises(TrackError, match="no person 3"):
        tracks.load_face_track(str(path), 3)
    assert json.loads(path.read_text())["format"] == "fsgan-track"
