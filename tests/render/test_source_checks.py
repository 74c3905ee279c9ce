"""Sources that do not go with their target: refused with a reason, or warned of."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fsgan_core.clips import tracks
from fsgan_core.clips.inputs import ClipInput, open_inputs
from fsgan_core.clips.tracks import write_track
from fsgan_core.contract.errors import PlateError, ShotError
from fsgan_core.contract.layers import RGB
from fsgan_core.contract.shot import Clip, Shot, Stages
from fsgan_core.faces.mesh import INNER_LIPS
from fsgan_core.faces.track import Track
from fsgan_core.faces.track_file import load_track, save_track
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.render.pipeline import render_shot
from fsgan_core.render.scene import JobScenes
from fsgan_core.runtime.events import Event
from tests.small_shot import FRAMES, Small


def plan(shot: Shot) -> None:
    """Do what comes before the first frame of a render."""
    JobScenes(open_inputs(shot.source, shot.target, shot.stages), "swap")(1)


def with_gray_source(small: Small, shot: Shot, folder: Path, channels: int) -> Shot:
    gray = cv2.cvtColor(cv2.imread(str(small.folder / "source.png")), cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(folder / "gray.png"), gray if channels == 1 else cv2.merge([gray] * 3))
    return replace(shot, source=(replace(shot.source[0], path=str(folder / "gray.png")),))


def with_gray_target(small: Small, shot: Shot, folder: Path) -> Shot:
    for frame in range(1, FRAMES + 1):
        plate = read_image(Path(small.plate.replace("####", f"{frame:04d}")))
        pixels = plate.pixels.copy()
        places = plate.find_channels(RGB)
        pixels[..., places] = pixels[..., places].mean(-1, keepdims=True)
        write_exr(folder / f"gray.{frame:04d}.exr", replace(plate, pixels=pixels))
    return replace(shot, target=replace(shot.target, path=str(folder / "gray.####.exr")))


class TestBlackAndWhite:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_source_on_a_colour_plate(self, small: Small, tmp_path: Path, channels: int) -> None:
        shot = with_gray_source(small, small.shot(tmp_path / "out", "1"), tmp_path, channels)
        with pytest.raises(ShotError, match=r"gray\.png is black and white and the target .* is in colour.*colour it"):
            render_shot(shot)
        assert not list((tmp_path / "out").glob("*"))

    def test_plate_with_a_colour_source(self, small: Small, tmp_path: Path) -> None:
        shot = with_gray_target(small, small.shot(tmp_path / "out", "1"), tmp_path)
        with pytest.raises(ShotError, match=r"source\.png is in colour and the target .* is black and white.*Take the"):
            plan(shot)

    def test_both(self, small: Small, tmp_path: Path) -> None:
        plan(with_gray_target(small, with_gray_source(small, small.shot(tmp_path), tmp_path, 3), tmp_path))

    def test_exr_with_luminance_alone(self, small: Small, tmp_path: Path) -> None:
        window = Window(0, 0, 64, 64)
        write_exr(tmp_path / "y.exr", Plate(np.full((64, 64, 1), 0.2, np.float32), ("Y",), window, window))
        shot = replace(small.shot(tmp_path / "out", "1"), source=(Clip(str(tmp_path / "y.exr")),))
        with pytest.raises(PlateError, match="no R, G and B; it has Y"):
            plan(shot)


class TestSunglasses:
    def test_dark_lenses_are_told(self, small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        shot = small.shot(tmp_path / "out", "1")
        with caplog.at_level(logging.WARNING):
            plan(shot)
        assert "sunglasses" not in caplog.text
        picture = cv2.imread(str(small.folder / "source.png"))
        assert picture is not None
        points = next(iter(load_track(Path(shot.source[0].track)).people[0].faces.values())).landmarks
        for eye in (slice(36, 42), slice(42, 48)):
            radius = 0.27 * np.ptp(points[36:48, 0])
            cv2.ellipse(
                picture,
                np.rint(points[eye].mean(0)).astype(int),
                (round(radius), round(0.8 * radius)),
                0,
                0,
                360,
                (20,) * 3,
                -1,
            )
        cv2.imwrite(str(tmp_path / "worn.png"), picture)
        with caplog.at_level(logging.WARNING):
            plan(replace(shot, source=(replace(shot.source[0], path=str(tmp_path / "worn.png")),)))
        assert "worn.png seem to be behind sunglasses (frame" in caplog.text


class TestOpenMouth:
    WARNING = "the mouth is open in every picture of the source"

    @pytest.mark.parametrize(("opening", "is_warned_of"), [(0.01, False), (0.2, True)])
    def test_only_still(
        self,
        small: Small,
        tmp_path: Path,
        opening: float,
        is_warned_of: bool,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is said by the run that analyses the source, and not again."""
        monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
        self.find_mouths(small, tmp_path, {"source.png": opening}, monkeypatch)
        shot = small.shot(tmp_path)
        shot = replace(shot, source=(replace(shot.source[0], track=""),))
        with caplog.at_level(logging.WARNING):
            plan(shot)
            plan(shot)
        assert caplog.text.count(self.WARNING) == is_warned_of

    def test_no_warning_with_a_shut_one_beside_it(
        self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
        shut = tmp_path / "shut.png"
        picture = cv2.imread(str(small.folder / "source.png"))
        assert picture is not None
        cv2.imwrite(str(shut), picture // 2)  # another picture: tracks of the same one are shared
        self.find_mouths(small, tmp_path, {"source.png": 0.2, "shut.png": 0.01}, monkeypatch)
        shot = small.shot(tmp_path)
        stills = tuple(replace(shot.source[0], track="", path=path) for path in (shot.source[0].path, str(shut)))
        with caplog.at_level(logging.WARNING):
            plan(replace(shot, source=stills))
        assert "mouth is open" not in caplog.text

    def test_a_track_file_says_it_when_it_is_made(
        self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.find_mouths(small, tmp_path, {"source.png": 0.2}, monkeypatch)
        still = Clip(str(small.folder / "source.png"))
        with caplog.at_level(logging.WARNING):
            write_track(still, tmp_path / "source.json", Stages(), of_target=False)
        assert caplog.text.count(self.WARNING) == 1
        shot = small.shot(tmp_path)
        with caplog.at_level(logging.WARNING):
            plan(replace(shot, source=(replace(shot.source[0], track=str(tmp_path / "source.json")),)))
        assert caplog.text.count(self.WARNING) == 1

    def find_mouths(
        self, small: Small, folder: Path, openings: dict[str, float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Let the analysis of clips find mouths that are this far open, by file name."""
        analyse = tracks.analyse_clip

        def analyse_clip(clip_input: ClipInput, *args: Any, **options: Any) -> Track:
            name = Path(clip_input.clip.path).name
            if name not in openings:
                return analyse(clip_input, *args, **options)
            args[2](Event("analyse", name, 1, 1))
            self.open_mouth(small.folder / "source.json", folder / "found.json", openings[name])
            return load_track(folder / "found.json")

        monkeypatch.setattr(tracks, "analyse_clip", analyse_clip)

    @staticmethod
    def open_mouth(track_path: Path, output: Path, opening: float) -> None:
        """Write the track with the middle of the inner lips apart by `opening` of the eyes' distance."""
        track = load_track(track_path)
        (person,) = track.people[:1]
        faces = {}
        for frame, face in person.faces.items():
            mesh = face.get_mesh().copy()
            middle = (mesh[INNER_LIPS[5]] + mesh[INNER_LIPS[15]]) / 2
            corners = np.linalg.norm(face.landmarks[45] - face.landmarks[36])
            for vertex, side in ((INNER_LIPS[5], 0.5), (INNER_LIPS[15], -0.5)):
                mesh[vertex] = middle + np.array([0.0, side * opening * corners, 0.0])
            faces[frame] = replace(face, mesh=mesh)
        save_track(output, replace(track, people=(replace(person, faces=faces, measured=faces),)))
