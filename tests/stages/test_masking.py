"""Mattes: hair and occluders out, eyes and lips in, sizes in pixels, time, odd plates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fsgan_core.contract.landmarks import EYE_L, EYE_R, MOUTH_INNER
from fsgan_core.contract.layers import MATTE_FACE, MATTE_OCCLUSION, MATTES, META_TEXTURE
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec, ColourConfig
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages import masking, warp_points
from fsgan_core.stages.image_ops import draw_convex_hull, enlarge_polygon, mark_plate_area
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.masking import MATTE_STEMS, combine_mattes, format_texture, measure_mattes, read_texture
from fsgan_core.stages.matching.plate_match import TEXTURE_LENGTH
from tests.stages.conftest import Still, face_at, plate_at, posed

RAW = MaskParams(feather=0.0)


def at(still: Still, point: np.ndarray) -> tuple[int, int]:
    """Row and column of a plate point on the region."""
    x, y = np.round(np.asarray(point)).astype(int) - (still.region.x, still.region.y)
    return int(y), int(x)


def between(still: Still, *numbers: int) -> np.ndarray:
    return np.asarray(still.face.landmarks[list(numbers)].mean(0))


def face_matte(still: Still, codec: Codec, params: MaskParams = RAW) -> np.ndarray:
    return still.mattes(codec, params).get_matte("matte.face")


def painted(
    still: Still,
    lines: list[tuple[np.ndarray, np.ndarray]],
    thickness: float,
    srgb: tuple[int, int, int],
    config: ColourConfig,
) -> tuple[Still, np.ndarray]:
    """The still with bars from point to point in front of it, and where they are: float32, region's raster."""
    cover = np.zeros(still.plate.pixels.shape[:2], np.float32)
    for start, end in lines:
        ends = [tuple(int(v * 16) for v in point) for point in (start, end)]
        cv2.line(cover, ends[0], ends[1], 1.0, max(1, round(thickness)), cv2.LINE_AA, 4)
    cover = np.clip(cv2.GaussianBlur(cover, (0, 0), 0.5), 0, 1)
    colour = config.convert(np.float32([[srgb]]) / 255, "sRGB", config.scene_linear)
    pixels = still.plate.pixels * (1 - cover[..., None]) + cover[..., None] * colour
    plate = plate_at(cover[..., None].repeat(3, 2))
    return still.painted(pixels), plate.crop(still.region).pixels[..., 0]


