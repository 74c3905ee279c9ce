"""Lips, brows and lids keep their hue within a bound around the plate's; nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from fsgan_core.faces.mesh import CANONICAL, INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window
from fsgan_core.stages.image_ops import draw_polygon, to_perceptual, to_scene_linear
from fsgan_core.stages.matching.feature_tint import draw_brows, draw_lids, draw_lips, match_feature_tints

SIDE = 240
REGION = Window(0, 0, SIDE, SIDE)
MESH = CANONICAL * 1.1 + (SIDE / 2, SIDE / 2 - 25, 0)
INNER = draw_polygon(MESH[list(INNER_LIPS), :2], REGION, 0.5)
LIPS, BROWS = draw_lips(MESH, REGION, 0.5) * (1 - INNER), draw_brows(MESH, REGION, 2.0)
FULL, SKIN_ONLY = np.ones((SIDE, SIDE), np.float32), ((LIPS + BROWS) < 1e-3).astype(np.float32)
SKIN = np.array([0.5, 0.33, 0.25])
RED, ORANGE = np.array([0.4, 0.1, 0.09]), np.array([0.4, 0.2, 0.05])
PINK, GREY, MAGENTA = np.array([0.4, 0.18, 0.15]), np.array([0.24, 0.22, 0.21]), np.array([0.35, 0.12, 0.3])
BROWN, GREEN = np.array([0.06, 0.04, 0.03]), np.array([0.035, 0.05, 0.03])


def draw_face(lips: np.ndarray, brows: np.ndarray = BROWN, skin: np.ndarray = SKIN) -> np.ndarray:
    """A face of three flat colours, in perceptual steps."""
    linear = np.full((SIDE, SIDE, 3), skin)
    for matte, colour in ((LIPS, lips), (BROWS, brows)):
        linear = linear + matte[..., None] * (colour - linear)
    return to_perceptual(linear.astype(np.float32), 0.0)


def match(new: np.ndarray, target: np.ndarray, **changed: np.ndarray | float) -> np.ndarray:
    given: dict[str, Any] = {
        "shown": FULL,
        "bare": FULL,
        "inner": INNER,
        "skin": SKIN_ONLY,
        "width": 160.0,
        "amount": 1.0,
    } | changed
    return match_feature_tints(new, target, MESH, REGION, **given)


def read_tint(picture: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Logarithm of R, G, B over luma in the middle of a feature, against the skin's."""
    logs = np.log(to_scene_linear(picture, 0.0) + 0.005)
    tint = logs - (logs @ LUMA_WEIGHTS)[..., None]
    return np.asarray(tint[matte > 0.98].mean(0) - tint[SKIN_ONLY > 0].mean(0))


@pytest.mark.parametrize("lips", [GREY, MAGENTA])
def test_lips_come_near_the_hue_of_the_plates(lips: np.ndarray) -> None:
    new, target = draw_face(lips), draw_face(PINK)
    before = np.abs(read_tint(new, LIPS) - read_tint(target, LIPS)).max()
    after = np.abs(read_tint(match(new, target), LIPS) - read_tint(target, LIPS)).max()
    assert before > 0.3
    assert after < before - 0.1


def test_lips_that_are_made_up_do_not_make_up_others() -> None:
    new, target = draw_face(SKIN * (0.7, 0.62, 0.65)), draw_face(RED)
    own, other, after = (read_tint(picture, LIPS) for picture in (new, target, match(new, target)))
    assert other[0] - other[1] > 0.7
    assert 0.02 < (after - own)[0] - (after - own)[1] < 0.2
    kept = draw_face(RED * (1.0, 1.05, 1.05))
    assert np.abs(match(kept, target) - kept).max() < 0.03


def read_luma(picture: np.ndarray, matte: np.ndarray = LIPS) -> float:
    """Logarithm of luma in the middle of a feature, against the skin's."""
    luma = np.log(to_scene_linear(picture, 0.0) @ LUMA_WEIGHTS + 0.005)
    return float(luma[matte > 0.98].mean() - luma[SKIN_ONLY > 0].mean())


@pytest.mark.parametrize(("factor", "most"), [(0.75, 0.2), (1.35, 0.2), (0.3, 1.0)], ids=["dark", "pale", "black"])
def test_lips_come_near_the_darkness_of_the_plates(factor: float, most: float) -> None:
    new, target = draw_face(PINK * factor), draw_face(PINK)
    before, after = (abs(read_luma(lips) - read_luma(target)) for lips in (new, match(new, target)))
    assert before - 0.3 < after < min(before - 0.1, most)
    assert np.abs(match(new, target) - new)[SKIN_ONLY > 0].max() < 0.01


