"""Reenactment by warping: true to the picture, to the pixel's shape, to what the plan asks for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from fsgan_core.contract.layers import MATTE_KEPT
from fsgan_core.contract.params import MaskParams, ReenactParams
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages import interface, reenactment
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.features import eyes, mouth
from fsgan_core.stages.image_ops import unpremultiply
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.leading_view import FramePlan, WeightedView
from fsgan_core.stages.masking import measure_mattes
from fsgan_core.stages.proportions import compute_likeness, fit_rest_mesh
from fsgan_core.stages.reenactment import (
    prepare_view,
    reenact,
)
from fsgan_core.stages.warp_points import measure_face_width
from tests.stages.conftest import ONE, Still, face_at, plate_at

EXACT = ReenactParams(stiffness=0.0)


def shown(plate: Plate, codec: Codec) -> tuple[np.ndarray, np.ndarray]:
    """Display-like straight colour, and where it is wholly shown."""
    rgb, alpha = unpremultiply(plate)
    return codec.encode(rgb), alpha > 0.99


def display(still: Still, codec: Codec) -> np.ndarray:
    return codec.encode(still.plate.crop(still.region).get("R", "G", "B"))


def edges(picture: np.ndarray, where: np.ndarray) -> float:
    inner = cv2.erode(where.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return float(cv2.Laplacian(picture.mean(-1), cv2.CV_32F)[inner].var())


class TestPicture:
    def test_a_face_warped_to_itself_is_itself(self, collins: Still, codec: Codec) -> None:
        result = collins.reenacted(collins, codec)
        picture, inside = shown(result, codec)
        own = display(collins, codec)
        assert inside.mean() > 0.08
        assert np.abs(picture - own)[inside].max() < 2e-3
        assert edges(picture, inside) == pytest.approx(edges(own, inside), rel=1e-3)

    def test_layers(self, collins: Still, hopper: Still, codec: Codec) -> None:
        result = collins.reenacted(hopper, codec)
        assert result.channels == ("R", "G", "B", "A", "st.u", "st.v", "confidence.Z", "matte.kept")
        assert result.data_window == collins.region
        assert result.display_window == collins.plate.display_window
        assert np.isfinite(result.pixels).all()
        alpha, confidence = result.get_matte("A"), result.get_matte("confidence.Z")
        assert alpha.min() >= 0 and alpha.max() == 1
        assert confidence.min() >= 0 and confidence.max() <= 1
        assert not result.get("R", "G", "B")[alpha == 0].any()
        assert not confidence[alpha == 0].any()

    def test_landmarks_land_on_landmarks(self, collins: Still, codec: Codec) -> None:
        """Dots painted on a source's landmarks are found on the target's; beside lids they are covered as whites."""
        face = face_at(collins.face.landmarks * (1.3, 1.2) - (40, 20))
        target = Still(plate_at(np.full((240, 240, 3), 0.2)), face)
        points = [30, 31, 35, 48, 54, 57]
        dots = np.full_like(collins.plate.pixels, 0.2)
        y, x = np.mgrid[0 : dots.shape[0], 0 : dots.shape[1]]
        for number in points:
            px, py = collins.face.landmarks[number]
            dots += 0.6 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)[..., None]
        view = replace(
            collins.view(codec),
            display=codec.encode(collins.painted(dots).plate.crop(collins.view(codec).window).get("R", "G", "B")),
        )
        result = reenact(
            FaceFrame(target.plate, face, target.region, codec), plan=ONE, views={ViewRef(0, 1): view}, params=EXACT
        )
        bright = codec.encode(unpremultiply(result)[0])[..., 0]
        for number in points:
            at = np.round(face.landmarks[number]).astype(int) - (target.region.x, target.region.y)
            part = bright[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5].astype(np.float64)
            part = np.maximum(part - part.max() * 0.75, 0)
            yy, xx = np.mgrid[-4:5, -4:5]
            found = np.array([(part * xx).sum(), (part * yy).sum()]) / part.sum()
            wanted = face.landmarks[number] - (target.region.x, target.region.y) - at
            assert np.abs(found - wanted).max() < 0.35

    @pytest.mark.parametrize("angle", [45.0, -30.0])
    def test_roll_is_taken_out(self, collins: Still, codec: Codec, angle: float) -> None:
        """A source turned in its plane gives the face upright."""
        height, width = collins.plate.pixels.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2 - 20), angle, 1.0)
        turned = cv2.warpAffine(
            collins.plate.pixels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        source = Still(plate_at(turned), face_at(collins.face.landmarks @ turn[:, :2].T + turn[:, 2]))
        assert abs(source.face.euler[2] - collins.face.euler[2] + angle) < 1
        picture, inside = shown(collins.reenacted(source, codec), codec)
        error = np.abs(cv2.GaussianBlur(picture - display(collins, codec), (0, 0), 1.0))
        assert inside.mean() > 0.08
        assert error[inside].mean() < 0.01
        assert np.percentile(error[inside], 99) < 0.06

    def test_a_large_source_is_shrunk_without_aliasing(self, collins: Still, codec: Codec) -> None:
        """A fine chequer on a source three times as large is grey on the target."""
        large = cv2.resize(collins.plate.pixels, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
        y, x = np.mgrid[0 : large.shape[0], 0 : large.shape[1]]
        chequer = np.repeat(((x // 1 + y // 1) % 2 * 0.4 + 0.1)[..., None], 3, -1).astype(np.float32)
        source = Still(plate_at(chequer), face_at((collins.face.landmarks + 0.5) * 3 - 0.5))
        view = replace(source.view(codec), matte=Still(plate_at(large), source.face).view(codec).matte)
        result = reenact(collins.frame(codec), plan=ONE, views={ViewRef(0, 1): view}, params=EXACT)
        picture, inside = shown(result, codec)
        inside &= result.get_matte("matte.kept") == 0
        assert inside.mean() > 0.08
        assert picture[inside].std() < 0.02

    def test_the_inner_mouth_is_the_targets_by_default(self, collins: Still, hopper: Still, codec: Codec) -> None:
        result, _ = shown(collins.reenacted(hopper, codec), codec)
        middle = collins.face.landmarks[[61, 62, 63, 65, 66, 67]].mean(0) - (collins.region.x, collins.region.y)
        x, y = np.round(middle).astype(int)
        target = display(collins, codec)
        assert np.abs(result[y, x] - target[y, x]).max() < 0.06
        theirs, _ = shown(collins.reenacted(hopper, codec, ReenactParams(inner_mouth="source")), codec)
        assert np.abs(theirs[y, x] - target[y, x]).max() > 0.06

    def test_values_beyond_white_and_below_black_survive(self, collins: Still, codec: Codec) -> None:
        pixels = collins.plate.pixels.copy()
        x, y = np.round(collins.face.landmarks[30]).astype(int)
        pixels[y - 6 : y - 2, x - 2 : x + 3] = 40.0
        pixels[y + 2 : y + 5, x - 2 : x + 3] = -0.05
        source = collins.painted(pixels)
        view = replace(
            collins.view(codec), display=codec.encode(source.plate.crop(collins.view(codec).window).get("R", "G", "B"))
        )
        result = reenact(collins.frame(codec), plan=ONE, views={ViewRef(0, 1): view}, params=EXACT)
        rgb, _ = unpremultiply(result)
        at = (y - collins.region.y, x - collins.region.x)
        assert rgb[at[0] - 4, at[1]] == pytest.approx(40.0, rel=0.1)
        assert rgb[at[0] + 3, at[1]] == pytest.approx(-0.05, abs=0.01)

    def test_nan_in_the_source_spreads_nowhere(self, collins: Still, hopper: Still, codec: Codec) -> None:
        pixels = hopper.plate.pixels.copy()
        x, y = np.round(hopper.face.landmarks[30]).astype(int)
        pixels[y, x], pixels[y - 10, x - 10] = np.nan, np.inf
        result = collins.reenacted(hopper.painted(pixels), codec)
        assert np.isfinite(result.pixels).all()
        clean = collins.reenacted(hopper, codec)
        changed = np.abs(result.pixels - clean.pixels)[..., :3].max(-1)
        assert (changed > 0.02).mean() < 0.01
        assert changed.max() < 0.3  # filled from around, not black


class TestPixelAspect:
    def test_a_squeezed_target(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """The same face on a plate squeezed by two, once it is stretched again."""
        plain = collins.reenacted(hopper, codec)
        narrow = collins.squeezed()
        wide = narrow.reenacted(hopper, codec)
        assert wide.pixel_aspect == 2.0
        assert_same_face(plain, collins, wide, narrow, codec)

    def test_a_squeezed_source(self, collins: Still, hopper: Still, codec: Codec) -> None:
        assert_same_face(
            collins.reenacted(hopper, codec), collins, collins.reenacted(hopper.squeezed(), codec), collins, codec, 0.03
        )


def assert_same_face(
    one: Plate, first: Still, other: Plate, second: Still, codec: Codec, tolerance: float = 0.02
) -> None:
    """Two reenactments show the same, compared in the first one's pixels."""
    aspect = second.plate.pixel_aspect
    y, x = np.mgrid[first.region.y : first.region.bottom, first.region.x : first.region.right].astype(np.float32)
    column = (x + 0.5) / aspect - 0.5 - second.region.x
    picture, inside = shown(one, codec)
    there, _ = shown(other, codec)
    alpha = cv2.remap(other.get_matte("A"), column, y - second.region.y, cv2.INTER_LINEAR)
    there = cv2.remap(there, column, y - second.region.y, cv2.INTER_CUBIC)
    both = inside & (alpha > 0.99)
    assert both.sum() > 0.9 * inside.sum()
    assert np.abs(cv2.blur(picture - there, (3, 3)))[both].mean() < tolerance