class TestFace:
    def test_layers(self, collins: Still, codec: Codec) -> None:
        mattes = collins.mattes(codec)
        assert mattes.channels == MATTES
        assert mattes.data_window == collins.region
        assert mattes.pixels.dtype == np.float32
        assert np.isfinite(mattes.pixels).all()
        assert mattes.pixels.min() >= 0 and mattes.pixels.max() <= 1

    @pytest.mark.parametrize("name", ["collins", "hopper"])
    def test_eyes_brows_nose_and_lips_are_the_faces(
        self, name: str, codec: Codec, request: pytest.FixtureRequest
    ) -> None:
        still: Still = request.getfixturevalue(name)
        matte = face_matte(still, codec, RAW.replace(keep_glasses=False))
        for numbers in ([36, 39], [42, 45], [19], [24], [30], [33], [51], [57], [48, 54], [31, 48], [35, 54]):
            assert matte[at(still, between(still, *numbers))] > 0.9
        inner = np.zeros_like(matte)
        corners = still.face.landmarks[[1, 3, 5, 7, 9, 11, 13, 15, 26, 24, 19, 17]]
        corners = still.face.landmarks[30] + 0.75 * (corners - still.face.landmarks[30])
        cv2.fillPoly(inner, [np.round(corners - (still.region.x, still.region.y)).astype(np.int32)], 1.0)
        assert matte[inner > 0].mean() > 0.97

    def test_hair_is_taken_out(self, collins: Still, codec: Codec) -> None:
        """Collins's fringe, of nearly her skin's colour, covers the forehead; hair falls over the temples."""
        mattes = collins.mattes(codec, RAW)
        for point in ((85, 70), (100, 66), (115, 72), (128, 70), (100, 55)):  # the fringe
            assert mattes.get_matte("matte.face")[at(collins, np.array(point))] < 0.15
            assert mattes.get_matte("matte.hair")[at(collins, np.array(point))] > 0.85
        for point in ((100, 86), (115, 88), (85, 86)):  # forehead below it
            assert mattes.get_matte("matte.face")[at(collins, np.array(point))] > 0.85
        outside = warp_points.compute_outline(collins.face.landmarks)[0]
        assert mattes.get_matte("matte.face")[at(collins, outside[:17].min(0) - 8)] == 0

    def test_a_hat_is_taken_out(self, hopper: Still, codec: Codec) -> None:
        mattes = hopper.mattes(codec, RAW)
        cap = between(hopper, 27) - (0, 0.52 * hopper.width)
        assert mattes.get_matte("matte.face")[at(hopper, cap)] < 0.05
        brow = between(hopper, 21, 22) - (0, 0.1 * hopper.width)
        assert mattes.get_matte("matte.face")[at(hopper, brow)] > 0.9

    def test_refine_is_an_amount(self, collins: Still, codec: Codec) -> None:
        fringe = at(collins, np.array((100, 66)))
        none, half, all_of_it = (
            face_matte(collins, codec, RAW.replace(refine=amount))[fringe] for amount in (0.0, 0.5, 1.0)
        )
        assert none > 0.95 and all_of_it < 0.1
        assert half == pytest.approx((none + all_of_it) / 2, abs=0.1)

    def test_forehead(self, hopper: Still, codec: Codec) -> None:
        areas = [face_matte(hopper, codec, RAW.replace(forehead=up, refine=0.0)).sum() for up in (0.0, 0.5, 1.0)]
        assert areas[0] < areas[1] < areas[2]

    def test_exposure_does_not_matter(self, collins: Still, codec: Codec, config: ColourConfig) -> None:
        dark = collins.painted(collins.plate.pixels / 8)
        there = dark.mattes(config.make_codec(config.scene_linear, 3.0), RAW)
        assert np.abs(there.pixels - collins.mattes(codec, RAW).pixels).max() < 1e-3

    @pytest.mark.parametrize("angle", [45.0, -30.0])
    def test_a_tilted_head(self, collins: Still, codec: Codec, angle: float) -> None:
        """The same face turned in the plane: the same mattes, turned."""
        height, width = collins.plate.pixels.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2 - 15), angle, 1.0)
        pixels = cv2.warpAffine(
            collins.plate.pixels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        tilted = Still(plate_at(pixels), face_at(collins.face.landmarks @ turn[:, :2].T + turn[:, 2]))
        matte = plain_raster(tilted, face_matte(tilted, codec))
        upright = plain_raster(collins, face_matte(collins, codec))
        upright = cv2.warpAffine(upright, turn, (width, height))
        assert np.abs(matte - upright).sum() / upright.sum() < 0.06

    def test_wide_pixels(self, collins: Still, codec: Codec) -> None:
        narrow = collins.squeezed()
        for params in (RAW, MaskParams(), MaskParams(size=4.0), MaskParams(size=-4.0)):
            square = plain_raster(collins, face_matte(collins, codec, params))
            wide = plain_raster(narrow, face_matte(narrow, codec, params))
            wide = cv2.resize(wide, square.shape[::-1], interpolation=cv2.INTER_LINEAR)
            assert np.abs(wide - square).sum() / square.sum() < 0.05


def plain_raster(still: Still, matte: np.ndarray) -> np.ndarray:
    """A matte of the region on the plate's own raster."""
    plate = Plate(matte[..., None], ("A",), still.region, still.region)
    return plate.crop(still.plate.data_window).pixels[..., 0]


class TestOccluders:
    @pytest.mark.parametrize("name", ["collins", "hopper"])
    @pytest.mark.parametrize("kind", ["blue bar", "microphone", "glove"])
    def test_is_taken_out_and_the_rest_stays(
        self, name: str, kind: str, codec: Codec, config: ColourConfig, request: pytest.FixtureRequest
    ) -> None:
        still: Still = request.getfixturevalue(name)
        points, width = still.face.landmarks, still.width
        lines, thickness, colour = {
            "blue bar": (
                [(points[2] - (0.5 * width, 0.1 * width), points[4] + (0.3 * width, 0.02 * width))],
                0.12,
                (40, 60, 200),
            ),
            "microphone": (
                [(points[57] + (0, 0.1 * width), points[57] + (0.1 * width, 1.2 * width))],
                0.2,
                (85, 85, 88),
            ),
            "glove": (
                [
                    (points[14] + (0.5 * width, k * 0.13 * width), points[14] - (0.2 * width, -k * 0.12 * width))
                    for k in (0, 1, 2)
                ],
                0.11,
                (95, 110, 105),
            ),
        }[kind]
        covered, cover = painted(still, lines, thickness * width, colour, config)
        matte, before = face_matte(covered, codec), face_matte(still, codec)
        hidden, free = (cover > 0.9) & (before > 0.5), (cv2.dilate(cover, np.ones((7, 7))) < 0.05) & (before > 0.9)
        assert hidden.sum() > 100
        assert matte[hidden].mean() < 0.2
        assert matte[free].mean() > 0.95
        occlusion = covered.mattes(codec, RAW).get_matte("matte.occlusion")
        assert occlusion[hidden].mean() > 0.75
        for numbers in ([36, 39], [42, 45], [19], [24], [30], [51]):
            place = at(still, between(still, *numbers))
            if cover[place] < 0.05:
                assert matte[place] > 0.85

    def test_amount(self, collins: Still, codec: Codec, config: ColourConfig) -> None:
        points, width = collins.face.landmarks, collins.width
        lines = [(points[2] - (0.5 * width, 0.1 * width), points[4] + (0.3 * width, 0.02 * width))]
        covered, cover = painted(collins, lines, 0.12 * width, (40, 60, 200), config)
        matte = face_matte(covered, codec, RAW.replace(occlusions=0.0))
        assert matte[(cover > 0.9) & (face_matte(collins, codec) > 0.9)].mean() > 0.9

    def test_glasses_may_stay_in_front(self, hopper: Still, codec: Codec) -> None:
        """Hopper's glasses: in the matte unless they are kept; the eyes behind them are replaced either way."""
        gone, kept = (hopper.mattes(codec, RAW.replace(keep_glasses=keep)) for keep in (False, True))
        bridge = between(hopper, 27, 28)
        column = at(hopper, bridge)[1]
        strip = (slice(at(hopper, bridge)[0] - 6, at(hopper, bridge)[0] + 6), slice(column - 3, column + 4))
        assert gone.get_matte("matte.face")[strip].min() > 0.9
        assert kept.get_matte("matte.occlusion")[strip].max() > 0.5
        assert kept.get_matte("matte.face").sum() < gone.get_matte("matte.face").sum() - 50
        for eye in ([36, 39], [42, 45]):
            assert kept.get_matte("matte.face")[at(hopper, between(hopper, *eye))] > 0.85

    def test_glasses_that_go_take_their_hinges_along(self, hopper: Still, codec: Codec) -> None:
        matte = face_matte(hopper, codec, RAW.replace(keep_glasses=False))
        for brow, eye, side in ((17, 36, 0), (26, 45, 16)):
            hinge = 0.5 * between(hopper, brow) + 0.3 * between(hopper, side) + 0.2 * between(hopper, eye)
            assert matte[at(hopper, hinge)] > 0.8

    def test_keeping_glasses_costs_little_where_there_are_none(self, collins: Still, codec: Codec) -> None:
        none, kept = (face_matte(collins, codec, RAW.replace(keep_glasses=keep)) for keep in (False, True))
        assert np.array_equal(kept, none)


class TestMouth:
    def test_its_own_matte(self, collins: Still, codec: Codec) -> None:
        mouth = collins.mattes(codec).get_matte("matte.mouth")
        assert mouth[at(collins, between(collins, 62, 66))] > 0.95
        polygon = collins.face.landmarks[MOUTH_INNER].astype(np.float32)
        assert mouth.sum() == pytest.approx(cv2.contourArea(polygon), rel=0.35)
        assert mouth[at(collins, between(collins, 30))] == 0

    def test_may_be_left_alone(self, collins: Still, codec: Codec) -> None:
        place = at(collins, between(collins, 62, 66))
        assert face_matte(collins, codec)[place] > 0.95
        assert face_matte(collins, codec, RAW.replace(mouth=False))[place] < 0.05
        assert face_matte(collins, codec, RAW.replace(mouth=False))[at(collins, between(collins, 30))] > 0.95


@pytest.mark.parametrize("aspect", [1.0, 2.0])
class TestSize:
    """On a made-up matte, a disc of known radius."""

    side, centre, radius = 160, 80.0, 40.0

    @pytest.fixture(autouse=True)
    def keep_codec(self, codec: Codec) -> None:
        self.codec = codec

    def still(self, aspect: float) -> tuple[Face, Window, Plate, Plate]:
        columns = int(self.side / aspect)
        y, x = np.mgrid[0 : self.side, 0:columns]
        distance = np.hypot((x + 0.5) * aspect - 0.5 - self.centre, y - self.centre)
        matte = np.clip(self.radius - distance + 0.5, 0, 1).astype(np.float32)
        window = Window(0, 0, columns, self.side)
        pixels = np.dstack([matte, 0 * matte, 0 * matte, 0 * matte])
        measured = Plate(pixels, MATTES, window, window, aspect, {META_TEXTURE: "0 0 0 0 0"})
        face = face_at(posed(scale=100 / 144, centre=(80 / aspect, 60), aspect=aspect), aspect=aspect)
        return face, window, measured, plate_at(np.full((self.side, columns, 3), 0.2), aspect=aspect)

    def profile(self, aspect: float, params: MaskParams) -> tuple[np.ndarray, np.ndarray]:
        """Matte along the vertical line through the disc's middle, and along the horizontal one."""
        face, window, measured, plate = self.still(aspect)
        matte = combine_mattes(
            FaceFrame(plate, face, window, self.codec), neighbours=[(face, measured)], params=params
        ).get_matte("matte.face")
        return matte[:, int(80 / aspect)], matte[80]

    def test_grows_and_shrinks_by_pixels(self, aspect: float) -> None:
        for size in (0.0, 3.0, 12.0, -3.0, -12.0, 7.5):
            down, across = self.profile(aspect, RAW.replace(size=size))
            assert down.sum() / 2 == pytest.approx(self.radius + size, abs=1)
            assert across.sum() * aspect / 2 == pytest.approx(self.radius + size, abs=1)

    def test_a_diagonal_grows_as_much(self, aspect: float) -> None:
        face, window, measured, plate = self.still(aspect)
        grown = combine_mattes(
            FaceFrame(plate, face, window, self.codec), neighbours=[(face, measured)], params=RAW.replace(size=25.0)
        ).get_matte("matte.face")
        assert np.sqrt(grown.sum() * aspect / np.pi) == pytest.approx(65, abs=1)

    @pytest.mark.parametrize("feather", [0.05, 0.12, 0.25])
    def test_feather_is_that_wide_and_ends_where_the_matte_ends(self, aspect: float, feather: float) -> None:
        down, across = self.profile(aspect, RAW.replace(feather=feather))
        for line, step in ((down, 1.0), (across, aspect)):
            position = np.arange(len(line)) * step + (step - 1) / 2
            inward = self.radius - np.abs(position - self.centre)
            assert (line[inward < -0.75 * step] == 0).all()
            assert line[inward > 100 * feather + step].min() > 0.985
            half = inward[np.flatnonzero(line >= 0.5)[0]]
            assert half == pytest.approx(50 * feather, abs=1 + 0.5 * step)

    def test_holdout(self, aspect: float) -> None:
        face, window, measured, plate = self.still(aspect)
        holdout = np.zeros((window.height, window.width), np.float32)
        holdout[:80] = 1
        holdout[80:90] = 0.25
        holdout[100] = np.nan
        mattes = combine_mattes(
            FaceFrame(plate, face, window, self.codec, holdout), neighbours=[(face, measured)], params=RAW
        ).get_matte("matte.face")
        without = combine_mattes(
            FaceFrame(plate, face, window, self.codec), neighbours=[(face, measured)], params=RAW
        ).get_matte("matte.face")
        assert not mattes[:80].any()
        assert np.allclose(mattes[80:90], 0.75 * without[80:90])
        assert np.array_equal(mattes[90:], without[90:])


class TestTime:
    """A face that moves, turns and grows over a clip."""

    def clip(self, collins: Still) -> dict[int, Still]:
        stills = {}
        for frame in range(1, 8):
            turn = cv2.getRotationMatrix2D((100.0, 120.0), 2.0 * (frame - 4), 1 + 0.01 * (frame - 4))
            turn[:, 2] += (3 * (frame - 4), frame - 4)
            pixels = cv2.warpAffine(
                collins.plate.pixels,
                turn,
                collins.plate.pixels.shape[1::-1],
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
            stills[frame] = Still(plate_at(pixels), face_at(collins.face.landmarks @ turn[:, :2].T + turn[:, 2], frame))
        return stills

    def combined(
        self, clip: dict[int, Still], frame: int, near: list[int], codec: Codec, params: MaskParams = RAW
    ) -> Plate:
        measured = [(clip[n].face, measure_mattes(clip[n].frame(codec), params=params)) for n in near]
        return combine_mattes(clip[frame].frame(codec), neighbours=measured, params=params)

    def test_neighbours_are_carried_to_where_the_face_is(self, collins: Still, codec: Codec) -> None:
        clip = self.clip(collins)
        alone = self.combined(clip, 4, [4], codec).get_matte("matte.face")
        for other in (2, 6):
            moved = self.combined(clip, 4, [other], codec).get_matte("matte.face")
            assert np.abs(moved - alone).sum() / alone.sum() < 0.05

    def test_is_the_mean_nearer_frames_more(self, collins: Still, codec: Codec) -> None:
        clip = self.clip(collins)
        alone = {n: self.combined(clip, 4, [n], codec).get_matte("matte.face") for n in (2, 4)}
        both = self.combined(clip, 4, [2, 4], codec).get_matte("matte.face")
        share = [np.abs(both - alone[n])[np.abs(alone[2] - alone[4]) > 0.1].mean() for n in (2, 4)]
        assert share[1] < share[0]
        assert ((both <= np.maximum(alone[2], alone[4]) + 1e-5) & (both >= np.minimum(alone[2], alone[4]) - 1e-5)).all()

    def test_a_frame_does_not_depend_on_its_chunk(self, collins: Still, codec: Codec) -> None:
        """Measured in another order, in other company, alone: the same bits."""
        clip = self.clip(collins)
        first = self.combined(clip, 4, [2, 3, 4, 5, 6], codec, MaskParams())
        for chunk in ([4, 5, 6, 7], [6, 5, 4, 3, 2, 1]):
            measured = {n: measure_mattes(clip[n].frame(codec), params=MaskParams()) for n in chunk}
            for n in (2, 3, 4, 5, 6):
                if n not in measured:
                    measured[n] = measure_mattes(clip[n].frame(codec), params=MaskParams())
            again = combine_mattes(
                clip[4].frame(codec),
                neighbours=[(clip[n].face, measured[n]) for n in (2, 3, 4, 5, 6)],
                params=MaskParams(),
            )
            assert np.array_equal(first.pixels, again.pixels)
            assert first.metadata == again.metadata

    def test_grain_that_the_plate_repeats_is_told_from_grain_that_changes(self, collins: Still, codec: Codec) -> None:
        def measure(seeds: list[int]) -> tuple[float, ...]:
            clip = {}
            for frame, seed in enumerate(seeds, 1):
                noise = 0.1 * np.random.default_rng(seed).standard_normal((*collins.plate.pixels.shape[:2], 1))
                pixels = np.float32(collins.plate.pixels * np.exp(noise))
                clip[frame] = Still(plate_at(pixels), replace(collins.face, frame=frame))
            return read_texture(self.combined(clip, 2, [1, 2, 3], codec))

        held, fresh = measure([5, 5, 5]), measure([5, 6, 7])
        assert held[3] == pytest.approx(fresh[3], rel=0.1) and held[3] > 0.005  # in one frame they look alike
        assert held[TEXTURE_LENGTH:] == (0.0, 0.0)
        assert fresh[TEXTURE_LENGTH:] == pytest.approx(fresh[3:5], rel=0.35)

    def test_the_grain_of_a_pair_is_measured_once(
        self, collins: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mattes = measure_mattes(collins.frame(codec), params=RAW)
        measured = [(replace(collins.face, frame=n), replace(mattes)) for n in (1, 2, 3)]
        calls: list[int] = []

        def measure(now: np.ndarray, *_: np.ndarray) -> tuple[float, ...]:
            calls.append(now.size)
            return (0.01, 0.02)

        monkeypatch.setattr(masking, "measure_changing_grain", measure)
        first = masking.measure_changing_grains(measured[:2], 1.0)
        assert first == [(0.01, 0.02)] and len(calls) == 1
        assert masking.measure_changing_grains(measured, 1.0) == first * 2 and len(calls) == 2

    def test_texture_is_averaged_and_survives_as_text(self, collins: Still, codec: Codec) -> None:
        clip = self.clip(collins)
        alone = [read_texture(self.combined(clip, 4, [n], codec)) for n in (3, 5)]
        both = read_texture(self.combined(clip, 4, [3, 5], codec))
        assert both[:TEXTURE_LENGTH] == pytest.approx(np.mean(alone, axis=0))
        assert read_texture(replace(clip[4].plate, metadata={META_TEXTURE: format_texture(both)})) == both
        assert read_texture(clip[4].plate) == ()


class TestEdges:
    def test_a_face_at_the_frames_edge(self, collins: Still, codec: Codec) -> None:
        """The matte goes on to the very edge, without a feather along it, and not beyond."""
        middle = int(collins.face.landmarks[30, 0])
        cut = Still(plate_at(collins.plate.pixels[:, :middle]), collins.face)
        matte = face_matte(cut, codec, MaskParams())
        whole = face_matte(collins, codec, MaskParams())
        edge = middle - cut.region.x
        assert not matte[:, edge:].any()
        assert np.abs(matte - whole)[:, :edge].mean() < 0.02
        nose = at(cut, between(cut, 30))[0]
        assert matte[nose - 20 : nose + 20, edge - 1].min() > 0.95

    def test_a_face_outside(self, collins: Still, codec: Codec) -> None:
        away = Still(collins.plate, face_at(collins.face.landmarks + np.array([2000, 0])))
        mattes = away.mattes(codec)
        assert not mattes.get_matte("matte.face").any()
        assert np.isfinite(mattes.pixels).all()

    def test_a_face_larger_than_the_frame(self, collins: Still, codec: Codec) -> None:
        x, y = np.round(collins.face.landmarks[33]).astype(int)
        part = collins.plate.pixels[y - 25 : y + 25, x - 22 : x + 22]
        close = Still(plate_at(part, x - 22, y - 25), collins.face)
        matte = face_matte(close, codec, MaskParams())
        inside = mark_plate_area(close.plate, close.region) > 0
        assert matte[inside].mean() > 0.95
        assert not matte[~inside].any()

    def test_one_pixel(self, codec: Codec, collins: Still) -> None:
        tiny = Still(plate_at(np.full((1, 1, 3), 0.3), 95, 120), collins.face)
        matte = face_matte(tiny, codec)
        assert np.isfinite(matte).all()
        assert np.count_nonzero(matte) <= 1

    def test_no_numbers(self, collins: Still, codec: Codec) -> None:
        pixels = collins.plate.pixels.copy()
        x, y = np.round(collins.face.landmarks[33]).astype(int)
        pixels[y, x], pixels[y + 3, x + 3], pixels[10, 10] = np.nan, np.inf, -np.inf
        matte = face_matte(collins.painted(pixels), codec)
        assert np.isfinite(matte).all()
        assert np.abs(matte - face_matte(collins, codec)).mean() < 0.005

    @pytest.mark.parametrize("fill", [0.0, 0.18, 1.0, 64.0, np.nan])
    def test_a_plate_of_one_colour(self, collins: Still, codec: Codec, fill: float) -> None:
        flat = collins.painted(np.full_like(collins.plate.pixels, fill))
        matte = face_matte(flat, codec)
        assert np.isfinite(matte).all()
        assert matte[at(flat, between(flat, 30))] > 0.95


class TestDeterminism:
    def test_threads_and_repeats(self, collins: Still, codec: Codec) -> None:
        first = collins.mattes(codec)
        threads = cv2.getNumThreads()
        try:
            for count in (1, 2):
                cv2.setNumThreads(count)
                assert np.array_equal(first.pixels, collins.mattes(codec).pixels)
        finally:
            cv2.setNumThreads(threads)
        with ThreadPoolExecutor(3) as pool:
            for again in pool.map(lambda _: collins.mattes(codec), range(3)):
                assert np.array_equal(first.pixels, again.pixels)
                assert first.metadata == again.metadata


class TestGlassesStems:
    def test_hinges_belong_to_the_matte(self, hopper: Still, codec: Codec) -> None:
        """A narrow thing at the edge of the face is replaced as a whole, not feathered away."""
        params = MaskParams(keep_glasses=False)
        measured = measure_mattes(hopper.frame(codec), params=params)
        stems = measured.get_matte(MATTE_STEMS)
        mask = combine_mattes(hopper.frame(codec), neighbours=[(hopper.face, measured)], params=params)
        assert (stems > 0.9).sum() > 20
        assert mask.get_matte(MATTE_FACE)[stems > 0.9].min() > 0.85

    def test_face_shows_through_lenses_up_to_the_frame(self, hopper: Still, codec: Codec) -> None:
        """A frame is narrower than the feather, which would keep the target's skin around it, half a lens wide."""
        kept = hopper.mattes(codec, MaskParams(keep_glasses=True))
        matte, frame = kept.get_matte(MATTE_FACE), kept.get_matte(MATTE_OCCLUSION) > 0.9
        eyes = [hopper.face.landmarks[eye] for eye in (EYE_R, EYE_L)]
        lenses = np.maximum(*(draw_convex_hull(enlarge_polygon(eye, 1.8), kept.data_window) for eye in eyes)) > 0.5
        assert (frame & ~lenses).sum() > 100 and matte[frame].max() < 0.15
        assert (matte[lenses] > 0.9).mean() > 0.9

    def test_glasses_that_stay_keep_their_wings(self, hopper: Still, codec: Codec) -> None:
        """Hopper's frame is broad at the temples, where it is no line."""
        occlusion = hopper.mattes(codec, MaskParams(keep_glasses=True)).get_matte(MATTE_OCCLUSION)
        y, x = at(hopper, between(hopper, 26))
        assert occlusion[y - 2 : y + 3, x : x + 5].mean() > 0.85

    def test_glasses_that_stay_have_none(self, hopper: Still, codec: Codec) -> None:
        measured = measure_mattes(hopper.frame(codec), params=MaskParams())
        assert MATTE_STEMS not in measured.channels
