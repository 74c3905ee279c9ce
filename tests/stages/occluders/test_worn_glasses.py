"""The source's glasses: skin goes on behind their frame, and nothing changes on a face without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import pytest

from fsgan_core.contract.layers import MATTE_FACE, MATTE_GLASSES
from fsgan_core.contract.params import MaskParams
from fsgan_core.plates.colour import Codec
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.masking import measure_mattes
from fsgan_core.stages.occluders import glasses_frame
from fsgan_core.stages.occluders.glasses_frame import draw_glasses
from fsgan_core.stages.occluders.removed_glasses import mark_frame, remove_glasses
from fsgan_core.stages.occluders.strips import Strip
from fsgan_core.stages.occluders.worn_glasses import (
    LOW_LENSES,
    USUAL_LENSES,
    FaceLook,
    LensShape,
    Pair,
    WornGlasses,
    look_for_glasses,
)
from fsgan_core.stages.reenactment import recognise_worn_glasses
from tests.stages.conftest import Still, face_at, plate_at

# Half the width and height of a lens, how far it lies below the eye: of the distance between the eyes' outer corners.
ROUND, LOW = (0.3, 0.27, 0.06), (0.26, 0.135, 0.01)
RIM_THICKNESS = 0.02  # of the face
DARK, BRIGHT = 0.01, 0.35  # scene-linear
FAINT = 0.2  # opacity of glasses that a frame by itself does not show surely


def put_on_glasses(
    still: Still,
    lens: tuple[float, float, float] = ROUND,
    has_bridge: bool = True,
    opacity: float = 1.0,
    rim: float = RIM_THICKNESS,
) -> tuple[Still, np.ndarray]:
    """The still with dark glasses, and the pixels that they cover."""
    points, aspect = still.face.landmarks, still.plate.pixel_aspect
    cover = np.zeros(still.plate.pixels.shape[:2], np.float32)
    gap = (points[45, 0] - points[36, 0]) * aspect
    thickness = max(1, round(rim * still.width))
    radius = round(lens[0] * gap / aspect), round(lens[1] * gap)
    drop = np.array([0, lens[2] * gap])
    centres = np.stack([points[eye].mean(0) + drop for eye in (slice(36, 42), slice(42, 48))])
    sides = np.array([-1, 1])
    for centre, side, temple in zip(centres, sides, points[[0, 16]], strict=True):
        middle = np.round(centre).astype(int).tolist()
        cv2.ellipse(cover, middle, radius, 0, 0, 360, 1.0, thickness, cv2.LINE_AA)
        hinge = [middle[0] + int(side) * radius[0], middle[1] - radius[1] // 3]
        cv2.line(cover, hinge, [round(temple[0]), hinge[1]], 1.0, thickness, cv2.LINE_AA)
    bridge = np.round(centres - np.column_stack([sides * radius[0], [0.05 * gap] * 2])).astype(int).tolist()
    if has_bridge:
        cv2.line(cover, *bridge, 1.0, thickness, cv2.LINE_AA)
    worn = still.plate.pixels + opacity * cover[..., None] * (DARK - still.plate.pixels)
    return still.painted(worn), cover


def prepare(still: Still, codec: Codec, keep_glasses: bool = False) -> SourceView:
    return still.view(codec, keep_glasses)


def measure_change(view: SourceView, plain: SourceView, cover: np.ndarray) -> float:
    """Mean difference from the face without glasses, where their frame was on skin."""
    window, filled = view.window, view.filled_window
    y, x = np.nonzero(cover > 0.9)
    y, x = y + filled.y - window.y, x + filled.x - window.x
    skin = plain.matte[y, x] > 0.9
    return float(np.abs(view.display[y, x] - plain.display[y, x]).mean(-1)[skin].mean())


@pytest.mark.parametrize("squeezed", [False, True])
def test_skin_goes_on_behind_the_frame(squeezed: bool, collins: Still, codec: Codec) -> None:
    still, (worn, cover) = collins, put_on_glasses(collins)
    if squeezed:
        still, worn, cover = still.squeezed(), worn.squeezed(), cover[:, ::2]
    plain = prepare(still, codec)
    assert measure_change(prepare(worn, codec, keep_glasses=True), plain, cover) > 0.3
    assert measure_change(prepare(worn, codec), plain, cover) < 0.07


@pytest.mark.parametrize("has_bridge", [True, False])
def test_pale_low_lenses_go_if_a_bridge_is_seen(has_bridge: bool, collins: Still, codec: Codec) -> None:
    """Near the lids: without a bridge such lines may be creases."""
    worn, cover = put_on_glasses(collins, LOW, has_bridge, opacity=0.3)
    plain, kept, gone = prepare(collins, codec), prepare(worn, codec, keep_glasses=True), prepare(worn, codec)
    if has_bridge:
        cover[: round(collins.face.landmarks[36:48, 1].max())] = 0  # the rims below the eyes
        assert measure_change(gone, plain, cover) < 0.5 * measure_change(kept, plain, cover)
    else:
        assert (gone.display == kept.display).all()


def draw_bars(still: Still) -> np.ndarray:
    """Where bars lie above the lenses, too thick for a line."""
    points, bars = still.face.landmarks, np.zeros(still.plate.pixels.shape[:2], np.float32)
    gap = points[45, 0] - points[36, 0]
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = points[eye].mean(0) - (0, 0.2 * gap)
        ends = np.round([(x - 0.2 * gap, y), (x + 0.2 * gap, y)]).astype(int).tolist()
        cv2.line(bars, *ends, 1.0, round(0.07 * still.width))
    return bars


def test_thick_dark_bars_go(collins: Still, codec: Codec) -> None:
    large = enlarge(collins, 3)
    worn, bars = put_on_glasses(large)[0], draw_bars(large)
    barred = worn.painted(np.where(bars[..., None] > 0, np.float32(DARK), worn.plate.pixels))
    plain = prepare(large, codec)
    kept, gone = (measure_change(prepare(barred, codec, keep), plain, bars) for keep in (True, False))
    assert gone < 0.3 * kept


def test_an_amber_bridge_goes(hopper: Still, codec: Codec) -> None:
    kept, gone = prepare(hopper, codec, keep_glasses=True), prepare(hopper, codec)
    x, y = np.round(hopper.face.landmarks[27] - (gone.window.x, gone.window.y)).astype(int)
    own, left, skin = (
        float((view.display[y + drop - 2 : y + drop + 1, x] @ (-1, 0, 1)).mean())
        for view, drop in ((kept, 0), (gone, 0), (kept, 8))
    )
    assert left - own > 0.6 * (skin - own)


def test_frames_of_a_clip_decide_together(collins: Still, codec: Codec) -> None:
    """A view whose rims are hardly seen loses them too; one that looks as if loses nothing."""
    with_glasses, without = put_on_glasses(collins)[0].frame(codec), collins.frame(codec)
    assert recognise_worn_glasses([with_glasses, without, with_glasses]).sureness == 1
    assert recognise_worn_glasses([without, with_glasses, without]).sureness == 0
    assert recognise_worn_glasses([]).sureness == 0


def test_eyes_stay_sharp_behind_glasses(collins: Still, codec: Codec) -> None:
    worn, _ = put_on_glasses(collins)
    kept, gone = prepare(worn, codec, keep_glasses=True), prepare(worn, codec)
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = np.round(collins.face.landmarks[eye].mean(0) - (gone.window.x, gone.window.y)).astype(int)
        part = np.s_[y - 1 : y + 2, x - 2 : x + 3]
        assert np.abs(gone.display[part] - kept.display[part]).max() < 0.02


def test_a_face_without_glasses_is_not_touched(collins: Still, codec: Codec) -> None:
    kept, gone = prepare(collins, codec, keep_glasses=True), prepare(collins, codec)
    assert (gone.display == kept.display).all()
    assert (gone.matte == kept.matte).all()


def test_arms_of_glasses_that_go_are_not_shown(collins: Still, codec: Codec) -> None:
    """Behind them is hair as well as skin, so other views or the atlas fill the temples."""
    worn, _ = put_on_glasses(collins)
    kept, gone = prepare(worn, codec, keep_glasses=True), prepare(worn, codec)
    assert (gone.matte <= kept.matte + 1e-6).all()
    assert (kept.matte - gone.matte).max() > 0.5


def test_kept_glasses_do_not_blink(collins: Still, codec: Codec) -> None:
    """The clip decides, also in a frame that hardly shows them (but for its arms); taken off, none are drawn."""

    def sum_drawn(still: Still, tell: Callable[[], bool] | None) -> float:
        measured = measure_mattes(replace(still.frame(codec), look_for_glasses=tell), params=MaskParams())
        return float(measured.get_known(MATTE_GLASSES).sum())

    clear, faint = (put_on_glasses(collins, opacity=opacity)[0] for opacity in (1.0, FAINT))
    usual = sum_drawn(clear, None)
    assert sum_drawn(faint, None) < 0.1 * usual < 0.6 * usual < sum_drawn(faint, lambda: True)
    assert sum_drawn(clear, lambda: False) == 0
    assert sum_drawn(collins, lambda: True) < 0.1 * usual


def test_dark_lenses_stay_whole(collins: Still, codec: Codec) -> None:
    """No new eyes are drawn on sunglasses."""
    worn, cover = put_on_glasses(collins)
    inner = cover.copy()
    outside = np.zeros((cover.shape[0] + 2, cover.shape[1] + 2), np.uint8)
    for eye in (slice(36, 42), slice(42, 48)):
        middle = np.round(collins.face.landmarks[eye].mean(0)).astype(int).tolist()
        cv2.floodFill(inner, outside, middle, 1.0, 0.5, 0.5)
    dark = worn.painted(np.where(inner[..., None] > 0.5, DARK, worn.plate.pixels))
    region = dark.region
    lenses = cv2.erode(inner, np.ones((5, 5), np.uint8))[region.y : region.bottom, region.x : region.right] > 0.9
    assert lenses.sum() > 500
    matte = dark.mattes(codec).get_matte(MATTE_FACE)
    assert matte[lenses].max() < 0.05
    x, y = np.round(collins.face.landmarks[[39, 42]].mean(0)).astype(int) - (region.x, region.y)
    assert matte[y - 8 : y + 9, x - 1 : x + 2].min(0).max() < 0.5, "the bridge"
    assert dark.mattes(codec, MaskParams(keep_glasses=False)).get_matte(MATTE_FACE)[lenses].max() > 0.9
    assert worn.mattes(codec).get_matte(MATTE_FACE)[lenses].mean() > 0.8


def shine_on_lens(worn: Still, place: np.ndarray, colour: tuple[float, float, float]) -> Still:
    """Light of a colour added around a place."""
    pixels, (x, y) = worn.plate.pixels.copy(), np.round(place).astype(int)
    pixels[y - 4 : y + 5, x - 8 : x + 9] += np.array(colour, np.float32)
    return worn.painted(pixels)


def get_around(view: SourceView, place: np.ndarray) -> np.ndarray:
    """Mean display-like value around a place."""
    x, y = np.round(place).astype(int) - (view.window.x, view.window.y)
    return np.asarray(view.display[y - 2 : y + 3, x - 5 : x + 6].mean((0, 1)))


@pytest.mark.parametrize(
    ("colour", "channel", "other"), [((0.0, 0.12, 0.06), 1, 0), ((0.1, 0.0, 0.12), 2, 1)], ids=["green", "violet"]
)
def test_coloured_reflections_go_with_the_glasses(
    colour: tuple[float, float, float], channel: int, other: int, collins: Still, codec: Codec
) -> None:
    """A lens that mirrors a screen, or shines violet; light of another colour on the whole cheek stays."""
    worn, _ = put_on_glasses(collins)
    place = collins.face.landmarks[36:42].mean(0) + np.array([0, 0.09 * collins.width])
    shining = shine_on_lens(worn, place, colour)

    def measure_cast(view: SourceView) -> float:
        seen = get_around(view, place)
        return float(seen[channel] / seen[other])

    skin = measure_cast(prepare(worn, codec))
    assert measure_cast(prepare(shining, codec, keep_glasses=True)) > 1.15 * skin
    assert measure_cast(prepare(shining, codec)) < 1.08 * skin


def test_violet_goes_from_the_lids_too(collins: Still, codec: Codec) -> None:
    """From the corner of the eye; the iris keeps its colour."""
    worn, _ = put_on_glasses(collins)
    plain = prepare(worn, codec)

    def measure_added_blue(place: np.ndarray) -> float:
        shown = prepare(shine_on_lens(worn, place, (0.02, 0.0, 0.1)), codec)
        return float((get_around(shown, place) - get_around(plain, place))[2])

    iris = measure_added_blue(collins.face.landmarks[36:42].mean(0))
    assert iris > 0.05
    assert measure_added_blue(collins.face.landmarks[36]) < 0.6 * iris


def test_a_red_tint_goes_from_the_lenses(collins: Still, codec: Codec) -> None:
    """The skin is seen behind it, in the hue of skin."""
    worn, _ = put_on_glasses(collins)
    place = collins.face.landmarks[36:42].mean(0) + np.array([0, 0.09 * collins.width])
    tinted = shine_on_lens(worn, place, (0.0, -0.15, -0.12))
    plain = get_around(prepare(worn, codec), place)
    kept, gone = (get_around(prepare(tinted, codec, keep_glasses=keep), place) for keep in (True, False))
    assert np.abs(gone - plain).max() < 0.85 * np.abs(kept - plain).max()


def test_skin_goes_on_behind_a_lamp_in_a_lens(collins: Still, codec: Codec) -> None:
    worn, lamp = put_on_glasses(enlarge(collins, 3))[0], np.zeros(collins.plate.pixels.shape[:2], np.float32)
    lamp = cv2.resize(lamp, None, fx=3, fy=3)
    place = worn.face.landmarks[36:42].mean(0) + np.array([0, 0.09 * worn.width])
    cv2.circle(lamp, np.round(place).astype(int).tolist(), round(0.03 * worn.width), 1.0, -1, cv2.LINE_AA)
    lit = worn.painted(worn.plate.pixels + 3.0 * lamp[..., None])
    plain = get_around(prepare(worn, codec), place)
    kept, gone = (get_around(prepare(lit, codec, keep_glasses=keep), place) for keep in (True, False))
    assert np.abs(gone - plain).max() < 0.2 * np.abs(kept - plain).max()


def test_a_glint_of_a_rim_that_lies_beside_it_goes(collins: Still, codec: Codec) -> None:
    """Where a raised brow pulls the path of the upper rim down, its shine lies outside."""
    worn, frame = put_on_glasses(enlarge(collins, 3))
    landmarks, width = worn.face.landmarks, worn.width
    column = round(landmarks[36:42, 0].mean())
    row = int(np.flatnonzero(frame[:, column] > 0.5)[0] - 0.035 * width)
    glint, half = np.zeros(frame.shape, np.float32), round(0.03 * width)
    cv2.line(glint, (column - half, row), (column + half, row), 1.0, round(0.012 * width), cv2.LINE_AA)
    lit = worn.painted(worn.plate.pixels + 3.0 * glint[..., None])
    place = np.array([column, row], float)
    plain = get_around(prepare(worn, codec), place)
    kept, gone = (get_around(prepare(lit, codec, keep_glasses=keep), place) for keep in (True, False))
    assert np.abs(gone - plain).max() < 0.3 * np.abs(kept - plain).max()


@pytest.mark.parametrize("squeezed", [False, True])
def test_kept_frame_is_drawn_no_wider_than_it_is(squeezed: bool, collins: Still, codec: Codec) -> None:
    worn, cover = put_on_glasses(collins)
    if squeezed:
        worn, cover = worn.squeezed(), cover[:, ::2]
    frame = worn.frame(codec)
    region = frame.region
    drawn = draw_glasses(frame.display, worn.face.landmarks, region, worn.plate.pixel_aspect, 1.0)
    cover = cover[region.y : region.bottom, region.x : region.right]
    around = cv2.dilate(cover, np.ones((7, 7), np.uint8)) > 0
    points = worn.face.landmarks - (region.x, region.y)
    between_hinges = slice(round(points[17, 0]), round(points[26, 0]))  # arms are not drawn
    assert drawn[:, between_hinges][cover[:, between_hinges] > 0.9].mean() > 0.8
    assert drawn[~around].sum() < 0.05 * drawn.sum()


def test_a_brow_stays_dark_above_a_low_rim(collins: Still, codec: Codec) -> None:
    """Brows are darker than such a rim, so they are not taken for one; nor do they go on into the skin."""
    points, brows = collins.face.landmarks, np.zeros(collins.plate.pixels.shape[:2], np.float32)
    for brow in (points[17:22], points[22:27]):
        ends = np.round(brow[[0, -1]] + (0, 0.03 * collins.width)).astype(int).tolist()
        cv2.line(brows, *ends, 1.0, round(0.07 * collins.width))
    dark = collins.painted(np.where(brows[..., None] > 0, np.float32(DARK), collins.plate.pixels))
    cover = put_on_glasses(dark, LOW)[1][..., None]
    worn = dark.painted(dark.plate.pixels + cover * (BRIGHT - dark.plate.pixels)).frame(codec)
    look = FaceLook(worn.display, worn.face.landmarks, worn.region, worn.pixel_aspect)
    gone = remove_glasses(look, Pair(1.0, LOW_LENSES))
    region = worn.region
    inside = ((brows > 0) & (cover[..., 0] == 0))[region.y : region.bottom, region.x : region.right]
    assert float(np.abs(gone - worn.display).mean(-1)[inside].mean()) < 0.2


def test_a_dark_brow_near_low_lenses_is_no_rim(collins: Still, codec: Codec) -> None:
    """It has two crisp edges and is stronger than a pale rim."""
    points, brows = collins.face.landmarks, np.zeros(collins.plate.pixels.shape[:2], np.float32)
    for brow in (points[17:22], points[22:27]):
        ends = np.round(brow[[0, -1]] + (0, 0.03 * collins.width)).astype(int).tolist()
        cv2.line(brows, *ends, 1.0, round(0.05 * collins.width))
    dark = collins.painted(np.where(brows[..., None] > 0, np.float32(DARK), collins.plate.pixels))
    worn = put_on_glasses(dark, LOW, opacity=0.3)[0].frame(codec)
    found = look_for_glasses(FaceLook(worn.display, worn.face.landmarks, worn.region, worn.pixel_aspect), LOW_LENSES)
    assert found is not None
    marked = mark_frame(found, is_low=True)
    size = found.picture.shape[1::-1]
    part = brows[found.part.y : found.part.bottom, found.part.x : found.part.right]
    assert marked[cv2.resize(part, size) > 0.9].mean() < 0.3


@pytest.mark.parametrize("value", [DARK, BRIGHT])
def test_thick_dark_bars_of_a_kept_frame_stay(value: float, collins: Still, codec: Codec) -> None:
    """A bar above the lenses is too thick for a line. What is bright there is skin."""
    worn, cover = put_on_glasses(collins)
    points, bars = collins.face.landmarks, draw_bars(collins)
    barred = worn.painted(np.where(bars[..., None] > 0, np.float32(value), worn.plate.pixels)).frame(codec)
    region = barred.region
    drawn = draw_glasses(barred.display, points, region, barred.pixel_aspect, 1.0)
    inside = (bars * (cv2.dilate(cover, np.ones((3, 3), np.uint8)) == 0))[
        region.y : region.bottom, region.x : region.right
    ]
    assert (drawn[inside > 0].mean() > 0.55) == (value == DARK)


def enlarge(still: Still, factor: int) -> Still:
    """The same picture with more pixels, so that a rim can be thinner than a brow."""
    large = cv2.resize(still.plate.pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return Still(plate_at(large), face_at((still.face.landmarks + 0.5) * factor - 0.5))


@pytest.mark.parametrize("height", [0.2, 0.182], ids=["close above the lids", "in front of the lids"])
def test_an_upper_rim_near_the_lids_is_found(height: float, collins: Still, codec: Codec) -> None:
    """Not the crease of the lid above it."""
    large = enlarge(collins, 3)
    points, creases = large.face.landmarks, np.zeros(large.plate.pixels.shape[:2], np.float32)
    gap = points[45, 0] - points[36, 0]
    for eye in (slice(36, 42), slice(42, 48)):
        ends = np.round(points[eye].mean(0) + np.array([(-0.12, -0.115), (0.12, -0.115)]) * gap).astype(int)
        cv2.line(creases, *ends.tolist(), 1.0, round(0.012 * large.width), cv2.LINE_AA)
    creased = large.painted(large.plate.pixels * (1 - 0.6 * creases[..., None]))
    worn, cover = put_on_glasses(creased, (0.3, height, 0.134), rim=0.01)
    frame, region = worn.frame(codec), worn.region
    drawn = np.zeros_like(cover)
    drawn[region.y : region.bottom, region.x : region.right] = draw_glasses(
        frame.display, points, region, frame.pixel_aspect, 1.0
    )
    above = np.s_[: round(points[36:48, 1].mean()), round(points[36, 0]) : round(points[45, 0])]
    assert drawn[above][cover[above] > 0.9].mean() > 0.85


@pytest.mark.parametrize(("share", "is_near"), [(0.9, False), (0.6, True)])
def test_rims_near_the_lids_are_taken_if_usual_ones_are_much_weaker(
    share: float, is_near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on a clip: a crease below a brow was as strong as the upper rim in front of the brow."""

    def find(found: object, lenses: LensShape, width: float) -> list[Strip]:
        usual = share if lenses == USUAL_LENSES else 1.0
        strength = np.full(4, usual * (lenses.farthest - lenses.nearest))
        return [Strip(np.zeros(4), np.ones(4), strength, np.zeros((1, 4, 2)), True)] * 2

    monkeypatch.setattr(glasses_frame, "_find_rim_strips", find)
    rims = glasses_frame._find_worn_rims(cast("WornGlasses", None), 100.0)
    near = find(None, glasses_frame.HANGING_LENSES, 100.0)
    assert np.array_equal(rims[0].strength, near[0].strength) == is_near