class TestSTMap:
    @pytest.mark.parametrize("origin", [(0, 0), (-14, 9)])
    def test_recreates_the_leading_view(
        self, collins: Still, hopper: Still, codec: Codec, origin: tuple[int, int]
    ) -> None:
        """As Nuke does it: 0..1 over the source's format, origin at the lower left, pixel centres at half pixels."""
        x0, y0 = origin
        moved = plate_at(hopper.plate.pixels, x0, y0)
        display_window = Window(-20, 0, 260, 250)
        moved = replace(moved, display_window=display_window)
        face = face_at(hopper.face.landmarks + origin)
        view = prepare_view(moved, face, codec, MaskParams())
        result = reenact(collins.frame(codec), plan=ONE, views={ViewRef(0, 1): view}, params=EXACT)
        canvas = codec.encode(moved.crop(display_window).get("R", "G", "B"))
        u, v = result.get_matte("st.u"), result.get_matte("st.v")
        column, row = u * display_window.width - 0.5, (1 - v) * display_window.height - 0.5
        again = cv2.remap(canvas, column, row, cv2.INTER_LANCZOS4)
        picture, inside = shown(result, codec)
        assert inside.mean() > 0.08
        assert np.abs(again - picture)[inside & (result.get_matte("matte.kept") == 0)].mean() < 0.01
        assert (u[inside] > 0).all() and (u[inside] < 1).all()
        assert np.corrcoef(v[inside], np.broadcast_to(np.arange(len(v))[:, None], v.shape)[inside])[0, 1] < -0.99


