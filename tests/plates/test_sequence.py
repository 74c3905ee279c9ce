"""Clips, patterns, frame ranges, missing frames, outputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgan_core.contract.errors import FrameRangeError, InputError, PlateError
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.sequence import (
    check_output,
    format_frames,
    format_output_path,
    has_frame_token,
    open_clip,
    parse_frames,
    select_frames,
)
from tests.plates.conftest import random_plate
from tests.plates.movies.made_movies import encode, make_rgb

MakeExr = Callable[..., Path]


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """A folder with plate.1001.exr, 1002 and 1004; red is the frame's number less 1000."""
    for frame in (1001, 1002, 1004):
        plate = random_plate(4, 3)
        plate.pixels[...] = frame - 1000
        write_exr(tmp_path / f"plate.{frame}.exr", plate)
    (tmp_path / "plate.1003.exr.bak").write_text("not a frame")
    (tmp_path / ".plate.1003.exr.host.1.0.tmp").write_text("not a frame")
    return tmp_path


class TestOpen:
    @pytest.mark.parametrize(
        "pattern",
        [
            "plate.####.exr",
            "plate.%04d.exr",
            "plate.@@@@.exr",
            "plate.$F4.exr",
            "plate.#.exr",
            "plate.%d.exr",
            "plate.$F.exr",
            "plate.##.exr",
        ],
    )
    def test_patterns(self, pattern: str, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / pattern)))
        assert (clip.kind, clip.frames, clip.name) == ("exr", (1001, 1002, 1004), "plate")
        assert clip.read(1004).get("R").max() == 4.0
        assert clip.get_frame_path(1002) == sequence / "plate.1002.exr"
        assert clip.read_header(1002).data_window.width == 4

    def test_a_path_is_a_clip_too(self, sequence: Path) -> None:
        for path in (sequence / "plate.####.exr", str(sequence / "plate.####.exr")):
            clip = open_clip(path)
            assert clip.frames == (1001, 1002, 1004) and clip.clip == Clip(str(path))

    def test_more_digits_than_the_pattern(self, tmp_path: Path) -> None:
        for name in ("a.099.exr", "a.100.exr", "a.1000.exr", "a.0101.exr", "a.-002.exr", "b.100.exr", "a.1x0.exr"):
            write_exr(tmp_path / name, random_plate())
        assert open_clip(Clip(str(tmp_path / "a.###.exr"))).frames == (-2, 99, 100, 1000)
        assert open_clip(Clip(str(tmp_path / "a.####.exr"))).frames == (101, 1000)
        assert open_clip(Clip(str(tmp_path / "a.#.exr"))).frames == (100, 1000)

    def test_one_hash_is_any_padding_when_nothing_else_fits(self, tmp_path: Path) -> None:
        for name in ("a.0001.exr", "a.0020.exr"):
            write_exr(tmp_path / name, random_plate())
        assert open_clip(Clip(str(tmp_path / "a.#.exr"))).frames == (1, 20)
        assert open_clip(Clip(str(tmp_path / "a.%d.exr"))).frames == (1, 20)

    def test_a_name_with_the_frame_twice(self, tmp_path: Path) -> None:
        for name in ("a.0001.v0001.exr", "a.0002.v0002.exr", "a.0003.v0001.exr"):
            write_exr(tmp_path / name, random_plate())
        assert open_clip(Clip(str(tmp_path / "a.####.v####.exr"))).frames == (1, 2)
        assert format_output_path("a.####.v####.exr", 7) == Path("a.0007.v0007.exr")

    def test_stars_that_are_no_pattern(self, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="is not a pattern of file names"):
            open_clip(str(tmp_path / "a**.exr"))

    def test_one_still(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "IMG_1234.png"), np.full((4, 5, 3), (0, 0, 255), np.uint8))
        clip = open_clip(Clip(str(tmp_path / "IMG_1234.png")))
        assert (clip.kind, clip.frames, clip.name) == ("image", (1,), "IMG_1234")
        assert clip.read(1).get("R", "G", "B")[0, 0].tolist() == [1.0, 0.0, 0.0]

    def test_one_frame_of_a_sequence_keeps_its_number(self, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / "plate.1004.exr")))
        assert (clip.kind, clip.frames) == ("exr", (1004,))

    def test_a_wildcard_over_a_sequence_is_warned_of(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        for name in ("pl.1001.exr", "pl.1003.exr"):
            write_exr(tmp_path / name, random_plate())
        assert open_clip(str(tmp_path / "pl.*.exr")).frames == (1, 2)
        assert "taken as stills and numbered from 1" in caplog.text
        assert f"write {tmp_path / 'pl.####.exr'}" in caplog.text
        caplog.clear()
        write_exr(tmp_path / "pl.other.exr", random_plate())
        open_clip(str(tmp_path / "pl.*.exr"))
        assert not caplog.text

    def test_a_digit_after_the_second_number(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a_1001_v1001.3.exr", random_plate())
        write_exr(tmp_path / "a_1002_v1001.3.exr", random_plate())
        assert open_clip(str(tmp_path / "a_####_v####.3.exr")).frames == (1001,)
        write_exr(tmp_path / "b_1001_10013.exr", random_plate())
        assert open_clip(str(tmp_path / "b_####_####3.exr")).frames == (1001,)

    def test_stills_by_wildcard(self, tmp_path: Path) -> None:
        for name in ("b.png", "a.png", "c.jpg"):
            cv2.imwrite(str(tmp_path / name), np.zeros((4, 5, 3), np.uint8))
        clip = open_clip(Clip(str(tmp_path / "*.png")))
        assert (clip.kind, clip.frames, clip.get_frame_path(1).name) == ("image", (1, 2), "a.png")

    def test_a_name_with_a_hash_in_it(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "take#3.exr", random_plate())
        assert open_clip(Clip(str(tmp_path / "take#3.exr"))).frames == (1,)

    def test_movie(self, tmp_path: Path) -> None:
        frames = [make_rgb(np.full((8, 16, 3), 10 * frame, np.uint8)) for frame in range(3)]
        encode(tmp_path / "m.avi", frames, "ffv1", "bgr0")
        with open_clip(Clip(str(tmp_path / "m.avi")), "hold") as clip:
            assert (clip.kind, clip.frames, clip.fps, clip.name) == ("movie", (1, 2, 3), 25.0, "m")
            assert clip.get_frame_path(2) == tmp_path / "m.avi"
            assert clip.read(2).pixels.max() == np.float32(10 / 255)
            assert clip.read(9).pixels.max() == np.float32(20 / 255)
            assert clip.read_header(2).channels == ("R", "G", "B")
            assert clip.compute_fingerprint(1) != clip.compute_fingerprint(2)
            assert clip.list_other_parts(1) == ()

    @pytest.mark.parametrize(
        ("name", "codec", "pix_fmt"), [("a.gif", "gif", "rgb8"), ("a.webp", "libwebp_anim", "bgra")]
    )
    def test_animations_are_clips(self, name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
        pictures = [np.full((24, 32, 3), (255 * (frame % 2), 0, 255), np.uint8) for frame in range(5)]
        pictures[3][:12] = (0, 255, 0)
        frames = [make_rgb(picture, pix_fmt) for picture in pictures]
        shown = [frame.to_ndarray(format="rgb24") for frame in frames]  # GIF has fewer colours
        path = encode(tmp_path / name, frames, codec, pix_fmt, rate=10, options={"lossless": "1"})
        with open_clip(Clip(str(path))) as clip:
            assert (clip.kind, clip.frames) == ("movie", (1, 2, 3, 4, 5))
            for frame in (5, 1, 4, 2, 3):
                pixels = clip.read(frame).get("R", "G", "B")
                assert np.array_equal(np.rint(pixels * 255), shown[frame - 1]), frame
            assert clip.compute_fingerprint(1) != clip.compute_fingerprint(2)
            with pytest.raises(PlateError, match="no frame 6"):
                clip.read(6)

    def test_a_webp_with_one_picture_is_a_still(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "a.webp"), np.full((8, 8, 3), 128, np.uint8))
        clip = open_clip(Clip(str(tmp_path / "a.webp")))
        assert (clip.kind, clip.frames) == ("image", (1,))

    def test_part(self, make_exr: MakeExr) -> None:
        full = {"full_width": 2, "full_height": 2}
        parts = [
            (np.full((2, 2, 3), value, np.float16), ("R", "G", "B"), {"oiio:subimagename": name, **full})
            for name, value in (("a", 1), ("b", 2))
        ]
        path = make_exr("p.exr", *parts)
        clip = open_clip(Clip(str(path), part="b"))
        assert clip.read(1).pixels.max() == 2.0
        assert [part.name for part in clip.list_other_parts(1)] == ["a"]
        assert clip.compute_fingerprint(1) != open_clip(Clip(str(path))).compute_fingerprint(1)


class TestMissing:
    def test_hold_reads_the_frame_before(self, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / "plate.####.exr")), "hold")
        assert [float(clip.read(frame).get("R").max()) for frame in (1003, 1004, 2000, 1)] == [2.0, 4.0, 4.0, 1.0]
        assert clip.get_frame_path(1003) == clip.get_frame_path(1002)
        assert clip.compute_fingerprint(1003) == clip.compute_fingerprint(1002)

    @pytest.mark.parametrize("missing", ["error", "skip"])
    def test_error(self, missing: str, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / "plate.####.exr")), missing)
        with pytest.raises(PlateError, match="has no frame 1003; it has 1001-1002,1004"):
            clip.read(1003)

    def test_unknown_policy(self, sequence: Path) -> None:
        with pytest.raises(PlateError, match="missing = 'black' is not known"):
            open_clip(Clip(str(sequence / "plate.####.exr")), "black")