def test_slightly_darker_lips_are_the_persons() -> None:
    new, target = draw_face(PINK * 0.94), draw_face(PINK)
    assert np.abs(match(new, target) - new).max() < 0.01


def test_lips_that_are_made_up_darken_others_less() -> None:
    new, plain, red = draw_face(SKIN * 0.9), SKIN * 0.6, SKIN * (2.0, 0.7, 0.8)
    red *= plain @ LUMA_WEIGHTS / (red @ LUMA_WEIGHTS)
    less, more = (read_luma(match(new, draw_face(lips))) - read_luma(new) for lips in (red, plain))
    assert more < -0.1
    assert less > 0.7 * more


def test_each_part_of_the_lips_comes_near_the_hue_of_the_plates() -> None:
    above = np.arange(SIDE)[:, None] < MESH[61, 1]
    upper, lower = (
        (LIPS > 0.98) & cv2.erode(half.astype(np.uint8), np.ones((5, 1))).astype(bool) for half in (above, ~above)
    )
    target = draw_face(PINK)
    new = np.where(above[..., None], draw_face(GREY), target)
    after = match(new, target)
    assert np.abs(read_tint(new, upper) - read_tint(target, upper)).max() > 0.5
    assert np.abs(read_tint(after, upper) - read_tint(target, upper)).max() < 0.25
    assert np.abs(read_tint(after, lower) - read_tint(target, lower)).max() < 0.01


def test_a_lip_may_have_the_hue_that_the_plates_has_there() -> None:
    """An upper lip in a warm shade does not make the lower one orange."""
    above = np.arange(SIDE)[:, None] < MESH[61, 1]
    lower = (LIPS > 0.98) & cv2.erode((~above).astype(np.uint8), np.ones((25, 1))).astype(bool)
    new = draw_face(PINK)
    after = match(new, np.where(above[..., None], draw_face(ORANGE), new))
    assert np.abs(read_tint(after, lower) - read_tint(new, lower)).max() < 0.02


def test_what_is_between_the_lips_is_lip_unless_something_else_is_seen_there() -> None:
    between = draw_polygon(MESH[list(INNER_LIPS), :2], REGION) > 0.9
    new = draw_face(GREY)
    new[between] = to_perceptual(np.array([[GREY]], np.float32), 0.0)[0, 0]
    right = np.where(np.arange(SIDE) > SIDE / 2, FULL, 0)
    change = np.abs(match(new, draw_face(PINK), inner=between * right) - new).max(-1)
    assert between.sum() > 20
    assert change[between & (right == 0)].min() > 0.02
    assert change[between & (right > 0)].max() < 0.001


@pytest.mark.parametrize(("shade", "most"), [(1.0, 0.2), (0.9, 0.45)], ids=["plain", "in a shade"])
def test_skin_inside_the_outline_of_thicker_lips_stays_skin(shade: float, most: float) -> None:
    thin = MESH.copy()
    thin[list(OUTER_LIPS)] = MESH[list(INNER_LIPS)] + 0.4 * (MESH[list(OUTER_LIPS)] - MESH[list(INNER_LIPS)])
    lips = draw_lips(thin, REGION, 0.5)
    skin, target = draw_face(SKIN * shade, SKIN), draw_face(PINK)
    new = skin + lips[..., None] * (draw_face(GREY) - skin)
    rim = (LIPS > 0.98) & (cv2.dilate(lips, np.ones((5, 5))) < 0.01)
    change = np.abs((match(new, target) - new) @ (1.0, -1.0, 0.0))
    assert rim.sum() > 20
    assert change[lips > 0.9].mean() > 0.01
    assert change[rim].mean() < most * change[lips > 0.9].mean()


def test_shine_on_a_lip_takes_on_half_of_its_hue() -> None:
    grey = draw_face(GREY)
    glint = (LIPS > 0.98) & (np.abs(np.arange(SIDE) - SIDE / 2) < 5) & (np.arange(SIDE)[:, None] > MESH[14, 1])
    shiny = np.where(glint[..., None], to_perceptual((3 * to_scene_linear(grey, 0.0)).astype(np.float32), 0.0), grey)
    dull, bright = (read_tint(match(new, draw_face(PINK)), glint) - read_tint(new, glint) for new in (grey, shiny))
    assert dull[0] > 0.1
    assert bright[0] < 0.6 * dull[0]