def test_clear_nose_pads_of_kept_glasses_are_whole(collins: Still, codec: Codec) -> None:
    """Only their edges are seen, more faintly than the rims."""
    worn, cover = put_on_glasses(enlarge(collins, 3), rim=0.01)
    points, pads = worn.face.landmarks, np.zeros_like(cover)
    gap = points[45, 0] - points[36, 0]
    middle = points[36:42].mean(0) + gap * np.array([0.33, 0.12])
    axes = round(0.016 * gap), round(0.045 * gap)
    cv2.ellipse(pads, np.round(middle).astype(int).tolist(), axes, 0, 0, 360, 1.0, 1, cv2.LINE_AA)
    edged = worn.painted(worn.plate.pixels * (1 - 0.75 * pads[..., None])).frame(codec)
    drawn = draw_glasses(edged.display, points, edged.region, edged.pixel_aspect, 1.0)
    x, y = np.round(middle).astype(int) - (edged.region.x, edged.region.y)
    assert drawn[y - 3 : y + 4, x].min() > 0.6


@pytest.mark.parametrize("colour", [(0.85, 0.75, 0.5), (0.6, 0.35, 0.12)])
def test_a_pale_rim_is_drawn_and_not_its_darker_shadow(
    colour: tuple[float, float, float], collins: Still, codec: Codec
) -> None:
    """The shadow differs more from the skin, but is soft at its lower edge."""
    large = enlarge(collins, 3)
    cover = put_on_glasses(large, rim=0.015)[1]
    below = np.float32([[1, 0, 0], [0, 1, 0.025 * large.width]])
    shadow = cv2.warpAffine(cover, below, cover.shape[::-1])
    shadow = np.clip(2 * cv2.GaussianBlur(shadow, (0, 0), 0.02 * large.width), 0, 1)
    shadow[: round(large.face.landmarks[36:48, 1].mean())] = 0
    shaded = large.plate.pixels * (1 - 0.8 * shadow[..., None] * (0.6, 1, 1))
    worn = large.painted(shaded + cover[..., None] * (colour - shaded))
    frame, region = worn.frame(codec), worn.region
    drawn = draw_glasses(frame.display, worn.face.landmarks, region, 1.0, 1.0)
    part = np.s_[region.y : region.bottom, region.x : region.right]
    points = worn.face.landmarks - (region.x, region.y)
    low = np.s_[round(points[36:48, 1].mean() + 0.1 * large.width) :, round(points[36, 0]) : round(points[45, 0])]
    rim, shade = cover[part] > 0.9, (shadow[part] > 0.4) & (cv2.dilate(cover[part], np.ones((5, 5), np.uint8)) < 0.1)
    assert drawn[low][rim[low]].mean() > 0.85
    assert drawn[low][shade[low]].mean() < 0.1


@pytest.mark.parametrize(("height", "thickness"), [(0.01, 0.045), (-0.14, 0.015)], ids=["thick", "high and thin"])
def test_a_bridge_is_whole(height: float, thickness: float, collins: Still, codec: Codec) -> None:
    worn, cover = put_on_glasses(enlarge(collins, 3), rim=0.015, has_bridge=False)
    points, bridge = worn.face.landmarks, np.zeros_like(cover)
    gap = points[45, 0] - points[36, 0]
    middle = points[36:48].mean(0) + np.array([0, height * gap])
    ends = np.round(middle + np.array([(-0.1, 0), (0.1, 0)]) * gap).astype(int).tolist()
    cv2.line(bridge, *ends, 1.0, round(thickness * worn.width))
    amber = worn.painted(np.where(bridge[..., None] > 0, (0.3, 0.13, 0.04), worn.plate.pixels)).frame(codec)
    region = amber.region
    drawn = draw_glasses(amber.display, points, region, 1.0, 1.0)
    x, y = np.round(middle).astype(int) - (region.x, region.y)
    reach = round(0.4 * thickness * worn.width)
    assert drawn[y - reach : y + reach + 1, x].min() > 0.9