def lids_together(landmarks: np.ndarray) -> np.ndarray:
    """The landmarks of a face with its eyes shut."""
    shut = landmarks.copy()
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        shut[upper] = shut[lower] = 0.2 * landmarks[upper] + 0.8 * landmarks[lower]
    return shut


class TestViews:
    def plan(self, light: tuple[float, float], detail: tuple[float, float]) -> FramePlan:
        return FramePlan(tuple(WeightedView(ViewRef(0, n + 1), light[n], detail[n]) for n in (0, 1)))

    def reenacted(self, target: Still, sources: tuple[Still, Still], plan: FramePlan, codec: Codec) -> np.ndarray:
        views = {ViewRef(0, n + 1): source.view(codec) for n, source in enumerate(sources)}
        result = reenact(target.frame(codec), plan=plan, views=views, params=ReenactParams(inner_mouth="source"))
        return shown(result, codec)[0]

    def test_barycentric_is_the_weighted_sum(self, collins: Still, hopper: Still, codec: Codec) -> None:
        a = self.reenacted(collins, (hopper, collins), self.plan((1, 0), (1, 0)), codec)
        b = self.reenacted(collins, (hopper, collins), self.plan((0, 1), (0, 1)), codec)
        half = self.reenacted(collins, (hopper, collins), self.plan((0.25, 0.75), (0.25, 0.75)), codec)
        alpha = [source.view(codec).matte for source in (hopper, collins)]
        assert all(part.max() == 1 for part in alpha)
        middle = (slice(70, 100), slice(70, 100))
        assert np.abs(half - (0.25 * a + 0.75 * b))[middle].mean() < 0.01

    def test_detail_is_the_leading_views_and_light_of_all(self, collins: Still, codec: Codec) -> None:
        bright = collins.painted(collins.plate.pixels * 1.6)
        lead = self.reenacted(collins, (collins, bright), self.plan((1, 0), (1, 0)), codec)
        mixed = self.reenacted(collins, (collins, bright), self.plan((0.0, 1.0), (1, 0)), codec)
        below_eyes = (slice(88, 99), slice(60, 110))  # the dark at the corners of the mouth is a share of the light
        assert mixed[below_eyes].mean() > 1.07 * lead[below_eyes].mean()
        fine = [cv2.Laplacian(part, cv2.CV_32F)[below_eyes] for part in (lead, mixed)]
        assert np.abs(fine[0] - fine[1]).max() < 0.05 * np.abs(fine[0]).max()


