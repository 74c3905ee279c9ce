"""Where the source is recognised: found once for two clips, kept, part of every key, and no trouble where it is off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsgan_core.clips.tracks import ClipSection
from fsgan_core.contract.errors import ParameterError, TrackError
from fsgan_core.contract.shot import Shot
from fsgan_core.faces.identity import compare_descriptors, compute_descriptor
from fsgan_core.faces.measure import FaceGauge
from fsgan_core.faces.track_file import load_track
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.image_reader import read_image
from fsgan_core.render import recognise, scene
from fsgan_core.render.frame_status import compute_frame_states, summarise_states
from fsgan_core.render.pipeline import RenderJob, render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.recognise import load_recognition, save_recognition
from fsgan_core.render.scene import JobScenes
from fsgan_core.report.view_map import make_view_map
from fsgan_core.runtime.events import Event
from fsgan_core.stages.recognition import Recognition
from fsgan_core.stages.views import ViewRef
from tests.small_shot import Small


def swap_of(small: Small, folder: Path, frames: str = "", **settings: str) -> Shot:
    """A shot in which the source is looked for, unless the settings say otherwise."""
    return small.shot(folder, frames, **{"reenact__recognition": "1", **settings})


def moves_of(shot: Shot, **options: Any) -> np.ndarray | None:
    """What a render of the shot would go by."""
    work = RenderJob(plan_shot_job(shot), **options)
    known = work.scenes(work.plan.frames[0]).recognition
    return None if known is None else known.moves


@pytest.fixture
def here(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "recognition"


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The search takes no time; what it gave, search by search."""
    given: list[np.ndarray] = []

    def search(*_: Any) -> Recognition:
        given.append(np.full((68, 3), 0.25 + len(given)))
        return Recognition(given[-1])

    monkeypatch.setattr(recognise, "_search_recognition", search)
    return given


def test_a_swap_looks_more_like_the_source(small: Small, tmp_path: Path) -> None:
    away = {}
    source = compute_descriptor(pixels(small.folder / "source.png"), landmarks(small.folder / "source.json", 1))
    for amount in ("0", "1"):
        shot = swap_of(small, tmp_path / amount, "2,5", reenact__recognition=amount)
        assert not render_shot(shot).failures
        away[amount] = np.mean(
            [
                compare_descriptors(compute_descriptor(*swapped(small, tmp_path / amount, frame)), source)
                for frame in (2, 5)
            ]
        )
    assert away["1"] < 0.93 * away["0"]


def pixels(path: Path) -> np.ndarray:
    config, plate = open_config(), read_image(path)
    return config.to_srgb8(plate.get("R", "G", "B"), "sRGB" if path.suffix == ".png" else "ACEScg")


def landmarks(track: Path, frame: int) -> np.ndarray:
    return np.asarray(load_track(track).people[0].faces[frame].landmarks)


def swapped(small: Small, folder: Path, frame: int) -> tuple[np.ndarray, np.ndarray]:
    plate = read_image(folder / f"swap.{frame:04d}.exr")
    window = plate.data_window
    return (
        pixels(folder / f"swap.{frame:04d}.exr"),
        landmarks(small.folder / "plate.json", frame) - (window.x, window.y),
    )


