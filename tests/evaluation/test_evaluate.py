"""From files to figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import ColourError, FrameRangeError, NoFaceError, PlateError
from fsgan_core.contract.layers import MATTE_SOFT, META_COLORSPACE, META_FACE
from fsgan_core.contract.shot import Clip
from fsgan_core.evaluation.evaluate import evaluate
from fsgan_core.evaluation.evaluation import Evaluation
from fsgan_core.plates.colour import ColourConfig, open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.movies.movie import Movie
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.events import Event
from tests.plates.movies.made_movies import encode, make_rgb
from tests.small_shot import Small

Change = Callable[[Plate, int], Plate]


@pytest.fixture(scope="module")
def config() -> ColourConfig:
    return open_config("ocio://default")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measured faces, shared by this file's tests."""
    return tmp_path_factory.mktemp("measured")


class Bench:
    """The small shot with results made from its plate."""

    def __init__(self, small: Small, config: ColourConfig, folder: Path, kept: Path) -> None:
        self.small, self.config, self.folder, self.kept = small, config, folder, kept
        self.source = Clip(str(small.folder / "source.png"))
        self.target = Clip(small.plate)

    def result(self, change: Change, frames: int = 3, name: str = "result") -> Clip:
        """The target's first frames, changed."""
        for frame in range(1, frames + 1):
            plate = read_image(self.small.plate.replace("####", f"{frame:04d}"))
            write_exr(self.folder / f"{name}.{frame:04d}.exr", change(plate, frame))
        return Clip(str(self.folder / f"{name}.####.exr"))

    def evaluate(self, result: Clip, frames: str = "", **options: object) -> Evaluation:
        settings: dict = {"config": self.config, "cache": self.kept, **options}
        return evaluate(self.source, self.target, result, frames, **settings)


@pytest.fixture
def bench(small: Small, config: ColourConfig, tmp_path: Path, kept: Path) -> Bench:
    return Bench(small, config, tmp_path, kept)


def untouched(plate: Plate, frame: int) -> Plate:
    return plate