class TestFingerprint:
    def test_is_of_the_content(self, sequence: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        clip = open_clip(Clip(str(sequence / "plate.####.exr")))
        other = tmp_path_factory.mktemp("other")
        shutil.copy(sequence / "plate.1002.exr", other / "x.0001.exr")
        copied = open_clip(Clip(str(other / "x.#.exr")))
        assert copied.compute_fingerprint(1) == clip.compute_fingerprint(1002) != clip.compute_fingerprint(1001)
        state = (other / "x.0001.exr").stat()
        before = copied.compute_fingerprint(1)
        write_exr(other / "x.0001.exr", random_plate(4, 3, seed=5))
        os.utime(other / "x.0001.exr", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
        assert copied.compute_fingerprint(1) != before

    def test_file_gone(self, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / "plate.####.exr")))
        (sequence / "plate.1001.exr").unlink()
        with pytest.raises(PlateError, match=r"plate\.1001\.exr cannot be read"):
            clip.compute_fingerprint(1001)
        with pytest.raises(PlateError, match=r"there is no file .*plate\.1001\.exr"):
            clip.read(1001)


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("", r"is a folder; name its files by a pattern; there is .*plate\.####\.exr"),
            ("plates.####.exr", r"no file matches .*plates\.####\.exr; there is .*plate\.####\.exr"),
            ("x" * 300, "cannot be read: File name too long"),
            ("*.png", "no file matches"),
            ("plate.1003.exr", r"there is no file .*; did you mean"),
            ("nowhere/plate.####.exr", "no file matches"),
        ],
    )
    def test_names(self, name: str, message: str, sequence: Path) -> None:
        with pytest.raises(PlateError, match=message):
            open_clip(Clip(str(sequence / name)))

    def test_near_names_first(self, sequence: Path) -> None:
        for name in ("aa", "bb", "cc", "shot_plate", "plate_v02"):
            write_exr(sequence / f"{name}.0001.exr", random_plate(4, 3, seed=1))
        with pytest.raises(PlateError, match=r"; there is .*/plate_v02\.####\.exr, .*/plate\.####\.exr") as caught:
            open_clip(Clip(str(sequence / "plate_v01.####.exr")))
        assert "aa.####" not in str(caught.value)

    def test_single_files_that_are_not_like_the_name_are_not_offered(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("words")
        with pytest.raises(PlateError, match="has nothing like it"):
            open_clip(Clip(str(tmp_path / "plate.####.exr")))

    def test_text_in_a_sequence(self, sequence: Path) -> None:
        (sequence / "plate.1002.exr").write_text("words")
        clip = open_clip(Clip(str(sequence / "plate.####.exr")))
        assert clip.read(1001).pixels.max() == 1.0
        with pytest.raises(PlateError, match=r"plate\.1002\.exr cannot be read as a picture"):
            clip.read(1002)


class TestRanges:
    @pytest.mark.parametrize(
        ("text", "frames"),
        [
            ("1001-1010x3,1020", (1001, 1004, 1007, 1010, 1020)),
            ("5", (5,)),
            ("1, 3", (1, 3)),
            ("1001 1003", (1001, 1003)),
            ("1-3  7 -2", (-2, 1, 2, 3, 7)),
            ("1-10:3", (1, 4, 7, 10)),
            ("1 - 3 , 5", (1, 2, 3, 5)),
            ("1-5 x2", (1, 3, 5)),
            ("-3--1", (-3, -2, -1)),
            ("1,1,2", (1, 2)),
            ("1-5,3-7", (1, 2, 3, 4, 5, 6, 7)),
        ],
    )
    def test_parse(self, text: str, frames: tuple[int, ...]) -> None:
        assert parse_frames(text) == frames

    @pytest.mark.parametrize(
        "text", ["1001-", "a", "1-10x", "1001-1048y", "1..5", "1-10x0", "1.5-2.5x0.5", "####", "1;2", "", "1-5#", "-"]
    )
    def test_malformed(self, text: str) -> None:
        with pytest.raises(FrameRangeError, match=r"write (it like|whole ones, like) 1001-1048x2,1060"):
            parse_frames(text)

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("10-1", r"'10-1' runs backwards; .* write 1-10$"),
            ("1, 10 - 1 x2", r"runs backwards; .* write 1-10x2$"),
            ("-1--5", r"runs backwards; .* write -5--1$"),
            ("1:5", r"'1:5' is not a frame range; write 1-5$"),
        ],
    )
    def test_hints(self, text: str, hint: str) -> None:
        with pytest.raises(FrameRangeError, match=hint):
            parse_frames(text)

    @settings(max_examples=50, deadline=None)
    @given(frames=st.sets(st.integers(-50, 3000), min_size=1, max_size=30))
    def test_text_and_back(self, frames: set[int]) -> None:
        text = format_frames(sorted(frames))
        if not text.endswith("..."):
            assert parse_frames(text) == tuple(sorted(frames))

    def test_text_is_short(self) -> None:
        assert format_frames(()) == "none"
        text = format_frames([n * n for n in range(200)])
        assert len(text) < 210
        assert text.endswith(",...")

    @pytest.mark.parametrize(
        ("text", "missing", "chosen"),
        [
            ("", "skip", (1, 2, 4)),
            ("", "hold", (1, 2, 3, 4)),
            ("1-2", "error", (1, 2)),
            ("2-6", "skip", (2, 4)),
            ("2-6", "hold", (2, 3, 4, 5, 6)),
        ],
    )
    def test_select(self, text: str, missing: str, chosen: tuple[int, ...]) -> None:
        assert select_frames(text, (1, 2, 4), missing) == chosen

    @pytest.mark.parametrize(
        ("text", "available", "missing", "message"),
        [
            ("", (1, 2, 4), "error", r"missing frames: 3 \(there are 1-2,4\)"),
            ("1-9", (1, 2, 4), "error", "missing frames: 3,5-9"),
            ("7-9", (1, 2, 4), "skip", "'7-9' has none of 1-2,4"),
            ("", (), "hold", "no frames to render"),
            ("1-3", (), "hold", "no frames to render"),
        ],
    )
    def test_select_refuses(self, text: str, available: tuple[int, ...], missing: str, message: str) -> None:
        with pytest.raises(FrameRangeError, match=message):
            select_frames(text, available, missing)


