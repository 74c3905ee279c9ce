"""The API that a script is written against: `import fsgan_core as fsgan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fsgan_core as fsgan
from tests.small_shot import Small


def make_clips(small: Small) -> tuple[fsgan.Clip, fsgan.Clip]:
    """Source and target of the small shot, with their tracks."""
    return (
        fsgan.Clip(str(small.folder / "source.png"), track=str(small.folder / "source.json")),
        fsgan.Clip(small.plate, track=str(small.folder / "plate.json")),
    )


class TestRenders:
    def test_swap_equals_the_render_of_the_shot(self, small: Small, tmp_path: Path) -> None:
        source, target = make_clips(small)
        events: list[fsgan.Event] = []
        result = fsgan.swap(
            source=[source],
            target=target,
            output=tmp_path / "a" / "swap.####.exr",
            frames="1-2",
            settings={"blend.engine": "multiband"},
            device="cpu",
            on_event=events.append,
        )
        assert result.list_frames("rendered") == (1, 2) and not result.failures
        assert result.engines["blend"] == "multiband"
        assert sorted(event.frame or 0 for event in events if event.kind == "frame") == [1, 2]
        small.shot(tmp_path / "b", "1-2", blend__engine="multiband").save(tmp_path / "shot.toml")
        again = fsgan.render(tmp_path / "shot.toml", frames="1", device="cpu")
        assert again.list_frames("rendered") == (1,)
        first, second = (tmp_path / folder / "swap.0001.exr" for folder in "ab")
        assert first.read_bytes() == second.read_bytes()
        kept = fsgan.render(fsgan.Shot.load(tmp_path / "shot.toml"), frames="1", device="cpu")
        assert kept.list_frames("kept") == (1,)

    def test_drive(self, small: Small, tmp_path: Path) -> None:
        source, target = make_clips(small)
        result = fsgan.drive(source, target, str(tmp_path / "drive.####.exr"), frames="1", device="cpu")
        assert result.command == "drive" and result.list_frames("rendered") == (1,)

    def test_stage(self, small: Small, tmp_path: Path) -> None:
        _, target = make_clips(small)
        result = fsgan.render_stage(
            "mask", target, tmp_path / "mask.####.exr", frames="1", settings=fsgan.Stages(), device="cpu"
        )
        assert result.list_frames("rendered") == (1,)
        assert "matte.face" in fsgan.read_image(tmp_path / "mask.0001.exr").channels

    def test_cancelled(self, small: Small, tmp_path: Path) -> None:
        source, target = make_clips(small)
        with pytest.raises(fsgan.CancelledError):
            fsgan.swap(source, target, tmp_path / "a.####.exr", device="cpu", is_cancelled=lambda: True)

    def test_evaluate(self, small: Small) -> None:
        found = fsgan.evaluate(small.folder / "source.png", small.plate, small.plate, "1")
        assert found.frames == (1,) and found.unchanged == (1,)


class TestTracks:
    def test_track_of_a_path(self, small: Small, tmp_path: Path) -> None:
        events: list[fsgan.Event] = []
        track = fsgan.track_faces(small.plate, frames="1-2", device="cpu", on_event=events.append)
        assert track.frames == (1, 2) and track.people[0].faces[1].landmarks.shape == (68, 2)
        assert {event.kind for event in events} == {"analyse"}
        fsgan.save_track(tmp_path / "plate.track.json", track)
        assert fsgan.load_track(tmp_path / "plate.track.json").people[0].faces.keys() == {1, 2}

    def test_track_is_kept(self, small: Small) -> None:
        first = fsgan.track_faces(Path(small.folder) / "source.png", device="cpu")
        events: list[fsgan.Event] = []
        second = fsgan.track_faces(str(small.folder / "source.png"), device="cpu", on_event=events.append)
        assert events == [] and second.people[0].faces.keys() == first.people[0].faces.keys()

    def test_named_track(self, small: Small) -> None:
        track = fsgan.track_faces(make_clips(small)[1])
        assert len(track.frames) > 2


class TestClips:
    def test_open_clip_takes_a_path(self, small: Small) -> None:
        for clip in (small.plate, Path(small.plate), fsgan.Clip(small.plate)):
            with fsgan.open_clip(clip) as sequence:
                assert sequence.read(1).channels[:3] == ("R", "G", "B")

    def test_clip_of_a_path_object(self, small: Small) -> None:
        clip = fsgan.Clip(Path(small.plate), colorspace="ACEScg")  # type: ignore[arg-type]
        assert fsgan.open_clip(clip).clip.path == small.plate


class TestBadInput:
    """Each error says what is wrong, where, and what to do."""

    def test_no_such_file(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(fsgan.PlateError, match=r"there is no file .*nobody\.png"):
            fsgan.swap(small.folder / "nobody.png", small.plate, tmp_path / "a.####.exr", device="cpu")

    @pytest.mark.parametrize("clip", [5, None, b"plate.exr", {"path": "a.exr"}])
    def test_a_clip_of_another_type(self, clip: object, tmp_path: Path) -> None:
        with pytest.raises(fsgan.InputError, match="named by its path, a pattern or a Clip"):
            fsgan.swap(clip, "plate.####.exr", tmp_path / "a.####.exr")  # type: ignore[arg-type]

    def test_no_source(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(fsgan.ShotError, match="no source"):
            fsgan.swap([], small.plate, tmp_path / "a.####.exr")

    def test_unknown_setting(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(fsgan.ParameterError, match="did you mean engine"):
            fsgan.swap("a.png", small.plate, tmp_path / "a.####.exr", settings={"blend.engin": "over"})

    @pytest.mark.parametrize("value", [3, "3", None, True], ids=repr)
    def test_impossible_value(self, small: Small, value: object) -> None:
        with pytest.raises(fsgan.ParameterError, match=r"blend\.mix = .* is not allowed"):
            fsgan.track_faces(small.plate, settings={"blend.mix": value})

    def test_settings_of_another_type(self, small: Small) -> None:
        with pytest.raises(fsgan.ParameterError, match="settings are a dict"):
            fsgan.track_faces(small.plate, settings=["blend.mix=3"])  # type: ignore[arg-type]

    def test_frames_of_another_type(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(fsgan.FrameRangeError, match="frames are text like"):
            fsgan.swap("a.png", small.plate, tmp_path / "a.####.exr", frames=1)  # type: ignore[arg-type]
        with pytest.raises(fsgan.FrameRangeError, match="frames are text like"):
            fsgan.track_faces(small.plate, frames=1)  # type: ignore[arg-type]

    def test_output_of_another_type(self, small: Small) -> None:
        with pytest.raises(fsgan.InputError, match="the output is a path"):
            fsgan.swap("a.png", small.plate, None)  # type: ignore[arg-type]

    def test_no_shot(self, tmp_path: Path) -> None:
        with pytest.raises(fsgan.ShotError, match="there is no shot file"):
            fsgan.render(tmp_path / "none.toml")
        with pytest.raises(fsgan.InputError, match="a Shot or the path of a shot file"):
            fsgan.render({"source": "a"})  # type: ignore[arg-type]

    def test_unknown_device(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(fsgan.InputError, match="gpu"):
            fsgan.swap("a.png", small.plate, tmp_path / "a.####.exr", device="gpu")


def test_shot_file_goes_round(small: Small, tmp_path: Path) -> None:
    shot = small.shot(tmp_path / "out", "1")
    shot.save(str(tmp_path / "shot.toml"))
    assert fsgan.Shot.load(tmp_path / "shot.toml") == shot


class TestStagesOnArrays:
    POINTS = np.random.default_rng(1).uniform(20, 60, (68, 2))
    PICTURE = np.full((80, 80, 3), 0.2, np.float32)

    @pytest.mark.parametrize(
        ("target", "points", "message"),
        [
            (np.zeros((80, 80, 3), np.uint8), POINTS, "its type is uint8"),
            (PICTURE[..., 0], POINTS, r"its shape is \(80, 80\)"),
            ([[1.0]], POINTS, "not list"),
            (PICTURE, POINTS[:60], r"landmarks must be an array \(68, 2\)"),
            (PICTURE, POINTS * np.nan, "finite numbers"),
            (PICTURE, POINTS + 5000, "outside the target"),
        ],
    )
    def test_bad_arrays(self, target: Any, points: Any, message: str) -> None:
        with pytest.raises(fsgan.InputError, match=message):
            fsgan.stages.mask(target, points)

    def test_arrays_of_another_size(self) -> None:
        other = np.zeros((40, 80, 4), np.float32)
        with pytest.raises(fsgan.InputError, match="completed is 80x40 pixels, the target 80x80"):
            fsgan.stages.blend(self.PICTURE, self.POINTS, other, other)

    def test_networks_are_not_for_arrays(self) -> None:
        with pytest.raises(fsgan.EngineError, match="render_stage"):
            fsgan.stages.mask(self.PICTURE, self.POINTS, fsgan.MaskParams(engine="fsgan"))
