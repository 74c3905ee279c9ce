"""What a movie codes arrives as it is coded: matrices, ranges, depths, alpha, PQ and HLG, chroma."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from fsgan_core.clips.inputs import open_input
from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.movies import movie_pixels
from fsgan_core.plates.movies.movie import Movie
from tests.plates.movies.made_movies import encode, make_planes, make_rgb

# H.273, table 4: code of the matrix -> weights of red and blue.
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
PQ, HLG, BT2020 = 16, 18, 9


def code(rgb: np.ndarray, matrix: int, full: bool, bits: int) -> list[np.ndarray]:
    """Y', Cb and Cr of RGB by the equations of H.273, rounded."""
    kr, kb = MATRICES[matrix]
    y = rgb @ (kr, 1 - kr - kb, kb)
    cb, cr = (rgb[..., 2] - y) / (2 * (1 - kb)), (rgb[..., 0] - y) / (2 * (1 - kr))
    top, step = 2**bits - 1, 2 ** (bits - 8)
    if full:
        planes = [y * top, cb * top + 2 ** (bits - 1), cr * top + 2 ** (bits - 1)]
    else:
        planes = [(16 + 219 * y) * step, (128 + 224 * cb) * step, (128 + 224 * cr) * step]
    kind = np.uint8 if bits == 8 else np.dtype("<u2")
    return [np.clip(np.rint(plane), 0, top).astype(kind) for plane in planes]


