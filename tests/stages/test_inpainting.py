"""Filling what the matte wants and the views do not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fsgan_core.contract.landmarks import BROWS
from fsgan_core.contract.layers import MATTES, RGB
from fsgan_core.contract.params import BlendParams, InpaintParams, MaskParams
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages import inpainting
from fsgan_core.stages.blending import blend
from fsgan_core.stages.features.openings import OpeningPicture
from fsgan_core.stages.image_ops import to_perceptual, to_scene_linear, unpremultiply
from fsgan_core.stages.inpainting import inpaint, measure_target_skin
from fsgan_core.stages.interface import AtlasPicture, FaceFrame, FurtherViews
from tests.stages.conftest import Still

SIDE = 96
WINDOW = Window(10, 20, SIDE, SIDE)
PARAMS = InpaintParams()
WHOLE = MaskParams(refine=0.0, occlusions=0.0, feather=0.0)
X, Y = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))
SKIN = to_scene_linear(np.dstack([0.6 + 0.001 * X, 0.5 - 0.001 * Y, 0.4 + 0 * X]), 0.0)
ELLIPSE = (((X - 48) / 34) ** 2 + ((Y - 48) / 42) ** 2 < 1).astype(np.float32)


def reenacted(rgb: np.ndarray, alpha: np.ndarray) -> Plate:
    pixels = np.dstack([rgb * alpha[..., None], alpha]).astype(np.float32)
    return Plate(pixels, ("R", "G", "B", "A"), WINDOW, Window(0, 0, 200, 200))


def wanted(matte: np.ndarray) -> Plate:
    """Mattes of a face under hair, so that nothing of the plate's own skin is seen."""
    return Plate(np.dstack([matte, 1 + 0 * matte, 0 * matte, 0 * matte]).astype(np.float32), MATTES, WINDOW, WINDOW)


def nothing() -> Iterator[Plate]:
    raise AssertionError("no further view is needed")
    yield


def make_close_face(window: Window) -> Face:
    """A face so close that all of the window is an eye, and no forehead is in it."""
    middle = np.array([window.x + window.width / 2, window.y + window.height / 2])
    reach = 4.0 * max(window.width, window.height)
    landmarks = np.tile(middle, (68, 1))
    landmarks[[0, 16], 0] += (-reach, reach)
    landmarks[36:42] += reach * np.array([(-1, -1), (0, -1), (1, -1), (1, 1), (0, 1), (-1, 1)])
    landmarks[17:27, 1] -= 2 * reach
    return Face(1, (*(middle - reach), 2 * reach, 2 * reach), landmarks, (0.0, 0.0, 0.0), 1.0)


def fill_window(
    reenacted: Plate,
    mattes: Plate,
    further_views: FurtherViews,
    codec: Codec,
    params: InpaintParams,
    holdout: np.ndarray | None = None,
) -> Plate:
    """Fills a picture of an eye."""
    window = reenacted.data_window
    frame = FaceFrame(replace(reenacted, pixels=SKIN, channels=RGB), make_close_face(window), window, codec, holdout)
    return inpaint(frame, reenacted=reenacted, mattes=mattes, further_views=further_views, params=params)


LEFT = (X < 40).astype(np.float32)