class TestKept:
    def test_once_for_two_clips(self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path) -> None:
        first = moves_of(swap_of(small, tmp_path, "2"))
        assert first is not None and np.array_equal(first, found[0])
        for settings in (
            {"blend__mix": "0.5"},
            {"reenact__stiffness": "0.1", "reenact__recognition": "0.4"},
            {"mask__size": "3", "reenact__likeness": "0.5"},
            {"reenact__hold": "0", "reenact__views": "1"},
        ):
            again = moves_of(swap_of(small, tmp_path, "5", **settings))
            assert again is not None and np.array_equal(again, first)
        assert len(found) == 1 and len(list(here.glob("*.json"))) == 1

    def test_other_clips_are_looked_at_anew(
        self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path
    ) -> None:
        shot = swap_of(small, tmp_path)
        moves_of(shot)
        moves_of(replace(shot, source=shot.source * 2))
        moves_of(swap_of(small, tmp_path, colour__exposure="1"))
        assert len(found) == 3

    def test_a_track_may_hold_frames_that_are_not_there(
        self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path
    ) -> None:
        for frame in (1, 2, 3):
            (tmp_path / f"plate.{frame:04d}.exr").symlink_to(small.folder / f"plate.{frame:04d}.exr")
        assert moves_of(swap_of(small, tmp_path / "out", target=str(tmp_path / "plate.####.exr"))) is not None

    def test_a_broken_file_is_made_again(
        self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path
    ) -> None:
        moves_of(swap_of(small, tmp_path))
        for text in ("", "{}", '{"format": "fsgan-recognition", "version": 99, "millimetres": [], "views": []}'):
            next(here.glob("*.json")).write_text(text)
            again = moves_of(swap_of(small, tmp_path))
            assert again is not None and np.array_equal(again, found[-1])
        assert len(found) == 4

    def test_is_part_of_the_key(self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path) -> None:
        keys = set()
        for _ in range(2):
            keys.add(RenderJob(plan_shot_job(swap_of(small, tmp_path))).compute_frame_key(2))
            next(here.glob("*.json")).unlink()
        assert len(found) == 2 and len(keys) == 2

    def test_a_status_looks_for_nothing(
        self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path
    ) -> None:
        render_shot(small.shot(tmp_path, "2"))
        work = RenderJob(plan_shot_job(swap_of(small, tmp_path, "2")))
        assert summarise_states(work, compute_frame_states(work))["analysed"] is False
        assert not found and not here.exists()


class TestNamedFile:
    def test_is_written_and_read(self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path) -> None:
        file = tmp_path / "likeness.json"
        shot = swap_of(small, tmp_path, reenact__recognition_file=str(file))
        assert moves_of(shot) is not None and file.is_file() and not here.exists()
        by_hand = np.zeros((68, 3))
        by_hand[30] = (0, -1.5, 0)
        save_recognition(file, Recognition(by_hand))
        again = moves_of(shot)
        assert again is not None and np.array_equal(again, by_hand) and len(found) == 1
        data = json.loads(file.read_text())
        assert data["format"] == recognise.RECOGNITION_FORMAT and data["millimetres"][30] == [0, -1.5, 0]

    def test_all_zero_is_none(self, small: Small, tmp_path: Path) -> None:
        save_recognition(tmp_path / "none.json", Recognition(np.zeros((68, 3))))
        assert moves_of(swap_of(small, tmp_path, reenact__recognition_file=str(tmp_path / "none.json"))) is None

    def test_anothers_file_is_no_file_of_ours_and_stays(self, small: Small, tmp_path: Path) -> None:
        track = small.folder / "plate.json"
        before = track.read_bytes()
        with pytest.raises(TrackError, match=r"plate\.json"):
            moves_of(swap_of(small, tmp_path, reenact__recognition_file=str(track)))
        assert track.read_bytes() == before

    @pytest.mark.parametrize(
        "text, said",
        [
            ('{"format": "fsgan-recognition", "version": 1}', "will be written again"),
            ("[]", "cannot be read"),
            ("", "cannot be read"),
        ],
    )
    def test_what_is_no_such_file_is_told(self, tmp_path: Path, text: str, said: str) -> None:
        path = tmp_path / "m.json"
        path.write_text(text)
        with pytest.raises(TrackError, match=rf"m\.json .*{said}"):
            load_recognition(path)

    def test_there_and_back(self, tmp_path: Path) -> None:
        moves = np.round(np.random.default_rng(2).normal(0, 2, (68, 3)), 2)
        unlike = {ViewRef(0, 7): 0.412, ViewRef(1, 7, True): 0.5}
        save_recognition(tmp_path / "m.json", Recognition(moves, unlike))
        known = load_recognition(tmp_path / "m.json")
        assert np.array_equal(known.moves, moves) and known.unlikeness == unlike


