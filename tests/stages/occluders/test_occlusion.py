"""What is hair and what belongs to the face at brows and eyes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.contract.landmarks import BROW_L, BROW_R, EYE_R
from fsgan_core.contract.params import MaskParams
from fsgan_core.plates.colour import Codec, ColourConfig
from fsgan_core.runtime.arrays import Points, Vector
from fsgan_core.stages.reenactment import prepare_view
from tests.stages.conftest import Still

HAIR, SHADED_HAIR = (62, 44, 34), (84, 60, 48)  # sRGB


def hang_fringe(still: Still, brows: list[slice], config: ColourConfig, share: float = 1.0) -> Still:
    """The still with hair from the hairline down to the lower edge of these brows, on a share from the outer ends."""
    points = still.face.landmarks
    height = np.linalg.norm(points[27] - points[8])
    up = (points[27] - points[8]) / height
    cover = np.zeros(still.plate.pixels.shape[:2], np.float32)
    for brow in brows:
        line = points[brow] if brow == BROW_R else points[brow][::-1]
        along = np.linspace(0, share * (len(line) - 1), 5)
        line = np.stack([np.interp(along, np.arange(len(line)), line[:, k]) for k in (0, 1)], -1)
        lower, upper = line - 0.05 * height * up, line[::-1] + 0.75 * height * up
        cv2.fillPoly(cover, [np.round(np.vstack([lower, upper])).astype(np.int32)], 1.0, cv2.LINE_AA)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.7)[..., None]
    strands = np.random.default_rng(5).normal(1, 0.15, cover.shape[1]).astype(np.float32)[None, :, None]
    colour = config.convert(np.float32([[HAIR]]) / 255, "sRGB", config.scene_linear) * strands
    return still.painted(still.plate.pixels * (1 - cover) + cover * colour)


def read_brow(still: Still, brow: slice, codec: Codec) -> float:
    """How much of a brow the matte covers: its mean at the landmarks."""
    matte = still.mattes(codec).get_matte("matte.face")
    x, y = (np.round(still.face.landmarks[brow]).astype(int) - (still.region.x, still.region.y)).T
    return float(matte[y, x].mean())


def test_a_brow_under_hair_is_left_out(collins: Still, codec: Codec, config: ColourConfig) -> None:
    fringed = hang_fringe(collins, [BROW_L], config)
    assert read_brow(collins, BROW_L, codec) > 0.8
    assert read_brow(fringed, BROW_L, codec) < 0.2
    assert read_brow(fringed, BROW_R, codec) > 0.8


@pytest.mark.parametrize("brow", [BROW_R, BROW_L])
def test_brows_whose_ends_reach_the_hair_stay(brow: slice, collins: Still, codec: Codec, config: ColourConfig) -> None:
    fringed = hang_fringe(collins, [BROW_R, BROW_L], config, share=0.7)
    inner = slice(brow.start + 3, brow.stop) if brow == BROW_R else slice(brow.start, brow.stop - 3)
    assert read_brow(fringed, inner, codec) > 0.9


@pytest.mark.parametrize("brow", [BROW_R, BROW_L])
def test_brows_under_hair_stay_if_no_brow_is_free(
    brow: slice, collins: Still, codec: Codec, config: ColourConfig
) -> None:
    assert read_brow(hang_fringe(collins, [BROW_R, BROW_L], config), brow, codec) > 0.6


def test_the_shade_of_deep_set_eyes_belongs_to_the_face(collins: Still, codec: Codec, config: ColourConfig) -> None:
    """A dark lid that a dark line joins to the temple is no hair that hangs there."""
    points = collins.face.landmarks
    cover = np.zeros(collins.plate.pixels.shape[:2], np.float32)
    hull = cv2.convexHull(np.vstack([points[BROW_R], points[EYE_R]]).astype(np.float32))[:, 0]
    cv2.fillConvexPoly(cover, np.round(hull).astype(np.int32), 1.0, cv2.LINE_AA)
    corner, temple = (tuple(np.round(points[number]).astype(int).tolist()) for number in (36, 0))
    cv2.line(cover, corner, temple, 1.0, 4, cv2.LINE_AA)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.7)[..., None]
    shade = config.convert(np.float32([[HAIR]]) / 255, "sRGB", config.scene_linear)
    shaded = collins.painted(collins.plate.pixels * (1 - cover) + cover * shade)
    view = prepare_view(shaded.plate, shaded.face, codec, MaskParams())
    lids = (points[[37, 38]] + points[[18, 20]]) / 2 - (view.window.x, view.window.y)
    x, y = np.round(lids).astype(int).T
    assert view.matte[y, x].min() > 0.9


def hang_lock(still: Still, inner: Points, config: ColourConfig) -> Still:
    """The still with hair from above the brows down over the right side of the face, as far as `inner`."""
    points, nose = still.face.landmarks, still.face.landmarks[30]
    outer = points[:5] - 0.8 * (nose - points[:5])
    up = 1.2 * (points[27] - points[8])
    cover = np.zeros(still.plate.pixels.shape[:2], np.float32)
    lock = np.vstack([outer[:1] + up, outer, inner[::-1], inner[:1] + up])
    cv2.fillPoly(cover, [np.round(lock).astype(np.int32)], 1.0, cv2.LINE_AA)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.7)[..., None]
    strands = np.random.default_rng(5).normal(1, 0.15, cover.shape[1]).astype(np.float32)[None, :, None]
    colour = config.convert(np.float32([[SHADED_HAIR]]) / 255, "sRGB", config.scene_linear) * strands
    return still.painted(still.plate.pixels * (1 - cover) + cover * colour)


def read_matte(still: Still, places: Points, codec: Codec) -> Vector:
    """The face's matte at places of the plate."""
    x, y = np.round(places - (still.region.x, still.region.y)).astype(int).T
    return np.asarray(still.mattes(codec).get_matte("matte.face")[y, x])