class TestFill:
    def test_layers(self, codec: Codec) -> None:
        result = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS)
        assert result.channels == ("R", "G", "B", "A", "matte.completed", "matte.kept")
        assert result.data_window == WINDOW
        assert result.display_window == Window(0, 0, 200, 200)
        assert np.isfinite(result.pixels).all()

    def test_nothing_missing_nothing_made_up(self, codec: Codec) -> None:
        result = fill_window(reenacted(SKIN, np.ones_like(X)), wanted(ELLIPSE), nothing, codec, PARAMS)
        assert not result.get_matte("matte.completed").any()
        assert np.allclose(result.get("R", "G", "B"), SKIN, rtol=1e-5)

    def test_what_is_missing_is_filled_smoothly(self, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
        """On smooth skin the extension is skin: no seam, no black."""
        monkeypatch.setattr(inpainting, "SEAM_SIGMA", 1e-6)  # all of the window is near the seam of so close a face
        result = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS)
        rgb, alpha = unpremultiply(result)
        inside = ELLIPSE > 0
        assert (alpha[inside] == 1).all()
        there, original = to_perceptual(rgb, 0.0), to_perceptual(SKIN, 0.0)
        assert np.abs(there - original)[inside].max() < 0.06
        assert np.abs(np.diff(there, axis=1))[:, 35:45][inside[:, 36:46]].max() < 0.03
        assert np.allclose(rgb[inside & (LEFT == 0)], SKIN[inside & (LEFT == 0)], rtol=1e-4)

    def test_completed_says_where(self, codec: Codec) -> None:
        completed = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS).get_matte(
            "matte.completed"
        )
        assert np.array_equal(completed > 0, (ELLIPSE > 0) & (LEFT > 0))
        assert set(np.unique(completed)) == {0.0, 1.0}

    def test_a_soft_edge_is_completed_in_part(self, codec: Codec) -> None:
        alpha = np.clip((X - 30) / 20, 0, 1)
        result = fill_window(reenacted(SKIN, alpha), wanted(ELLIPSE), list, codec, PARAMS)
        assert np.allclose(
            result.get_matte("matte.completed")[48, 20:], (1 - alpha)[48, 20:] * ELLIPSE[48, 20:], atol=1e-6
        )
        assert (result.get_matte("A")[ELLIPSE > 0] == 1).all()

    def test_a_margin_around_the_matte_is_there_too(self, codec: Codec) -> None:
        """So that blending has something under the matte's edge."""
        result = fill_window(reenacted(SKIN * (1 - LEFT[..., None]), 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS)
        near = cv2.dilate(ELLIPSE, np.ones((7, 7), np.uint8)) > 0
        assert (result.get_matte("A")[near] == 1).all()
        assert result.get("R", "G", "B")[near].min() > 0.05

    def test_nothing_shown_stays_nothing(self, codec: Codec) -> None:
        """There is nothing to go by: the face stays empty, so that blending leaves the plate as it is."""
        result = fill_window(reenacted(SKIN, 0 * X), wanted(ELLIPSE), list, codec, PARAMS)
        assert not result.get_matte("A").any()
        assert not result.pixels.any()

    def test_nothing_shown_and_nothing_wanted(self, codec: Codec) -> None:
        """A face that is held out as a whole, or beyond the plate."""
        result = fill_window(reenacted(SKIN, 0 * X), wanted(0 * X), nothing, codec, PARAMS)
        assert not result.pixels[..., :4].any()

    def test_an_empty_matte_changes_nothing(self, codec: Codec) -> None:
        given = reenacted(SKIN, 1 - LEFT)
        result = fill_window(given, wanted(0 * X), nothing, codec, PARAMS)
        assert np.allclose(result.get("R", "G", "B", "A"), given.pixels, atol=1e-6)
        assert not result.get_matte("matte.completed").any()

    def test_highlights_and_negatives_survive(self, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inpainting, "SEAM_SIGMA", 1e-6)
        rgb = SKIN.copy()
        rgb[50, 60], rgb[52, 60] = 64.0, -0.1
        result, _ = unpremultiply(fill_window(reenacted(rgb, 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS))
        assert result[50, 60] == pytest.approx(64.0, rel=1e-3)
        assert result[52, 60] == pytest.approx(-0.1, rel=1e-3)


class TestOtherViews:
    other = SKIN * 0.5  # in another light

    def test_give_what_they_have_in_the_pictures_light(self, codec: Codec) -> None:
        detail = self.other.copy()
        detail[46:50, 24:28] *= 0.3
        result = fill_window(
            reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), lambda: [reenacted(detail, np.ones_like(X))], codec, PARAMS
        )
        rgb, _ = unpremultiply(result)
        inside = (ELLIPSE > 0) & (LEFT > 0) & (np.hypot(X - 26, Y - 48) > 6)
        assert np.abs(to_perceptual(rgb, 0.0) - to_perceptual(SKIN, 0.0))[inside].mean() < 0.03
        assert to_perceptual(rgb, 0.0)[48, 26].mean() < 0.75 * to_perceptual(SKIN, 0.0)[48, 26].mean()
        assert result.get_matte("matte.completed")[48, 26] == 1

    def test_are_asked_for_one_by_one(self, codec: Codec) -> None:
        asked = []

        def views() -> Iterator[Plate]:
            for number in range(3):
                asked.append(number)
                yield reenacted(self.other, np.ones_like(X))

        fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), views, codec, PARAMS)
        assert asked == [0]

    def test_may_be_left_out(self, codec: Codec) -> None:
        result = fill_window(
            reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), nothing, codec, PARAMS.replace(other_views=False)
        )
        assert (result.get_matte("A")[ELLIPSE > 0] == 1).all()

    def test_a_view_that_shows_nothing_in_common_is_left_out(self, codec: Codec) -> None:
        strange = reenacted(np.full_like(SKIN, 5.0), LEFT)
        alone = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS)
        result = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), lambda: [strange], codec, PARAMS)
        assert np.array_equal(result.pixels, alone.pixels)

    def test_views_beyond_each_other(self, codec: Codec) -> None:
        """What the first further view lacks comes from the next."""
        half = reenacted(SKIN, (Y < 50).astype(np.float32))
        whole = reenacted(self.other, np.ones_like(X))
        asked = []

        def views() -> Iterator[Plate]:
            for view in (half, whole):
                asked.append(view)
                yield view

        fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), views, codec, PARAMS)
        assert len(asked) == 2


