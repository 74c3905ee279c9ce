"""Interlaced movies: decoded right, the same every time, de-interlaced or kept as two fields."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.movies.movie import Movie
from fsgan_core.plates.sequence import open_clip
from tests.plates.movies.made_movies import encode, make_rgb, read_plainly, set_fields

COUNT = 8
SPEED = 6  # pixels between two fields
BT601, BT709 = 5, 1

# name, encoder, pixel format, size, options
FORMATS = {
    "dv.mov": ("dvvideo", "yuv420p", (576, 720), {}),
    "dv.avi": ("dvvideo", "yuv420p", (576, 720), {}),
    "h264.mp4": ("libx264", "yuv420p", (288, 384), {"flags": "+ilme+ildct", "crf": "8"}),
    "h264.ts": ("libx264", "yuv420p", (288, 384), {"flags": "+ilme+ildct", "crf": "8"}),
    "prores.mov": ("prores_ks", "yuv422p10le", (288, 384), {"flags": "+ildct", "profile": "3"}),
    "dnxhd.mov": ("dnxhd", "yuv422p", (1080, 1920), {"flags": "+ildct", "b": "120M"}),
    "xdcam.mxf": ("mpeg2video", "yuv422p", (576, 720), {"flags": "+ilme+ildct", "b": "30M", "bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", (576, 720), {"flags": "+ilme+ildct", "b": "15M", "bf": "2"}),
    "uncompressed.mov": ("v210", "yuv422p10le", (288, 384), {}),
}


def scene(time: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 RGB: a soft pattern that moves to the right by SPEED pixels from field to field."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    waves = [np.sin((x - SPEED * time) * 2 * np.pi / period + y / 40) for period in (96, 120, 160)]
    return np.stack([np.rint(128 + 70 * wave) for wave in waves], axis=-1).astype(np.uint8)


def weave(frame: int, size: tuple[int, int], top_first: bool = True) -> np.ndarray:
    """Frame `frame`, from 0, of two fields."""
    woven = scene(2 * frame, size)
    second = scene(2 * frame + 1, size)
    late = slice(1, None, 2) if top_first else slice(0, None, 2)
    woven[late] = second[late]
    return woven


def measure_combing(picture: np.ndarray) -> float:
    """How much more neighbouring rows differ than rows of one field."""
    rows = picture[..., 1].astype(np.float64)
    return float(np.abs(np.diff(rows, axis=0)).mean() / np.abs(rows[2:] - rows[:-2]).mean())


def weave_planes(woven: np.ndarray, form: str, matrix: int) -> av.VideoFrame:
    """Codes each field for itself, as a camera does: the chroma of 4:2:0 is that of one field."""
    fields = [
        make_rgb(woven[field::2], "rgb24").reformat(
            format=form, dst_colorspace=matrix, interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND
        )
        for field in range(2)
    ]
    frame = av.VideoFrame(woven.shape[1], woven.shape[0], form)
    for plane, *parts in zip(frame.planes, fields[0].planes, fields[1].planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        for field, part in enumerate(parts):
            values = np.frombuffer(part, np.uint8).reshape(part.height, -1)
            rows[field::2, : min(values.shape[1], plane.line_size)] = values[:, : plane.line_size]
        plane.update(rows.tobytes())
    return frame


def make(tmp_path: Path, name: str) -> tuple[Path, tuple[int, int], bool]:
    codec, form, size, options = FORMATS[name]
    top_first = codec != "dvvideo"
    matrix = BT709 if size[0] > 576 else BT601

    def setup(video: av.VideoStream) -> None:
        video.codec_context.colorspace, video.codec_context.color_range = matrix, 1
        video.codec_context.field_order = 2 if top_first else 3

    frames = [weave_planes(weave(frame, size, top_first), form, matrix) for frame in range(COUNT)]
    fields = set_fields(frames, top_first)
    return encode(tmp_path / name, fields, codec, form, options=options, setup=setup), size, top_first


@pytest.mark.parametrize("name", sorted(FORMATS))
class TestInterlaced:
    def test_is_de_interlaced(self, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path, size, top_first = make(tmp_path, name)
        with caplog.at_level(logging.INFO), Movie(path) as movie:
            assert movie.frames == tuple(range(1, COUNT + 1))
            pictures = [movie.read(frame).pixels * 255 for frame in movie.frames]
        order = "top" if top_first else "bottom"
        assert f"interlaced ({order} field first), de-interlaced" in caplog.text
        plain = read_plainly(path, "bwdif=mode=send_frame:parity=auto:deint=interlaced")
        assert len(plain) == COUNT
        for frame, (picture, expected) in enumerate(zip(pictures, plain, strict=True)):
            assert np.abs(picture - expected).mean() < 1.2  # as FFmpeg does it, but for its rounding
            # libswscale takes chroma of 4:2:2 as centred where the stream does not say that it is on the first column.
            limit = 4.0 if "422" in FORMATS[name][1] else 2.0
            assert np.quantile(np.abs(picture - expected), 0.99) < limit
            assert measure_combing(picture) < 1.0
            inside = np.abs(picture - scene(2 * frame, size))[8:-8, 8:-8]
            assert inside.mean() < 3.0  # the light at the time of the first field
        with Movie(path) as movie:  # the same picture every time, in any order
            for frame in (COUNT, 1, 4, 3, 5):
                assert np.array_equal(movie.read(frame).pixels * 255, pictures[frame - 1])

    def test_is_kept_as_frames(self, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path, size, top_first = make(tmp_path, name)
        with caplog.at_level(logging.INFO), Movie(path, "keep") as movie:
            pictures = [movie.read(frame).pixels * 255 for frame in movie.frames]
        assert "both fields kept" in caplog.text
        for frame, (picture, plain) in enumerate(zip(pictures, read_plainly(path), strict=True)):
            luma = (picture - plain) @ (0.25, 0.6, 0.15)
            assert np.abs(luma).mean() < 2.0
            assert measure_combing(picture) > 2.0
            assert np.abs(picture - weave(frame, size, top_first)).mean() < 2.0


class TestFieldChroma:
    def test_each_field_has_its_own_colour(self, tmp_path: Path) -> None:
        size = (96, 128)
        woven = np.zeros((*size, 3), np.uint8)
        woven[0::2], woven[1::2] = (200, 40, 40), (40, 40, 200)
        frames = set_fields([weave_planes(woven, "yuv420p", BT601)] * 3)
        options = {"flags": "+ilme+ildct", "qp": "0"}
        path = encode(tmp_path / "a.mp4", frames, "libx264", "yuv420p", options=options)
        with Movie(path, "keep") as movie:
            assert movie.is_interlaced
            assert np.abs(movie.read(1).pixels * 255 - woven).max() < 3


class TestParameter:
    def test_progressive_movies_are_left_alone(self, tmp_path: Path) -> None:
        frames = [make_rgb(scene(time, (96, 128))) for time in range(3)]
        path = encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0")
        with Movie(path) as one, Movie(path, "keep") as other:
            for frame in one.frames:
                assert np.array_equal(one.read(frame).pixels, other.read(frame).pixels)
                assert np.array_equal(np.rint(one.read(frame).pixels * 255), scene(frame - 1, (96, 128)))

    def test_the_fingerprint_follows_it(self, tmp_path: Path) -> None:
        path, _, _ = make(tmp_path, "h264.mp4")
        clip = Clip(str(path))
        with open_clip(clip) as one, open_clip(clip, interlaced="keep") as other:
            assert one.compute_fingerprint(1) != other.compute_fingerprint(1)
            assert not np.array_equal(one.read(2).pixels, other.read(2).pixels)

    def test_an_unknown_value(self, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="deinterlace, keep"):
            open_clip(Clip(str(tmp_path / "a.mov")), interlaced="bob")