def darker_face(plate: Plate, frame: int) -> Plate:
    """RGB of a disc in the face times 0.9, with the disc as soft matte."""
    height, width = plate.pixels.shape[:2]
    disc = np.zeros((height, width), np.float32)
    cv2.circle(disc, (width // 2 - 4, 104), 20, 1.0, -1)
    pixels = np.dstack([plate.pixels, disc])
    pixels[..., :3] *= (1 - 0.1 * disc)[..., None]
    return replace(plate, pixels=pixels, channels=(*plate.channels, MATTE_SOFT), formats=(*plate.formats, "half"))


class TestEqual:
    def test_nothing_changed(self, bench: Bench) -> None:
        seen: list[Event] = []
        found = bench.evaluate(bench.result(untouched), on_event=seen.append)
        assert found.frames == (1, 2, 3)
        assert found.lost == found.target_lost == ()
        assert found.unchanged == (1, 2, 3)
        assert found.exact and found.outside_total == 0
        assert found.means["euler"] == found.means["flicker"] == 0.0
        for name in ("landmarks", "gaze", "lids", "lips", "light", "tone"):
            assert found.means[name] == pytest.approx(0.0, abs=1e-12)
        assert found.verdicts["gaze"] == found.verdicts["lost"] == "pass"
        assert (
            found.verdicts["identity"] == found.verdict == found.judge_frame(2) == "fail"
        )  # nobody's face was changed
        assert found.means["identity"] == found.means["identity_target"] > 0.6
        assert np.isnan(found.metrics["flicker"][0]) and found.metrics["flicker"][1] == 0.0
        assert found.source_faces == 1 and found.matte == "face hull"
        assert any("no matte was given" in note for note in found.notes)
        assert any("target's own face" in note for note in found.notes)
        assert [event.frame for event in seen if event.subject == "result"] == [1, 2, 3]

    def test_the_face_lies_where_the_windows_say(self, bench: Bench) -> None:
        """Every frame was found in a cut of the plate, or in the whole: the figures must not know."""
        found = bench.evaluate(bench.result(untouched, 6))
        assert found.target_lost == () and found.means["ssim"] == pytest.approx(1.0)

    def test_measured_again_from_the_cache(self, bench: Bench) -> None:
        result = bench.result(darker_face)
        first, second = bench.evaluate(result), bench.evaluate(result)
        assert first.means == pytest.approx(dict(second.means), nan_ok=True)
        memory_only = bench.evaluate(result, keep=False)
        assert first.means == pytest.approx(dict(memory_only.means), nan_ok=True)


class TestOutside:
    def test_soft_matte_of_the_result(self, bench: Bench) -> None:
        found = bench.evaluate(bench.result(darker_face))
        assert found.matte == MATTE_SOFT and found.outside_total == 0 and found.unchanged == ()
        assert 0 < found.means["replaced"] < 1

    def test_one_pixel_by_one_half_step(self, bench: Bench) -> None:
        def change(plate: Plate, frame: int) -> Plate:
            plate = darker_face(plate, frame)
            if frame == 2:
                before = plate.pixels[190, 5, 1].astype(np.float16)
                plate.pixels[190, 5, 1] = np.nextafter(before, np.float16(np.inf))
            return plate

        found = bench.evaluate(bench.result(change))
        assert found.metrics["outside"].tolist() == [0, 1, 0] and found.outside_total == 1
        assert 0 < found.metrics["outside_max"][1] < 0.5
        assert found.find_worst_frame("outside") == 2

    def test_float_picture_beside_half_layers(self, bench: Bench) -> None:
        folder = bench.folder / "float"
        for frame in (1, 2):
            plate = read_image(bench.small.plate.replace("####", f"{frame:04d}"))
            fine = replace(plate, pixels=plate.pixels * np.float32(1.001), formats=("float",) * 5)
            write_exr(folder / f"plate.{frame:04d}.exr", fine)
            write_exr(folder / f"swap.{frame:04d}.exr", darker_face(fine, frame))
        found = evaluate(
            bench.source,
            Clip(str(folder / "plate.####.exr")),
            Clip(str(folder / "swap.####.exr")),
            config=bench.config,
            cache=bench.kept,
        )
        assert found.matte == MATTE_SOFT and found.exact and found.outside_total == 0

    def test_given_matte(self, bench: Bench) -> None:
        ones = np.full((214, 224), 255, np.uint8)
        cv2.imwrite(str(bench.folder / "matte.png"), ones)
        result = bench.result(lambda plate, frame: replace(plate, pixels=plate.pixels * np.float32(0.5)))
        matte = Clip(str(bench.folder / "matte.png"))
        found = bench.evaluate(result, "1", matte=matte)
        window = read_image(bench.small.plate.replace("####", "0001")).data_window
        inside = window.intersect(Window(0, 0, 224, 214))
        assert found.matte == matte.path
        assert found.outside_total == window.width * window.height - inside.width * inside.height

    def test_cut_off_data_window_is_a_change(self, bench: Bench) -> None:
        found = bench.evaluate(bench.result(lambda plate, frame: plate.crop(Window(-8, 4, 240, 150))), "1")
        assert found.outside_total > 1000

    def test_target_a_movie_result_exr(self, bench: Bench, grace_hopper: np.ndarray) -> None:
        pictures = (
            cv2.resize(np.roll(grace_hopper, shift * 2, axis=1), (256, 300), interpolation=cv2.INTER_AREA)
            for shift in range(3)
        )
        path = bench.folder / "target.avi"
        encode(path, (make_rgb(picture, "yuvj420p") for picture in pictures), "mjpeg", "yuvj420p", rate=24)
        movie = Movie(path)
        linear = bench.config.scene_linear
        for frame in (1, 2, 3):
            picture = movie.read(frame).pixels
            window = Window(0, 0, 256, 300)
            plate = Plate(
                bench.config.convert(picture, "sRGB", linear),
                ("R", "G", "B"),
                window,
                window,
                metadata={META_COLORSPACE: linear},
                formats=("half",) * 3,
            )
            write_exr(bench.folder / f"swap.{frame:04d}.exr", plate)
        result = Clip(str(bench.folder / "swap.####.exr"))
        found = evaluate(bench.source, Clip(str(path)), result, config=bench.config, cache=bench.kept)
        assert found.exact and found.outside_total == 0
        assert found.unchanged == (1, 2, 3)
        assert found.means["landmarks"] < 1e-3

    def test_third_colour_space_has_a_tolerance(self, bench: Bench) -> None:
        def change(plate: Plate, frame: int) -> Plate:
            pixels = plate.pixels.copy()
            pixels[..., :3] = bench.config.convert(plate.get("R", "G", "B"), bench.config.scene_linear, "sRGB")
            return replace(plate, pixels=pixels, metadata={META_COLORSPACE: "sRGB"})

        found = bench.evaluate(bench.result(change), "1")
        assert found.outside_total == 0 and not found.exact
        assert any("third colour space" in note for note in found.notes)


class TestResults:
    def test_lost_face(self, bench: Bench) -> None:
        def change(plate: Plate, frame: int) -> Plate:
            pixels = plate.pixels.copy()
            if frame == 2:
                pixels[..., :3] = 0.2
            return replace(plate, pixels=pixels)

        found = bench.evaluate(bench.result(change))
        assert found.lost == (2,) and found.target_lost == ()
        assert np.isnan(found.metrics["identity"][1]) and not np.isnan(found.metrics["identity"][2])

    def test_flicker_of_a_dark_frame(self, bench: Bench) -> None:
        def change(plate: Plate, frame: int) -> Plate:
            return replace(plate, pixels=plate.pixels * np.float32(0.6 if frame == 2 else 1.0))

        assert bench.evaluate(bench.result(change)).metrics["flicker"][1] > 5

    def test_edge_of_a_darker_face(self, bench: Bench) -> None:
        seam = bench.evaluate(bench.result(darker_face), "1-2").metrics["edge"]
        assert 0.2 < seam.min() < seam.max() < 2  # a tenth less light: steps of the face itself hide the most of it
        assert np.isnan(bench.evaluate(bench.result(untouched, 1, "plain"), "1").means["edge"])  # no matte, no edge

    def test_seconds_by_the_results_numbers(self, bench: Bench) -> None:
        for frame in (1, 2, 3):
            plate = read_image(bench.small.plate.replace("####", f"{frame:04d}"))
            write_exr(bench.folder / f"late.{frame + 1000}.exr", plate)
        found = bench.evaluate(
            Clip(str(bench.folder / "late.####.exr")), "1-3", offset=1000, seconds={1001: 2.0, 1003: 4.0}
        )
        assert np.isnan(found.metrics["seconds"][1]) and found.means["seconds"] == 3.0

    def test_pngs_of_the_display_window(self, bench: Bench) -> None:
        for frame in (1, 2):
            plate = read_image(bench.small.plate.replace("####", f"{frame:04d}"))
            shown = plate.crop(plate.display_window).get("R", "G", "B")
            picture = bench.config.to_srgb8(shown, bench.config.scene_linear)
            cv2.imwrite(str(bench.folder / f"out.{frame}.png"), picture[..., ::-1])
        found = bench.evaluate(Clip(str(bench.folder / "out.#.png")))
        assert found.frames == (1, 2) and not found.exact
        assert found.means["landmarks"] < 0.001
        assert any("half a step" in note for note in found.notes)

    def test_offset_of_numbers(self, bench: Bench) -> None:
        for frame in (1, 2, 3):
            plate = read_image(bench.small.plate.replace("####", f"{frame:04d}"))
            write_exr(bench.folder / f"late.{frame + 1000}.exr", plate)
        late = Clip(str(bench.folder / "late.####.exr"))
        with pytest.raises(FrameRangeError, match=r"no frame in common.*1001-1003.*offset"):
            bench.evaluate(late)
        found = bench.evaluate(late, "2-3", offset=1000)
        assert found.frames == (2, 3) and found.unchanged == (2, 3)

    def test_hint_in_metadata_names_the_person(self, bench: Bench) -> None:
        def change(plate: Plate, frame: int) -> Plate:
            return replace(plate, metadata={META_FACE: "70.0 60.0 90.0 90.0"})

        assert bench.evaluate(bench.result(change, 1)).target_lost == ()
        assert bench.evaluate(bench.result(lambda plate, _: replace(plate, metadata={META_FACE: "odd"}), 1)).frames

    def test_several_sources(self, bench: Bench) -> None:
        found = evaluate(
            [bench.source, bench.source],
            bench.target,
            bench.result(untouched, 1),
            config=bench.config,
            cache=bench.kept,
        )
        assert found.source_faces == 2 and len(found.source) == 2

    def test_another_person_among_the_sources_is_left_out(
        self, bench: Bench, grace_hopper: np.ndarray, tmp_path: Path
    ) -> None:
        cv2.imwrite(str(tmp_path / "other.png"), grace_hopper[..., ::-1])
        sources = [bench.source, bench.source, Clip(str(tmp_path / "other.png"))]
        found = evaluate(sources, bench.target, bench.result(untouched, 1), config=bench.config, cache=bench.kept)
        assert found.source_faces == 2 and found.means["identity"] > 0.6

    def test_dark_plate_needs_exposure(self, bench: Bench) -> None:
        dark = bench.folder / "dark"
        for frame in (1, 2):
            plate = read_image(bench.small.plate.replace("####", f"{frame:04d}"))
            write_exr(dark / f"plate.{frame:04d}.exr", replace(plate, pixels=plate.pixels / 8192))
        clip = Clip(str(dark / "plate.####.exr"))
        found = evaluate(bench.source, clip, clip, config=bench.config, cache=bench.kept)
        assert found.target_lost == (1, 2) and any("xposure" in note for note in found.notes)
        assert found.unchanged == ()
        found = evaluate(bench.source, clip, clip, config=bench.config, cache=bench.kept, exposure=13.0)
        assert found.target_lost == ()


class TestRefusals:
    def test_missing_frames_of_the_result(self, bench: Bench) -> None:
        with pytest.raises(FrameRangeError, match=r"lacks frames 4-5"):
            bench.evaluate(bench.result(untouched), "2-5")

    def test_other_size(self, bench: Bench) -> None:
        small = np.zeros((20, 30, 3), np.uint8)
        cv2.imwrite(str(bench.folder / "small.1.png"), small)
        with pytest.raises(PlateError, match=r"30x20, the target 224x210"):
            bench.evaluate(Clip(str(bench.folder / "small.#.png")))

    def test_no_face_in_the_source(self, bench: Bench) -> None:
        cv2.imwrite(str(bench.folder / "grey.png"), np.full((100, 100, 3), 128, np.uint8))
        with pytest.raises(NoFaceError, match=r"grey\.png"):
            evaluate(
                Clip(str(bench.folder / "grey.png")), bench.target, bench.target, config=bench.config, cache=bench.kept
            )

    def test_no_such_result(self, bench: Bench) -> None:
        with pytest.raises(PlateError):
            bench.evaluate(Clip(str(bench.folder / "none.####.exr")))

    def test_result_without_rgb(self, bench: Bench) -> None:
        window = Window(0, 0, 224, 210)
        plate = Plate(np.zeros((210, 224, 1), np.float32), (MATTE_SOFT,), window, window)
        write_exr(bench.folder / "matte.1.exr", plate)
        with pytest.raises(PlateError, match="no R, G and B"):
            bench.evaluate(Clip(str(bench.folder / "matte.#.exr")))

    def test_unknown_space_in_metadata(self, bench: Bench) -> None:
        result = bench.result(lambda plate, _: replace(plate, metadata={META_COLORSPACE: "nowhere"}), 1)
        with pytest.raises(ColourError, match="nowhere"):
            bench.evaluate(result)


class TestPlainData:
    def test_json_has_no_nan(self, bench: Bench) -> None:
        data = bench.evaluate(bench.result(untouched, 2)).to_dict()
        text = json.dumps(data, allow_nan=False)
        assert json.loads(text)["figures"]["flicker"] == [None, None]
        assert data["means"]["flicker"] is None and data["means"]["landmarks"] == 0.0

    def test_worst(self) -> None:
        values = np.array([1.0, np.nan, 3.0])
        found = Evaluation(
            ("s",),
            "t",
            "r",
            (5, 6, 7),
            {"euler": values, "outside": np.zeros(3), "ssim": np.full(3, np.nan)},
            1,
            "",
            True,
        )
        assert (
            found.find_worst_frame("euler") == 7
            and found.find_worst_frame("euler", high=False) == 5
            and found.find_worst_frame("ssim") is None
        )