class TestHoldout:
    def test_held_out_is_not_filled(self, codec: Codec) -> None:
        holdout = np.zeros_like(X)
        holdout[:, :50] = 1
        result = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), nothing, codec, PARAMS, holdout)
        assert not result.get_matte("matte.completed").any()

    def test_odd_values(self, codec: Codec) -> None:
        holdout = np.full_like(X, np.nan)
        holdout[:48] = 3.0
        result = fill_window(reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), list, codec, PARAMS, holdout)
        completed = result.get_matte("matte.completed")
        assert not completed[:48].any()
        assert completed[60, 30] == 1


def test_the_same_call_is_bit_equal(codec: Codec) -> None:
    def once() -> np.ndarray:
        return fill_window(
            reenacted(SKIN, 1 - LEFT), wanted(ELLIPSE), lambda: [reenacted(SKIN * 0.5, (Y < 60) * 1.0)], codec, PARAMS
        ).pixels

    first = once()
    threads = cv2.getNumThreads()
    try:
        for count in (1, 2):
            cv2.setNumThreads(count)
            assert np.array_equal(first, once())
    finally:
        cv2.setNumThreads(threads)


def test_views_and_atlas_are_looked_at_around_the_face_alone(
    hopper: Still, collins: Still, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = hopper.reenacted(collins, codec)
    x = np.arange(shown.data_window.x, shown.data_window.right)
    half = replace(shown, pixels=shown.pixels * (x < hopper.face.landmarks[30, 0])[:, None])
    mattes, projected = hopper.mattes(codec, WHOLE), []

    def project_atlas(picture: Plate) -> AtlasPicture:
        window = picture.data_window
        projected.append(window)
        plane = np.ones((window.height, window.width), np.float32)
        skin = np.asarray(shown.crop(window).get(*RGB), np.float32)
        return AtlasPicture(skin, plane, 0 * plane, plane, np.dstack([0 * plane, 0 * plane, -plane]))

    def complete() -> Plate:
        return inpaint(
            hopper.frame(codec),
            reenacted=half,
            mattes=mattes,
            further_views=lambda: [half],
            params=PARAMS,
            atlas=project_atlas,
        )

    completed = complete()
    monkeypatch.setattr(inpainting, "find_part", lambda matte, region: region)
    everywhere = complete()
    part, region = projected
    assert part.width * part.height < 0.9 * region.width * region.height and part.intersect(region) == part
    difference = np.abs(completed.pixels - everywhere.pixels).max(-1)
    assert difference.mean() < 1e-3 and difference.max() < 0.03  # half of the face is missing
    assert not difference[completed.get_matte("A") == 0].any()


class TestForehead:
    """A fringe over the source's forehead, and a hand on a cheek: both hidden from above, and from one side."""

    def hidden(self, target: Still, source: Still, codec: Codec) -> tuple[Plate, np.ndarray, np.ndarray]:
        """The reenacted face, where its fringe is, and where the hand."""
        shown, points = target.reenacted(source, codec), target.face.landmarks
        region, width = shown.data_window, target.width
        x, y = np.meshgrid(np.arange(region.x, region.right), np.arange(region.y, region.bottom))
        fringe = y < points[BROWS, 1].min() - 0.12 * width
        hand = (x < points[36, 0]) & (y > points[36, 1] + 0.1 * width)
        return replace(shown, pixels=shown.pixels * ~(fringe | hand)[..., None]), fringe, hand

    @pytest.mark.parametrize("squeezed", [False, True])
    def test_what_no_view_shows_stays_the_plates(
        self, hopper: Still, collins: Still, codec: Codec, squeezed: bool
    ) -> None:
        target = collins.squeezed() if squeezed else collins
        shown, fringe, hand = self.hidden(target, hopper, codec)
        mattes = target.mattes(codec, WHOLE)
        face = mattes.get_matte("matte.face") > 0.5
        completed = inpaint(target.frame(codec), reenacted=shown, mattes=mattes, further_views=list, params=PARAMS)
        alpha = completed.get_matte("A")
        assert (fringe & face).sum() > 50 < (hand & face).sum()
        assert np.median(alpha[fringe & face]) < 0.01 and alpha[hand & face].min() < 1, "the cheek is clear skin"
        assert np.abs(np.diff(alpha * face, axis=0))[face[1:] & face[:-1]].max() < 0.5  # no hard line
        assert not completed.get_matte("matte.completed")[fringe & face & (alpha == 0)].any()
        result = blend(target.frame(codec), completed=completed, mattes=mattes, params=BlendParams()).plate.crop(
            target.region
        )
        kept = fringe & (alpha == 0)
        assert np.array_equal(result.pixels[kept], target.plate.crop(target.region).pixels[kept])

    def test_a_thin_rim_of_glasses_is_no_clear_skin(self, collins: Still, codec: Codec) -> None:
        frame, mattes = collins.frame(codec), collins.mattes(codec, WHOLE)
        bare = measure_target_skin(frame, mattes).clear
        row, column = np.unravel_index(bare.argmax(), bare.shape)
        plate = frame.plate.pixels.copy()
        y = row + frame.region.y - frame.plate.data_window.y
        x = column + frame.region.x - frame.plate.data_window.x
        plate[y - 5 : y + 6, x] *= 0.3
        rimmed = replace(frame, plate=replace(frame.plate, pixels=plate))
        clear = measure_target_skin(rimmed, mattes).clear
        assert bare[row, column] > 0.6 and clear[row, column] < 0.05
        assert np.abs(clear - bare)[row - 20 : row + 21, [column - 12, column + 12]].max() < 0.05

    @pytest.mark.parametrize(("softness", "most"), [(0.3, 0.07), (2.0, 0.12)])
    def test_glasses_do_not_darken_what_is_continued(
        self, collins: Still, codec: Codec, softness: float, most: float
    ) -> None:
        """A black tip of glasses at the temple is no shading of the skin, painted out or not."""
        frame, mattes = collins.frame(codec), collins.mattes(codec, WHOLE)
        bare = measure_target_skin(frame, mattes)
        x, y = (round(float(v)) for v in collins.face.landmarks[[1, 36]].mean(0))  # beside an eye
        tip = np.s_[y - 7 : y + 8, x - 9 : x + 10]
        plate, dark = frame.plate.pixels.copy(), np.zeros(frame.plate.pixels.shape[:2], np.float32)
        dark[tip] = 0.98
        plate *= 1 - cv2.GaussianBlur(dark, (0, 0), softness)[..., None]
        tipped = replace(frame, plate=replace(frame.plate, pixels=plate))
        tip = np.s_[y - 7 - frame.region.y : y + 8 - frame.region.y, x - 9 - frame.region.x : x + 10 - frame.region.x]
        seen, behind = measure_target_skin(tipped, mattes), OpeningPicture(frame.perceptual, np.zeros_like(bare.clear))
        assert np.abs(seen.picture - bare.picture)[tip].max() < most
        removed = measure_target_skin(tipped, mattes, behind)
        assert np.array_equal(removed.picture, bare.picture)
        assert removed.clear[tip].max() < 0.01  # the tip itself is still in the plate

    def test_may_be_made_up(self, hopper: Still, collins: Still, codec: Codec) -> None:
        shown, fringe, _ = self.hidden(collins, hopper, codec)
        mattes = collins.mattes(codec, WHOLE)
        completed = inpaint(
            collins.frame(codec),
            reenacted=shown,
            mattes=mattes,
            further_views=list,
            params=PARAMS.replace(plate_forehead=False),
        )
        assert completed.get_matte("A")[fringe & (mattes.get_matte("matte.face") > 0.5)].min() == 1

    def test_one_that_is_seen_is_the_sources(self, hopper: Still, collins: Still, codec: Codec) -> None:
        shown, mattes = collins.reenacted(hopper, codec), collins.mattes(codec)
        shown = replace(shown, pixels=np.where(np.array(shown.channels) == "A", 1, shown.pixels).astype(np.float32))
        alpha = inpaint(
            collins.frame(codec), reenacted=shown, mattes=mattes, further_views=list, params=PARAMS
        ).get_matte("A")
        assert alpha[mattes.get_matte("matte.face") > 0].min() == 1