class TestNotAsked:
    @pytest.mark.parametrize("settings", [{"reenact__recognition": "0"}, {"job": "drive"}])
    def test_off(
        self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path, settings: dict[str, str]
    ) -> None:
        assert moves_of(swap_of(small, tmp_path, **settings)) is None
        assert not found and not here.exists()

    def test_by_a_network_that_draws_the_face(
        self, small: Small, here: Path, found: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recognise, "draws_whole_face", lambda chosen, prewarp: True)
        assert moves_of(swap_of(small, tmp_path)) is None and not found and not here.exists()

    def test_where_no_face_is_found(
        self, small: Small, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []
        monkeypatch.setattr(recognise.log, "warning", told.append)
        monkeypatch.setattr(FaceGauge, "follow", lambda *_, **__: None)
        assert moves_of(swap_of(small, tmp_path)) is None
        assert len(told) == 1 and "no face was found to measure the likeness" in told[0]
        assert not load_recognition(next(here.glob("*.json"))).moves.any()


class TestViews:
    """What the search says of views decides which are taken; everywhere the same."""

    @pytest.fixture
    def second(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Of two clips alike the second is found to show more of the person."""
        asked: list[str] = []

        def search(inputs: Any, *_: Any) -> Recognition:
            asked.append(inputs.target.name)
            return Recognition(np.zeros((68, 3)), {ViewRef(0, 1): 0.5, ViewRef(1, 1): 0.4})

        monkeypatch.setattr(recognise, "_search_recognition", search)
        return asked

    def test_they_lead(self, small: Small, here: Path, second: list[str], tmp_path: Path) -> None:
        for amount, leading in (("1", 1), ("0", 0)):
            shot = swap_of(small, tmp_path, reenact__recognition=amount)
            work = RenderJob(plan_shot_job(replace(shot, source=shot.source * 2)))
            assert {plan.views[0].view.clip for plan in work.scenes(2).frame_plans.values()} == {leading}
        assert len(second) == 1

    def test_the_map_of_views_agrees(self, small: Small, here: Path, second: list[str], tmp_path: Path) -> None:
        shot = swap_of(small, tmp_path)
        found = make_view_map(shot.source * 2, shot.stages, shot.target, pictures=False)
        assert [view.leads for view in found.views] == [0, 6]

    def test_a_wrong_choice_is_told_before_the_search(
        self, small: Small, here: Path, second: list[str], tmp_path: Path
    ) -> None:
        shot = swap_of(small, tmp_path, reenact__views="77")
        with pytest.raises(ParameterError, match="77"):
            moves_of(shot)
        assert make_view_map(shot.source, shot.stages, shot.target, pictures=False).problem and not second

    def test_what_a_search_finds(
        self, small: Small, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fsgan_core.stages import recognition

        monkeypatch.setattr(recognition, "SEARCH_STEPS", 2)
        work = RenderJob(plan_shot_job(swap_of(small, tmp_path)))
        known = work.scenes(2).recognition
        assert known is not None and set(known.unlikeness) == {ViewRef(0, 1), ViewRef(0, 1, True)}
        assert all(0.05 < value < 0.6 for value in known.unlikeness.values())
        stored = load_recognition(next(here.glob("*.json")))
        assert stored.unlikeness == known.unlikeness and np.array_equal(stored.moves, known.moves)


def test_it_can_be_followed(small: Small, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps rise to the end, so that a bar can be drawn and a render cancelled."""
    from fsgan_core.stages import recognition

    monkeypatch.setattr(recognition, "SEARCH_STEPS", 4)
    heard: list[Event] = []
    work: RenderJob = RenderJob(plan_shot_job(swap_of(small, tmp_path, "2")), on_event=heard.append)
    work.scenes(2)
    steps = [(event.done, event.total) for event in heard if event.kind == "recognise"]
    shares = [done / total for done, total in steps]
    assert len(steps) > 8 and shares == sorted(shares) and shares[-1] < 1 <= shares[-1] + 0.2


def test_sections_agree(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first section with a face decides, whichever is asked for first."""
    monkeypatch.setattr(
        scene, "split_into_sections", lambda _: (ClipSection((1, 2, 3), (1, 2, 3)), ClipSection((4, 5, 6), (4, 5, 6)))
    )
    asked: list[int] = []

    def search(inputs: Any, one: Any, listen: Any) -> Recognition:
        asked.append(one.number)
        return Recognition(np.full((68, 3), float(len(asked))))

    scenes = JobScenes(plan_shot_job(swap_of(small, tmp_path)).inputs, "swap", recognise=search)
    late, early = scenes(5).recognition, scenes(2).recognition
    assert late is not None and early is late and asked == [0]
