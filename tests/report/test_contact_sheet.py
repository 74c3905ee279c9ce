"""Contact sheet, preview movie, and the pictures that go into them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import OutputError
from fsgan_core.contract.layers import META_COLORSPACE, META_FACE, META_FLAGS
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.movies.movie import Movie
from fsgan_core.plates.movies.movie_writer import PREVIEW_CODECS, MovieCodec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE, read_xmp
from fsgan_core.report import contact_sheet as sheet_module
from fsgan_core.report.contact_sheet import (
    BeforeAfter,
    pick_even_frames,
    read_before_after,
    write_contact_sheet,
    write_preview_movie,
)
from tests.small_shot import Small


def look(
    number: int = 1,
    size: tuple[int, int] = (200, 300),
    box: tuple[float, float, float, float] | None = None,
    flags: str = "",
) -> BeforeAfter:
    before = np.full((*size, 3), 60, np.uint8)
    before[:, :, 0] = np.linspace(0, 255, size[1]).astype(np.uint8)
    return BeforeAfter(number, before, 255 - before, box, flags)


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


class TestContactSheet:
    def test_holds_the_face_at_full_resolution(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (900, 1600, 3), dtype=np.uint8)
        frame = BeforeAfter(7, noise, 255 - noise, (500.0, 300.0, 240.0, 240.0))
        path = write_contact_sheet([frame], tmp_path / "deep" / "sheet.png")
        sheet = read(path)
        side = round(240 * 1.7)
        crop = noise[300 + 120 - side // 2 :, 500 + 120 - side // 2 :][:side, :side]
        found = [
            x for x in range(sheet.shape[1] - side) if np.array_equal(sheet[30 + 8 : 30 + 8 + side, x : x + side], crop)
        ]
        assert len(found) == 1
        assert sheet.shape[1] > 2 * 480 + 2 * side

    def test_a_jpeg_looks_the_same_and_is_marked(self, tmp_path: Path) -> None:
        """Red lips beside skin keep their edge: colours are not stored coarser than light."""
        picture = np.full((400, 600, 3), (200, 150, 130), np.uint8)
        picture[::3] = (170, 50, 60)
        frame = BeforeAfter(1, picture, picture, (200.0, 100.0, 150.0, 150.0))
        exact, path = (write_contact_sheet([frame], tmp_path / f"sheet.{suffix}") for suffix in ("png", "jpg"))
        difference = np.abs(read(exact).astype(int) - read(path))
        assert difference.mean() < 2 and np.percentile(difference, 99.9) < 12
        assert path.stat().st_size < 1 << 20 and DIGITAL_SOURCE_TYPE.encode() in read_xmp(path)

    def test_rows_title_and_flags(self, tmp_path: Path) -> None:
        plain = read(write_contact_sheet([look(1), look(2)], tmp_path / "plain.png"))
        flagged = read(write_contact_sheet([look(1), look(2, flags="pose-clamped")], tmp_path / "flags.png"))
        titled = read(write_contact_sheet([look(1), look(2)], tmp_path / "title.png", title="swap of ü"))
        assert plain.shape[0] == 2 * (200 + 30 + 2 * 8)
        assert (plain != flagged).any() and plain.shape == flagged.shape
        assert titled.shape[0] == plain.shape[0] + 40

    @pytest.mark.parametrize(("width", "side", "label"), [(20.0, 34 * 4, 4.0), (100.0, 340, 2.0), (1000.0, 640, 0.376)])
    def test_small_faces_grow_and_large_ones_shrink(self, width: float, side: int, label: float) -> None:
        crop, zoom = sheet_module._crop_face(look(size=(400, 400)).before, (10.0, 10.0, width, width))
        assert crop.shape == (side, side, 3) and zoom == pytest.approx(label, abs=0.01)

    def test_face_outside_the_picture(self, tmp_path: Path) -> None:
        path = write_contact_sheet(
            [look(box=(-900.0, -900.0, 50.0, 50.0)), look(box=(280.0, 180.0, 200.0, 200.0))], tmp_path / "sheet.png"
        )
        assert read(path).shape[0] > 300

    def test_nothing_to_show(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="no frame"):
            write_contact_sheet([], tmp_path / "sheet.png")

    def test_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="file"):
            write_contact_sheet([look()], tmp_path / "file" / "sheet.png")


class TestPicked:
    def test_spread(self) -> None:
        assert pick_even_frames(range(1, 61), 4) == [1, 21, 41, 60] or pick_even_frames(range(1, 61), 4) == [
            1,
            21,
            40,
            60,
        ]
        assert pick_even_frames([5, 9]) == [5, 9]
        assert pick_even_frames([]) == []


class TestPreviewMovie:
    @pytest.mark.parametrize("codec", PREVIEW_CODECS, ids=lambda codec: codec.name)
    def test_frames_come_back(self, codec: MovieCodec, tmp_path: Path) -> None:
        if codec.name not in av.codecs_available:
            pytest.skip(f"FFmpeg was built without the encoder {codec.name}")
        frames = [look(number) for number in range(1, 6)]
        path = write_preview_movie(iter(frames), tmp_path / "out" / "preview.mp4", fps=25.0, codecs=(codec,))
        with Movie(path) as movie:
            pictures = [movie.read(frame).pixels * 255 for frame in movie.frames]
            assert movie.fps == pytest.approx(25.0)
        assert len(pictures) == 5
        assert pictures[0].shape == (200, 600, 3)
        expected = np.concatenate([frames[4].before, frames[4].after], axis=1)
        assert np.abs(pictures[4][60:] - expected[60:]).mean() < 4
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        with av.open(str(path)) as container:
            assert "synthesised face pixels" in container.metadata["comment"]

    def test_falls_back_to_another_codec(self, tmp_path: Path) -> None:
        codecs = (MovieCodec("nonsense", ".mp4"), MovieCodec("mpeg4", ".mkv"))
        path = write_preview_movie([look(1), look(2)], tmp_path / "preview.mp4", codecs=codecs)
        assert path == tmp_path / "preview.mkv" and path.stat().st_size > 1000
        assert list(tmp_path.iterdir()) == [path]

    def test_no_codec(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="no video encoder works here"):
            write_preview_movie([look()], tmp_path / "preview.mp4", codecs=(MovieCodec("nonsense", ".mp4"),))
        assert list(tmp_path.iterdir()) == []

    def test_no_frame(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="no frame"):
            write_preview_movie([], tmp_path / "preview.mp4")

    def test_frames_of_two_sizes(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="frame 2 is 200x100, the first one 600x200"):
            write_preview_movie([look(1), look(2, (100, 100))], tmp_path / "preview.mp4")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            write_preview_movie([look(1)], tmp_path / "file" / "preview.mp4")

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((1080, 1920), (540, 1920)), ((1920, 1080), (1080, 1216)), ((1, 1), (2, 2)), ((101, 77), (100, 154))],
    )
    def test_size_is_even_and_bounded(self, size: tuple[int, int], expected: tuple[int, int]) -> None:
        assert sheet_module._join_side_by_side(look(size=size)).shape[:2] == expected


class TestLooks:
    def test_target_and_result_as_srgb(self, small: Small, tmp_path: Path) -> None:
        config = open_config("ocio://default")
        target = open_input(Clip(small.plate), config)
        plate = target.sequence.read(2)
        metadata = {META_FACE: "72 60 90 90", META_FLAGS: "bridged", META_COLORSPACE: "sRGB"}
        shown = config.convert(plate.get("R", "G", "B"), config.scene_linear, "sRGB")
        pixels = plate.pixels.copy()
        pixels[..., :3] = shown
        write_exr(tmp_path / "r.0002.exr", replace(plate, pixels=pixels, metadata=metadata))
        result = open_input(Clip(str(tmp_path / "r.####.exr")), config)
        (seen,) = read_before_after(target, result, [2], config)
        assert seen.before.shape == (210, 224, 3) and seen.before.dtype == np.uint8
        assert np.abs(seen.before.astype(int) - seen.after).max() <= 1
        assert seen.face_box == (72.0, 60.0, 90.0, 90.0) and seen.flags == "bridged"

    def test_exposure_and_pixel_aspect(self, tmp_path: Path) -> None:
        config = open_config("ocio://default")
        window = Window(10, 0, 60, 40)
        plate = Plate(
            np.full((40, 60, 3), 0.05, np.float32), ("R", "G", "B"), window, window, 2.0, {META_FACE: "20 10 8 16"}
        )
        write_exr(tmp_path / "a.1.exr", plate)
        clip = open_input(Clip(str(tmp_path / "a.#.exr")), config)
        (dark,) = read_before_after(clip, clip, [1], config)
        (bright,) = read_before_after(clip, clip, [1], config, exposure=2.0)
        assert dark.before.shape == (40, 120, 3)
        assert dark.face_box == (20.0, 10.0, 16.0, 16.0)
        assert bright.before.mean() > dark.before.mean() + 50

    def test_result_without_metadata(self, small: Small) -> None:
        config = open_config("ocio://default")
        target = open_input(Clip(small.plate), config)
        (seen,) = read_before_after(target, target, [1], config)
        assert seen.face_box is None and seen.flags == ""