def encode_pq(nits: np.ndarray | float) -> np.ndarray:
    """SMPTE ST 2084, equation 4."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    light = (np.asarray(nits) / 10000) ** m1
    return ((c1 + c2 * light) / (1 + c3 * light)) ** m2


def colours(height: int = 32, width: int = 48) -> np.ndarray:
    rgb = np.random.default_rng(5).uniform(0, 1, (height, width, 3))
    rgb[0, :7] = [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0.5), (1, 1, 0)]
    return rgb


def say(matrix: int, full: bool, primaries: int = 2, transfer: int = 2):
    def setup(video: av.VideoStream) -> None:
        context = video.codec_context
        context.colorspace, context.color_range = matrix, 2 if full else 1
        context.color_primaries, context.color_trc = primaries, transfer

    return setup


class TestUncompressed:
    def test_ten_bits_arrive_bit_for_bit(self, tmp_path: Path) -> None:
        # Threads of FFmpeg's decoder that share a frame of v210 overwrite the first pixels of each other's rows.
        size, count = (288, 384), 40
        values = np.random.default_rng(3)
        planes = [values.integers(64, 940, (size[0], size[1] // step), np.uint16) for step in (1, 2, 2)]
        frames = [make_planes(planes, "yuv422p10le") for _ in range(count)]
        path = encode(tmp_path / "a.mov", frames, "v210", "yuv422p10le")
        luma = (planes[0].astype(np.float32) - 64) / 876
        for _ in range(3):
            with Movie(path) as movie:
                for frame in movie.frames:
                    pixels = movie.read(frame).pixels
                    assert np.allclose(pixels @ np.float32([0.299, 0.587, 0.114]), luma, atol=2e-6)
                assert movie._stream is not None and movie._stream.video.thread_count == 1


class TestMatrixAndRange:
    @pytest.mark.parametrize("bits", [8, 10, 12])
    @pytest.mark.parametrize("full", [False, True])
    @pytest.mark.parametrize("matrix", sorted(MATRICES))
    def test_rgb_comes_back(self, matrix: int, full: bool, bits: int, tmp_path: Path) -> None:
        rgb = colours()
        form = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
        frame = make_planes(code(rgb, matrix, full, bits), form)
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", form, setup=say(matrix, full))
        with Movie(path) as movie:
            plate = movie.read(1)
        assert np.abs(plate.pixels - rgb).max() < 1.6 / (219 * 2 ** (bits - 8))
        assert plate.formats == (("uint8",) * 3 if bits == 8 else ("uint16",) * 3)
        neutral = plate.pixels[0, [0, 1, 5]]
        assert np.array_equal(neutral, neutral[:, :1].repeat(3, axis=1))  # grey stays grey, exactly
        assert neutral[:2, 0].tolist() == pytest.approx([0, 1], abs=1e-6)

    @pytest.mark.parametrize(("size", "matrix"), [((576, 720), 6), ((720, 1280), 1), ((1080, 1920), 1)])
    def test_a_stream_that_does_not_say(
        self, size: tuple[int, int], matrix: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rgb = np.empty((*size, 3))
        rgb[:] = (0.8, 0.3, 0.2)
        frame = make_planes(code(rgb, matrix, False, 8), "yuv444p")
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", "yuv444p")
        with caplog.at_level(logging.INFO), Movie(path) as movie:
            assert np.abs(movie.read(1).pixels - rgb).max() < 1.6 / 219
        assert "(assumed), limited range" in caplog.text

    def test_light_beyond_white_and_black_stays(self, tmp_path: Path) -> None:
        luma = np.arange(256, dtype=np.uint8).reshape(8, 32)
        chroma = np.full((8, 32), 128, np.uint8)
        path = encode(tmp_path / "a.mkv", [make_planes([luma, chroma, chroma], "yuv444p")], "ffv1", "yuv444p")
        with Movie(path) as movie:
            pixels = movie.read(1).pixels
        assert pixels[..., 0].ravel() == pytest.approx((np.arange(256) - 16) / 219, abs=1e-6)

    def test_lossless_rgb_in_h264(self, tmp_path: Path) -> None:
        picture = (colours() * 255).round().astype(np.uint8)
        path = encode(tmp_path / "a.mp4", [make_rgb(picture, "bgr24")], "libx264rgb", "bgr24", options={"qp": "0"})
        with Movie(path) as movie:
            assert np.array_equal(np.rint(movie.read(1).pixels * 255), picture)

    def test_constant_luminance_is_refused(self, tmp_path: Path) -> None:
        frame = make_planes(code(colours(), 9, False, 8), "yuv444p")
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", "yuv444p", setup=say(10, False))
        with pytest.raises(PlateError, match=r"a\.mkv.*constant-luminance"):
            Movie(path)


class TestPacking:
    @pytest.mark.parametrize(
        ("codec", "form"),
        [
            ("rawvideo", "rgb24"),
            ("rawvideo", "bgr24"),
            ("rawvideo", "bgra"),
            ("qtrle", "rgb24"),
        ],
    )
    def test_rgb_is_only_moved(self, codec: str, form: str, tmp_path: Path) -> None:
        picture = (colours() * 255).round().astype(np.uint8)
        path = encode(tmp_path / "a.nut", [make_rgb(picture, form)], codec, form)
        with Movie(path) as movie:
            plate = movie.read(1)
        assert np.array_equal(np.rint(plate.get("R", "G", "B") * 255), picture)

    @pytest.mark.parametrize(("codec", "form"), [("rawvideo", "rgb48le"), ("png", "rgb48be"), ("rawvideo", "rgba64le")])
    def test_sixteen_bits_of_rgb(self, codec: str, form: str, tmp_path: Path) -> None:
        count = 4 if "a" in form else 3
        picture = np.random.default_rng(4).integers(0, 65536, (32, 48, count)).astype("<u2")
        stored = picture.astype(">u2") if form.endswith("be") else picture
        frame = make_planes([stored.reshape(32, -1).view(np.uint8)], form, width=48)
        path = encode(tmp_path / "a.nut", [frame], codec, form)
        with Movie(path) as movie:
            pixels = movie.read(1).pixels
        assert np.array_equal(np.rint(pixels.astype(np.float64) * 65535), picture)

    def test_ten_bits_of_rgb(self, tmp_path: Path) -> None:
        planes = np.random.default_rng(4).integers(0, 1024, (3, 32, 48)).astype("<u2")
        path = encode(tmp_path / "a.mkv", [make_planes(planes, "gbrp10le")], "ffv1", "gbrp10le")
        with Movie(path) as movie:
            pixels = movie.read(1).pixels
        assert np.array_equal(np.rint(pixels * 1023), planes[[2, 0, 1]].transpose(1, 2, 0))

    @pytest.mark.parametrize("form", ["nv12", "nv16", "p010le", "yuyv422", "uyvy422", "nv24"])
    def test_packed_and_half_planar_formats_are_those_in_planes(self, form: str) -> None:
        planar = {"nv12": "yuv420p", "nv16": "yuv422p", "p010le": "yuv420p10le", "nv24": "yuv444p"}.get(form, "yuv422p")
        rng = np.random.default_rng(2)
        known = av.VideoFormat(planar, 64, 32)
        kind, top = (np.uint8, 256) if "10" not in planar else (np.dtype("<u2"), 1024)
        planes = [rng.integers(0, top, (part.height, part.width)).astype(kind) for part in known.components]
        frame = make_planes(planes, planar)
        packed = frame.reformat(format=form)
        unpacked = movie_pixels.repack_frame(packed, av.video.reformatter.VideoReformatter())
        assert unpacked.format.name == planar
        for plane, expected in zip(unpacked.planes, planes, strict=True):
            rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
            assert np.array_equal(rows, expected)

    def test_a_lowest_row_first_avi(self, tmp_path: Path) -> None:
        picture = (colours() * 255).round().astype(np.uint8)
        path = encode(tmp_path / "a.avi", [make_rgb(picture, "bgr24")], "rawvideo", "bgr24")
        with Movie(path) as movie:
            assert np.array_equal(np.rint(movie.read(1).pixels * 255), picture)

    def test_grey(self, tmp_path: Path) -> None:
        grey = np.arange(2048, dtype="<u2").reshape(32, 64) * 32
        path = encode(tmp_path / "a.mkv", [make_planes([grey], "gray16le")], "ffv1", "gray16le", setup=say(2, True))
        with Movie(path) as movie:
            plate = movie.read(1)
        assert plate.pixels[..., 1] == pytest.approx(grey / 65535, abs=1e-6)


class TestDepth:
    def test_ten_bits_of_prores(self, tmp_path: Path) -> None:
        luma = np.tile((64 + np.arange(1024) * 876 / 1023).round().astype("<u2"), (64, 1))
        chroma = np.full((64, 512), 512, "<u2")
        frame = make_planes([luma, chroma, chroma], "yuv422p10le")
        path = encode(tmp_path / "a.mov", [frame], "prores_ks", "yuv422p10le", options={"profile": "3", "qscale": "1"})
        with Movie(path) as movie:
            row = movie.read(1).pixels[32, :, 1]
        assert len(np.unique(row)) >= 870
        assert np.abs(row - np.arange(1024) / 1023).max() < 2 / 876

    def test_twelve_bits_of_prores_4444(self, tmp_path: Path) -> None:
        ramp = np.tile(np.arange(4096, dtype="<u2")[None, 256:3760:2], (32, 1))
        planes = [ramp, np.full_like(ramp, 2048), np.full_like(ramp, 2048)]
        path = encode(
            tmp_path / "a.mov",
            [make_planes([plane >> 2 for plane in planes], "yuv444p10le")],
            "prores_ks",
            "yuv444p10le",
            options={"profile": "4444", "qscale": "1"},
        )
        with Movie(path) as movie:
            assert "p12le" in movie._get_frame(0).format.name or "p10le" in movie._get_frame(0).format.name
            assert len(np.unique(movie.read(1).pixels[16, :, 0])) > 850

    def test_alpha_of_prores_4444(self, tmp_path: Path) -> None:
        height, width = 64, 256
        luma = np.full((height, width), 500, "<u2")
        chroma = np.full((height, width), 512, "<u2")
        alpha = np.tile(np.linspace(0, 1023, width).round().astype("<u2"), (height, 1))
        frame = make_planes([luma, chroma, chroma, alpha], "yuva444p10le")
        path = encode(
            tmp_path / "a.mov",
            [frame],
            "prores_ks",
            "yuva444p10le",
            options={"profile": "4444", "alpha_bits": "16", "qscale": "2"},
        )
        with Movie(path) as movie:
            plate = movie.read(1)
        assert plate.channels == ("R", "G", "B", "A")
        assert np.abs(plate.get("A")[..., 0] - alpha / 1023).max() < 1 / 1023
        assert plate.get("R").mean() == pytest.approx((500 - 64) / 876, abs=0.002)


class TestTransfer:
    def test_pq_is_read_as_it_is_coded(self, tmp_path: Path) -> None:
        levels = np.linspace(0, 1, 64 * 48).reshape(48, 64, 1).repeat(3, axis=2)
        frame = make_planes(code(levels, BT2020, False, 10), "yuv444p10le")
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", "yuv444p10le", setup=say(BT2020, False, BT2020, PQ))
        with Movie(path) as movie:
            plate = movie.read(1)
        assert np.abs(plate.pixels - levels).max() < 0.51 / 876
        assert plate.metadata["colorInteropID"] == "pq_rec2020_display"

    @pytest.mark.parametrize(
        ("primaries", "transfer", "expected"),
        [
            (9, 16, "pq_rec2020_display"),
            (12, 16, "pq_p3d65_display"),
            (9, 18, "hlg_rec2020_display"),
            (9, 8, "lin_rec2020_scene"),
            (12, 1, "srgb_p3d65_display"),
            (9, 14, "g24_rec2020_display"),
            (1, 1, None),
            (1, 13, None),
            (2, 2, None),
            (6, 6, None),
        ],
    )
    def test_what_the_stream_says_of_itself(
        self, primaries: int, transfer: int, expected: str | None, tmp_path: Path
    ) -> None:
        frame = make_planes(code(colours(), 9, False, 10), "yuv444p10le")
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", "yuv444p10le", setup=say(9, False, primaries, transfer))
        with Movie(path) as movie:
            assert movie.read(1).metadata.get("colorInteropID") == expected

    @pytest.mark.parametrize(
        ("config_name", "transfer", "space"),
        [
            ("ocio://default", PQ, "Rec.2100-PQ - Display"),
            ("ocio://studio-config-latest", PQ, "Rec.2100-PQ - Display"),
            ("ocio://studio-config-latest", HLG, "Rec.2100-HLG - Display"),
        ],
    )
    def test_the_space_is_that_of_the_config(self, config_name: str, transfer: int, space: str, tmp_path: Path) -> None:
        nits = np.full((48, 64, 3), 203.0)
        nits[10:20, 10:30] = 1000.0
        values = encode_pq(nits) if transfer == PQ else nits / 1000
        planes = code(values, BT2020, False, 10)
        form, (height, width) = "yuv420p10le", nits.shape[:2]
        frame = make_planes([planes[0], *[np.full((height // 2, width // 2), 512, "<u2")] * 2], form)
        setup = say(BT2020, False, BT2020, transfer)
        path = encode(tmp_path / "a.mkv", [frame] * 2, "ffv1", form, setup=setup)
        config = open_config(config_name)
        clip = open_input(Clip(str(path)), config)
        assert clip.space == space
        pixels = clip.sequence.read(1).pixels
        linear = config.convert(pixels, clip.space, config.scene_linear)
        if transfer == PQ:
            lamp, white = linear[12:18, 12:28], linear[30:, 40:]
            assert np.abs(lamp / 10.042 - 1).max() < 5e-4  # 722.6 is coded as 723
            exact = config.convert(np.full((1, 1, 3), encode_pq(203.0), np.float32), clip.space, config.scene_linear)
            assert np.abs(white / exact - 1).max() < 0.01
            assert exact[0, 0, 0] == pytest.approx(2.03, rel=0.01)
        named = open_input(Clip(str(path), colorspace="sRGB"), config)  # the user has the last word
        assert named.space == "sRGB"

    @pytest.mark.parametrize(("luma", "light"), [(722, 9.937), (723, 10.042), (725, 10.254), (940, 100.0)])
    def test_light_is_that_of_the_standard(self, luma: int, light: float, tmp_path: Path) -> None:
        """1000 nit is 722.6, coded as 723. ffmpeg codes it as 725 if it comes as 16-bit RGB (white at 255 x 256)."""
        planes = [np.full((16, 16), value, "<u2") for value in (luma, 512, 512)]
        path = encode(
            tmp_path / "a.mkv",
            [make_planes(planes, "yuv444p10le")],
            "ffv1",
            "yuv444p10le",
            setup=say(BT2020, False, BT2020, PQ),
        )
        config = open_config("ocio://studio-config-latest")
        clip = open_input(Clip(str(path)), config)
        linear = config.convert(clip.sequence.read(1).pixels, clip.space, config.scene_linear)
        assert linear == pytest.approx(np.full_like(linear, light), rel=2e-4)

    def test_a_config_without_such_a_space_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        frame = make_planes(code(colours(), BT2020, False, 10), "yuv444p10le")
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", "yuv444p10le", setup=say(BT2020, False, BT2020, HLG))
        with caplog.at_level(logging.WARNING):
            open_input(Clip(str(path)), open_config("ocio://default"))
        assert "hlg_rec2020_display" in caplog.text and "Name the colour space" in caplog.text


class TestChroma:
    @pytest.mark.parametrize(
        ("codec", "form", "size", "siting"),
        [
            ("ffv1", "yuv420p", (2, 2), (0.0, 0.5)),
            ("ffv1", "yuv422p", (2, 1), (0.0, 0.0)),
            ("ffv1", "yuv411p", (4, 1), (0.0, 0.0)),
            ("ffv1", "yuv440p", (1, 2), (0.0, 0.5)),
            ("ffv1", "yuv410p", (4, 4), (0.0, 0.5)),
        ],
    )
    def test_a_slope_of_colour_is_straight(
        self, codec: str, form: str, size: tuple[int, int], siting: tuple[float, float], tmp_path: Path
    ) -> None:
        height, width = 32, 64
        y, x = np.mgrid[0:height, 0:width]
        across, down = size
        rows, columns = np.arange(height // down) * down + siting[1], np.arange(width // across) * across + siting[0]
        cb = (100 + columns[None] * 0.5 + rows[:, None] * 0.25).round(0)
        frame = make_planes(
            [np.full((height, width), 120, np.uint8), cb.astype(np.uint8), np.full(cb.shape, 128, np.uint8)], form
        )
        path = encode(tmp_path / "a.mkv", [frame], codec, form, setup=say(1, False))
        with Movie(path) as movie:
            blue = movie.read(1).pixels[..., 2]
        found = (blue - (120 - 16) / 219) / (2 * (1 - 0.0722)) * 224 + 128
        inside = (slice(4, -4), slice(8, -8))
        assert np.abs(found - (100 + x * 0.5 + y * 0.25))[inside].max() < 0.8

    def test_odd_sizes(self, tmp_path: Path) -> None:
        planes = [np.full((31, 45), 126, np.uint8), *[np.full((16, 23), value, np.uint8) for value in (90, 160)]]
        path = encode(tmp_path / "a.mkv", [make_planes(planes, "yuv420p")], "ffv1", "yuv420p", setup=say(1, False))
        with Movie(path) as movie:
            pixels = movie.read(1).pixels
        assert pixels.shape == (31, 45, 3)
        assert np.ptp(pixels, axis=(0, 1)).max() < 1e-5