def test_a_lamp_on_one_cheek_is_not_the_hue_of_a_lip() -> None:
    lamp = np.linspace(0.7, 1.4, SIDE)[None, :, None] ** np.array([1, 0, -1])
    plain = to_scene_linear(draw_face(PINK), 0.0)
    lit = to_perceptual((plain * lamp).astype(np.float32), 0.0)
    assert np.abs(match(lit, lit) - lit).max() < 0.01
    grey = to_perceptual((to_scene_linear(draw_face(GREY), 0.0) * lamp).astype(np.float32), 0.0)
    ends = [(LIPS > 0.98) & side for side in (np.arange(SIDE) < SIDE / 2 - 15, np.arange(SIDE) > SIDE / 2 + 15)]
    changes = [(match(grey, lit) - grey)[end].mean(0) for end in ends]
    assert np.abs(changes[0] - changes[1]).max() < 0.2 * np.abs(changes[0]).max()


def test_the_rim_of_thicker_lips_has_the_hue_of_the_lips() -> None:
    wide = cv2.dilate((LIPS > 0.5).astype(np.float32), np.ones((7, 7)))
    linear = to_scene_linear(draw_face(MAGENTA), 0.0)
    new = to_perceptual(np.where(wide[..., None] > 0, MAGENTA, linear).astype(np.float32), 0.0)
    skin = SKIN_ONLY * (cv2.dilate(wide, np.ones((9, 9))) == 0)
    change = np.abs(match(new, draw_face(PINK), width=320.0, skin=skin) - new).max(-1)
    rim = (cv2.dilate((LIPS > 0.5).astype(np.float32), np.ones((3, 3))) > 0) & (LIPS + INNER < 0.1)
    assert rim.sum() > 20
    assert change[rim].mean() > 0.7 * change[LIPS > 0.98].mean()


def test_red_that_bled_from_the_lips_fades() -> None:
    around = cv2.dilate(draw_lips(MESH, REGION, 0.5), np.ones((17, 17)))
    skin = ((around + BROWS) < 1e-3).astype(np.float32)
    target = draw_face(PINK)
    bled, redder = (
        to_perceptual(np.where(around[..., None] > 0, colour, to_scene_linear(target, 0.0)).astype(np.float32), 0.0)
        for colour in (PINK, SKIN * (1.05, 0.98, 0.98))
    )
    rim = (around > 0.98) & (cv2.dilate(draw_lips(MESH, REGION, 0.5), np.ones((11, 11))) < 0.1)
    before, after = (
        (lambda tint: tint[0] - tint[1])(read_tint(picture, rim)) for picture in (bled, match(bled, target, skin=skin))
    )
    assert before > 0.3
    assert after < 0.2
    assert np.abs(match(redder, target, skin=skin) - redder)[rim].max() < 0.002