class TestFurtherViews:
    def test_share_what_they_have_in_common(
        self, collins: Still, hopper: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The target's picture and openings are looked at once for a frame, and the picture stays the same."""
        views = {ViewRef(0, 1): hopper.view(codec), ViewRef(0, 2): collins.view(codec)}
        plans = [FramePlan((WeightedView(ref, 1.0, 1.0),)) for ref in views]
        work: list[str] = []
        for module, name in ((interface, "to_display"), (eyes, "sample_picture"), (mouth, "mark_other_than_lip")):
            own = getattr(module, name)

            def note(*arguments: object, own: object = own, name: str = name) -> object:
                work.append(name)
                return own(*arguments)

            monkeypatch.setattr(module, name, note)

        def render(frames: list[FaceFrame]) -> list[np.ndarray]:
            work.clear()
            return [
                reenact(frame, plan=plan, views=views, params=ReenactParams()).pixels
                for frame, plan in zip(frames, plans, strict=True)
            ]

        alone = render([collins.frame(codec), collins.frame(codec)])
        apart = len(work)
        frame = collins.frame(codec)
        together = render([frame, frame])
        assert 2 * len(work) == apart > 0
        assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


class TestWorkWindow:
    def test_holds_all_that_is_shown(
        self, collins: Still, hopper: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is made far from the face, and what is made is the same as on the whole region."""
        part = collins.reenacted(hopper, codec)
        window = reenactment.find_work_window(collins.face.get_mesh(), collins.region, 1.0)
        assert window.width * window.height < 0.7 * collins.region.width * collins.region.height
        monkeypatch.setattr(reenactment, "find_work_window", lambda goal, region, aspect: region)
        whole = collins.reenacted(hopper, codec)
        assert np.abs(whole.get_matte("A") - part.get_matte("A")).max() < 1e-3
        assert np.abs(codec.encode(whole.get("R", "G", "B")) - codec.encode(part.get("R", "G", "B"))).max() < 1e-3
        assert np.array_equal(whole.get("st.u", "st.v"), part.get("st.u", "st.v"))


class TestLikeness:
    def test_moves_the_goal(self, collins: Still, hopper: Still, codec: Codec) -> None:
        source, target = (fit_rest_mesh({1: still.face}) for still in (hopper, collins))
        change = compute_likeness([(source, 1)], target)
        views = {ViewRef(0, 1): hopper.view(codec)}

        def result(amount: float, given: np.ndarray | None) -> np.ndarray:
            params = ReenactParams(likeness=amount)
            return reenact(collins.frame(codec), plan=ONE, views=views, params=params, likeness=given).pixels

        none = result(0.0, change)
        assert np.array_equal(none, result(1.0, None))
        much, little = (np.abs(result(amount, change) - none)[..., :3].mean() for amount in (1.0, 0.2))
        assert much > little > 0


class TestEdges:
    @pytest.mark.parametrize("shift", [(-70, 0), (60, -90), (400, 0)])
    def test_a_region_partly_or_wholly_outside(
        self, collins: Still, hopper: Still, codec: Codec, shift: tuple[int, int]
    ) -> None:
        """A face at the frame's edge, or beyond it: the source's face is the same wherever it goes."""
        face = face_at(collins.face.landmarks + shift)
        target = Still(collins.plate, face)
        result = target.reenacted(hopper, codec)
        straight_here = collins.reenacted(hopper, codec)
        assert np.isfinite(result.pixels).all()
        assert result.data_window == target.region
        assert result.get_matte("A").sum() == pytest.approx(straight_here.get_matte("A").sum(), rel=0.02)

    def test_a_source_face_at_its_pictures_edge(self, collins: Still, hopper: Still, codec: Codec) -> None:
        """What the picture does not hold is not shown. The plate's eyeball is: skin would fill its socket."""
        middle = int(hopper.face.landmarks[30, 0])
        cut = Still(plate_at(hopper.plate.pixels[:, :middle]), hopper.face)
        result = collins.reenacted(cut, codec)
        alpha, kept = result.get_matte("A"), result.get_matte(MATTE_KEPT)
        nose = int(collins.face.landmarks[30, 0]) - collins.region.x
        assert (alpha - kept)[60:110, nose + 8 :].max() < 0.05
        assert kept[60:110, nose + 8 :].max() > 0.9
        assert alpha[60:110, nose - 20 : nose - 6].max() > 0.9

    def test_one_pixel(self, collins: Still, hopper: Still, codec: Codec) -> None:
        tiny = plate_at(np.full((1, 1, 3), 0.3))
        result = reenact(
            FaceFrame(tiny, collins.face, collins.region, codec),
            plan=ONE,
            views={ViewRef(0, 1): hopper.view(codec)},
            params=ReenactParams(),
        )
        assert np.isfinite(result.pixels).all()
        speck = prepare_view(tiny, collins.face, codec, MaskParams())
        assert not speck.matte.any()


class TestWhatAViewDoesNotShow:
    def test_more_doubt_less_skin_above_the_brows_alone(self, collins: Still, codec: Codec) -> None:
        """A view's skin that is missed is filled from others; the target's would stay the old face."""
        own, doubted = (
            measure_mattes(collins.frame(codec), params=MaskParams(), strictness=strictness)
            for strictness in (1.0, 6.0)
        )
        more = doubted.get_matte("matte.hair") - own.get_matte("matte.hair")
        assert more.max() > 0.3 and more.min() > -0.05
        lower = slice(round(collins.face.landmarks[29, 1]) - collins.region.y, None)
        assert np.abs(doubted.get_matte("matte.face") - own.get_matte("matte.face"))[lower].max() < 0.02

    @pytest.mark.parametrize("point", [19, 30], ids=["brow", "nose"])
    def test_strands_are_left_out(
        self, collins: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch, point: int
    ) -> None:
        """What is as likely hair as skin, and what is as near to hair as a compressed picture blurs it."""
        plain = prepare_view(collins.plate, collins.face, codec, MaskParams())
        x, y = np.rint(collins.face.landmarks[point] - (plain.window.x, plain.window.y)).astype(int)
        for amount, reach in ((0.3, 0), (1.0, 1)):
            monkeypatch.setattr(reenactment, "measure_mattes", add_hair(amount, x, y))
            view = prepare_view(collins.plate, collins.face, codec, MaskParams())
            assert plain.matte[y, x + reach] > 0.7 and view.matte[y, x + reach] == 0
            assert view.matte[y, x + 20] == plain.matte[y, x + 20]

    def test_hair_on_lids_is_left_out_with_its_edge(
        self, collins: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A compressed picture blurs it into them."""
        plain = prepare_view(collins.plate, collins.face, codec, MaskParams())
        x, y = np.rint(collins.face.landmarks[42] - (plain.window.x, plain.window.y)).astype(int)
        monkeypatch.setattr(reenactment, "measure_mattes", add_hair(1.0, x, y))
        view = prepare_view(collins.plate, collins.face, codec, MaskParams())
        assert plain.matte[y, x + 1] > 0.7 and view.matte[y, x + 1] == 0

    def test_strands_of_a_fringe_reach_further(
        self, collins: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On the forehead a view ends further from hair than on a cheek."""
        points = collins.face.landmarks
        width = measure_face_width(points, 1.0)
        window = prepare_view(collins.plate, collins.face, codec, MaskParams()).window
        for place, wanted in ((points[27] + 1.2 * (points[27] - points[30]), 0.0), (points[[2, 31]].mean(0), 1.0)):
            x, y = np.rint(place - (window.x, window.y)).astype(int)
            monkeypatch.setattr(reenactment, "measure_mattes", add_hair(1.0, x, y, bare=True))
            matte = prepare_view(collins.plate, collins.face, codec, MaskParams()).matte
            near, far = round(0.05 * width), round(0.09 * width)
            assert (matte[y, x + near], matte[y, x + far]) == (wanted, 1.0)


def add_hair(amount: float, x: int, y: int, bare: bool = False) -> Callable[..., Plate]:
    """`measure_mattes` that finds a pixel of hair; with `bare`, on a face that fills the picture, and no other hair."""

    def measure(*args: Any, **options: Any) -> Plate:
        mattes = measure_mattes(*args, **options)
        pixels = mattes.pixels.copy()
        if bare:
            pixels[...] = [float(name == "matte.face") for name in mattes.channels]
        pixels[y, x, mattes.channels.index("matte.hair")] = amount
        return replace(mattes, pixels=pixels)

    return measure


class TestDeterminism:
    def test_threads_and_repeats(self, collins: Still, hopper: Still, codec: Codec) -> None:
        first = collins.reenacted(hopper, codec).pixels
        threads = cv2.getNumThreads()
        try:
            cv2.setNumThreads(1)
            assert np.array_equal(first, collins.reenacted(hopper, codec).pixels)
            cv2.setNumThreads(2)
            assert np.array_equal(first, collins.reenacted(hopper, codec).pixels)
        finally:
            cv2.setNumThreads(threads)
        with ThreadPoolExecutor(3) as pool:
            for pixels in pool.map(lambda _: collins.reenacted(hopper, codec).pixels, range(3)):
                assert np.array_equal(first, pixels)