class TestOutput:
    @pytest.mark.parametrize(
        ("pattern", "frame", "name"),
        [
            ("out/a.####.exr", 7, "out/a.0007.exr"),
            ("a.%04d.exr", 12345, "a.12345.exr"),
            ("a.$F3.exr", 7, "a.007.exr"),
            ("a.@.exr", 7, "a.7.exr"),
            ("a.exr", 7, "a.exr"),
            ("a.%d.exr", 7, "a.7.exr"),
            ("a.####.exr", -7, "a.-007.exr"),
        ],
    )
    def test_path(self, pattern: str, frame: int, name: str) -> None:
        assert format_output_path(pattern, frame) == Path(name)
        assert has_frame_token(pattern) == (name != "a.exr")

    def test_fine(self, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / "plate.####.exr")))
        check_output(str(sequence / "new" / "swap.####.exr"), [clip], clip.frames)
        assert (sequence / "new").is_dir()
        assert list((sequence / "new").iterdir()) == []
        check_output(str(sequence / "swap.####.exr"), [clip], clip.frames)

    @pytest.mark.parametrize(
        "pattern", ["plate.####.exr", "plate.%04d.exr", "sub/../plate.#.exr", "link/plate.####.exr"]
    )
    def test_over_an_input(self, pattern: str, sequence: Path) -> None:
        (sequence / "sub").mkdir()
        (sequence / "link").symlink_to(sequence, target_is_directory=True)
        clip = open_clip(Clip(str(sequence / "plate.####.exr")))
        with pytest.raises(InputError, match=r"would overwrite the input .*plate\.1001\.exr"):
            check_output(str(sequence / pattern), [clip])

    def test_over_an_input_by_another_name(self, sequence: Path) -> None:
        clip = open_clip(Clip(str(sequence / "plate.####.exr")))
        (sequence / "swap.1002.exr").symlink_to(sequence / "plate.1002.exr")
        with pytest.raises(InputError, match="would overwrite"):
            check_output(str(sequence / "swap.####.exr"), [clip], clip.frames)
        (sequence / "sub").mkdir()
        (sequence / "sub" / "link.0001.exr").symlink_to(sequence / "plate.1002.exr")
        linked = str(sequence / "sub" / "link.####.exr")
        with pytest.raises(InputError, match="would overwrite"):
            check_output(linked, [open_clip(Clip(linked))])
        with pytest.raises(InputError, match="would overwrite"):
            check_output(str(sequence / "plate.1001.exr"), [sequence / "plate.1001.exr"], [1001])

    @pytest.mark.parametrize(
        ("name", "frames", "message"),
        [
            ("swap.####.png", (1, 2), r"is not an EXR; name it like swap\.####\.exr"),
            ("a.png", (1,), r"a\.png is not an EXR; name it like a\.####\.exr"),
            ("swap", (1,), r"name it like swap\.####\.exr"),
            ("swap.exr", (1, 2), "2 frames would all be written to"),
        ],
    )
    def test_wrong_names(self, name: str, frames: tuple[int, ...], message: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=message):
            check_output(str(tmp_path / name), [], frames)

    def test_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.exr").mkdir()
        with pytest.raises(InputError, match="is a folder"):
            check_output(str(tmp_path / "a.exr"), [])

    def test_folder_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="is a file, not a folder"):
            check_output(str(tmp_path / "file" / "a.####.exr"), [])