@pytest.mark.parametrize("draw", [draw_lips, draw_brows, draw_lids])
def test_outlines_are_as_wide_in_pixels_that_are_twice_as_wide(draw: Callable[..., np.ndarray]) -> None:
    squeezed = np.add(MESH, (0.5, 0, 0)) / (2, 1, 1) - (0.5, 0, 0)
    narrow = draw(squeezed, Window(0, 0, SIDE // 2, SIDE), 4.0, 2.0)
    wide = cv2.resize(draw(MESH, REGION, 4.0), (SIDE // 2, SIDE), interpolation=cv2.INTER_AREA)
    assert np.abs(narrow - wide).max() < 0.2
    assert narrow.sum() == pytest.approx(wide.sum(), rel=0.05)


def test_bled_red_fades_as_far_in_pixels_that_are_twice_as_wide() -> None:
    skin, red = (to_perceptual(np.full((SIDE, SIDE, 3), colour, np.float32), 0.0) for colour in (SKIN, PINK))
    skin_weight = np.zeros((SIDE, SIDE), np.float32)
    skin_weight[:40] = 1
    target = np.where(skin_weight[..., None] > 0, skin, red)
    squeezed = np.add(MESH, (0.5, 0, 0)) / (2, 1, 1) - (0.5, 0, 0)
    half = np.s_[:, : SIDE // 2]
    ends = []
    for mesh, part, aspect in ((MESH, np.s_[:, :], 1.0), (squeezed, half, 2.0)):
        given = [np.ascontiguousarray(one[part]) for one in (FULL, FULL, np.zeros_like(FULL), skin_weight)]
        new = np.ascontiguousarray(target[part])
        region = Window(0, 0, new.shape[1], SIDE)
        after = match_feature_tints(new, new, mesh, region, *given, 160.0, 1.0, aspect)
        columns = np.flatnonzero((np.abs(after - new).max(-1) > 0.01)[int(mesh[61, 1])])
        ends.append(np.array([columns[0], columns[-1]]) * aspect)
    assert np.abs(ends[0] - ends[1]).max() <= 3


@pytest.mark.parametrize("down", [0, 170], ids=["hidden", "outside"])
def test_lips_that_are_not_seen_change_nothing(down: float) -> None:
    new, target, shown = draw_face(GREY), draw_face(PINK), 1 - cv2.dilate(LIPS, np.ones((41, 41)))
    after = match_feature_tints(
        new, target, np.add(MESH, (0, down, 0)), REGION, shown, FULL, INNER, SKIN_ONLY, 160.0, 1.0
    )
    assert np.abs(after - new).max() < 1e-5


def test_brows_come_near_the_hue_of_the_plates() -> None:
    new, target = draw_face(PINK, GREEN), draw_face(PINK, BROWN)
    before = np.abs(read_tint(new, BROWS) - read_tint(target, BROWS)).max()
    after = np.abs(read_tint(match(new, target), BROWS) - read_tint(target, BROWS)).max()
    assert before > 0.25
    assert after < before - 0.1


LIDS = draw_lids(MESH, REGION, 2.0)
LIDLESS = SKIN_ONLY * (LIDS < 1e-3)


def draw_lidded_face(lids: np.ndarray) -> np.ndarray:
    face, colour = draw_face(PINK), to_perceptual(np.array([[lids]], np.float32), 0.0)
    return np.asarray(face + LIDS[..., None] * (colour - face))


def read_lids(picture: np.ndarray) -> np.ndarray:
    return read_tint(picture, LIDS)


@pytest.mark.parametrize("cast", [(1.0, 0.7, 1.3), (0.7, 1.2, 1.0)], ids=["purple", "green"])
def test_rings_around_the_eyes_come_near_the_hue_of_the_plates(cast: tuple[float, float, float]) -> None:
    new, target = draw_lidded_face(SKIN * 0.7 * cast), draw_lidded_face(SKIN * (0.7, 0.65, 0.65))
    after = match(new, target, skin=LIDLESS)
    before, changed = (np.abs(read_lids(picture) - read_lids(target)).max() for picture in (new, after))
    assert before > 0.2
    assert changed < before / 2


def test_plain_lids_do_not_take_on_make_up_of_the_plate() -> None:
    new, target = draw_lidded_face(SKIN * 0.8), draw_lidded_face(SKIN * (0.7, 0.4, 0.5))
    assert np.abs(match(new, target, skin=LIDLESS) - new)[LIDS > 0].max() < 0.01


def test_dark_rings_come_near_the_darkness_of_the_plates_lids_and_none_becomes_brighter() -> None:
    new, target = draw_lidded_face(SKIN * 0.4), draw_lidded_face(SKIN * 0.8)
    bright = (LIDS > 0.98) & (np.arange(SIDE) % 6 == 0)
    new[bright] = draw_face(PINK)[bright]
    after = match(new, target, skin=LIDLESS)
    dark = (LIDS > 0.98) & ~bright
    luma = [np.log(to_scene_linear(picture, 0.0) @ LUMA_WEIGHTS)[dark].mean() for picture in (new, target, after)]
    assert 0.2 < luma[2] - luma[0] < luma[1] - luma[0]
    assert np.abs(after - new)[bright].max() < 0.01
    assert np.abs(match(target, new, skin=LIDLESS) - target)[LIDS > 0].max() < 0.01, "the plate's rings are its own"


def test_a_small_difference_is_the_persons() -> None:
    new, target = draw_face(PINK * (1.0, 1.02, 1.0)), draw_face(PINK)
    assert np.abs(match(new, target) - new).max() < 0.01


def test_the_hue_counts_against_the_skin() -> None:
    target, cast = draw_face(PINK), np.array([0.8, 1.0, 1.3])
    new = draw_face(PINK * cast, BROWN * cast, SKIN * cast)
    assert np.abs(match(new, target) - new).max() < 0.01


def test_skin_stays() -> None:
    new, target = draw_face(GREY, GREEN), draw_face(PINK)
    far = cv2.dilate(LIPS + BROWS, np.ones((25, 25))) < 1e-3
    assert np.abs(match(new, target) - new)[far].max() < 1e-5


def test_what_is_hidden_decides_nothing() -> None:
    new, target = draw_face(GREY, GREEN), draw_face(PINK)
    hidden = {"bare": SKIN_ONLY}
    assert np.abs(match(new, target, **hidden) - new).max() < 1e-5
    assert match(new, target, amount=0.0) is new
