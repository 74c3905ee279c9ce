"""The map of a source's views: states, use, what is lacking, pictures, sheet, command."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.contract.errors import CancelledError, InputError
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.faces.track import Track
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.report.view_map import ViewMap, make_view_map
from fsgan_core.report.view_sheet import describe_view_map, write_view_sheet
from tests.small_shot import FRAMES, Small

PLAIN = Stages()


@pytest.fixture(scope="module")
def clip(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The plate once more as a source of six views, the last of which is turned away by its track."""
    track = load_track(small.folder / "plate.json")
    person = track.people[0]

    def turned(faces: Any) -> Any:
        return {
            frame: dataclasses.replace(face, euler=(face.euler[0] + 40 * (frame == FRAMES), *face.euler[1:]))
            for frame, face in faces.items()
        }

    people = (dataclasses.replace(person, faces=turned(person.faces), measured=turned(person.measured)),)
    path = tmp_path_factory.mktemp("views") / "source.json"
    save_track(path, _related(dataclasses.replace(track, people=people)))
    return Clip(small.plate, track=str(path))


def _related(track: Track) -> Track:
    """As it is read again: faces that are said to be unrelated are not smoothed."""
    return dataclasses.replace(track, related=False)


@pytest.fixture
def made(small: Small, clip: Clip) -> Callable[..., ViewMap]:
    def make(target: bool = True, frames: str = "", pictures: bool = False, **settings: str) -> ViewMap:
        stages = PLAIN.with_settings({f"reenact.{name}": value for name, value in settings.items()})
        return make_view_map(
            [clip],
            stages,
            Clip(small.plate, track=str(small.folder / "plate.json")) if target else None,
            frames=frames,
            pictures=pictures,
        )

    return make


def states(found: ViewMap) -> dict[str, str]:
    return {view.name: view.state for view in found.views}


def test_what_the_plan_makes_of_them(made: Callable[..., ViewMap]) -> None:
    found = made()
    assert [view.name for view in found.views] == [str(frame) for frame in range(1, FRAMES + 1)]
    assert sum(view.leads for view in found.views) == found.target == FRAMES
    assert sum(view.light for view in found.views) == pytest.approx(FRAMES, abs=0.05)
    assert found.views[-1].leads == 0 and found.views[-1].yaw > found.views[0].yaw + 30
    assert sum(pose.frames for pose in found.poses) == FRAMES and not found.problem


def test_the_artists_choice(made: Callable[..., ViewMap]) -> None:
    before = made()
    first = max(before.views, key=lambda view: view.leads)
    found = made(exclude=first.name, weights="2-3=4")
    assert states(found)[first.name] == "excluded" and found.views[first.frame - 1].leads == 0
    assert [view.weight for view in found.views] == [1, 4, 4, 1, 1, 1]
    assert set(states(made(views="1-4")).values()) == {"used", "excluded"}


def test_what_is_lacking(made: Callable[..., ViewMap]) -> None:
    """Only the view that is turned away is left."""
    assert made().lacking == ()
    found = made(exclude=f"1-{FRAMES - 1}")
    assert sum(lack.count for lack in found.lacking) == FRAMES
    lack = found.lacking[0]
    assert lack.frames == f"1-{FRAMES}" and 30 < lack.degrees < 50 and lack.nearest == str(FRAMES)
    assert "nearest view (6)" in lack.text and any(pose.lacking for pose in found.poses)


def test_a_choice_that_leaves_none_is_told_not_raised(made: Callable[..., ViewMap]) -> None:
    none = made(exclude=f"1-{FRAMES}")
    assert "no source view is left" in none.problem and set(states(none).values()) == {"excluded"}
    assert none.target == FRAMES and none.lacking[0].nearest == ""
    wrong = made(exclude="4711")
    assert "'4711'" in wrong.problem and set(states(wrong).values()) == {"used"}


def test_frames_of_the_shot(made: Callable[..., ViewMap]) -> None:
    assert made(frames="2-3").target == 2
    alone = made(target=False)
    assert (alone.target, alone.poses, alone.lacking) == (0, (), ()) and len(alone.views) == FRAMES
    with pytest.raises(InputError):
        make_view_map([], PLAIN)


def test_pictures_are_small_and_kept(made: Callable[..., ViewMap], cache: Path) -> None:
    paths = [Path(view.picture) for view in made(pictures=True).views]
    assert len(set(paths)) == FRAMES and all(path.parent == cache / "views" for path in paths)
    picture = cv2.imread(str(paths[0]))
    assert picture is not None and picture.shape == (96, 96, 3) and 40 < picture.mean() < 200
    times = [path.stat().st_mtime_ns for path in paths]
    assert [Path(view.picture).stat().st_mtime_ns for view in made(pictures=True).views] == times
    with pytest.raises(CancelledError):
        make_view_map([Clip(str(paths[0]))], PLAIN, is_cancelled=lambda: True)


def test_sheet(made: Callable[..., ViewMap], tmp_path: Path) -> None:
    sheet = cv2.imread(str(write_view_sheet(made(pictures=True, exclude="1-5"), tmp_path / "a.png")))
    assert sheet is not None
    orange = np.abs(sheet.astype(int) - (40, 120, 214)).max(-1) < 3
    assert orange.sum() > 300, "the frame of a square that lacks a view"
    assert any(line.startswith("lacking: ") for line in describe_view_map(made(exclude="1-5")))
    assert "near every angle" in "".join(describe_view_map(made()))
    assert next(describe_view_map(made())).startswith(f"{FRAMES} used views")
    single = made(target=False)
    assert next(describe_view_map(dataclasses.replace(single, views=single.views[:1]))) == "1 used view"


def test_names_of_several_clips(small: Small, clip: Clip, tmp_path: Path) -> None:
    """Of one name both: their numbers; else their names."""
    other = Clip(str(small.folder / "source.png"), track=str(small.folder / "source.json"))
    found = make_view_map([clip, other, clip], PLAIN, pictures=False)
    names = [view.name for view in found.views]
    assert names[0] == "1:1" and names[FRAMES] == "source:1" and names[-1] == f"3:{FRAMES}"
    left = make_view_map(
        [clip, other, clip], PLAIN.with_settings({"reenact.exclude": "3:1-6,source:1,1:2"}), pictures=False
    )
    assert [view.name for view in left.views if view.state == "used"] == ["1:1", "1:3", "1:4", "1:5", "1:6"]


def test_command(small: Small, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "views",
        "--source",
        clip.path,
        "--source-track",
        clip.track,
        "--target",
        small.plate,
        "--target-track",
        str(small.folder / "plate.json"),
    ]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["views"]) == FRAMES and found["lacking"] == []
    assert main([*words, "-o", str(tmp_path / "sheet.png"), "--set", "reenact.exclude=1-5"]) == 0
    assert "lacking: " in capsys.readouterr().out and (tmp_path / "sheet.png").is_file()
    assert main([*words, "-o", str(tmp_path / "sheet.jpg")]) == 2