def test_hair_that_falls_over_a_cheek_is_left_out(collins: Still, codec: Codec, config: ColourConfig) -> None:
    """It is as dark as a shadow could be, but has the colour of the hair above the brows."""
    points, nose = collins.face.landmarks, collins.face.landmarks[30]
    hidden = hang_lock(collins, points[:5] + 0.3 * (nose - points[:5]), config)
    assert read_matte(hidden, points[1:4] + 0.15 * (nose - points[1:4]), codec).max() < 0.2
    assert read_matte(hidden, points[13:16] + 0.3 * (nose - points[13:16]), codec).min() > 0.9


def test_hair_that_touches_an_eye_is_left_out(collins: Still, codec: Codec, config: ColourConfig) -> None:
    """Beside the eye and on the cheek below it, where it lies within the inner face."""
    points, nose, corner = collins.face.landmarks, collins.face.landmarks[30], collins.face.landmarks[36]
    cheek = corner + 0.45 * (points[27] - corner) + 0.6 * (nose - points[27])
    hidden = hang_lock(collins, np.vstack([corner + 0.3 * (points[17] - corner), corner, cheek, points[4:5]]), config)
    beside = np.vstack([corner + 0.3 * (points[0] - corner), cheek + 0.35 * (points[2] - cheek)])
    assert read_matte(hidden, beside, codec).max() < 0.2
    assert read_matte(hidden, points[37:41], codec).min() > 0.9
    assert read_matte(hidden, points[13:16] + 0.3 * (nose - points[13:16]), codec).min() > 0.9


def test_the_shaded_side_of_a_jaw_is_no_hair(collins: Still, codec: Codec) -> None:
    """It has nearly the colour of brown hair."""
    points, nose = collins.face.landmarks, collins.face.landmarks[30]
    assert read_matte(collins, points[11:15] + 0.15 * (nose - points[11:15]), codec).min() > 0.9
