"""The source's glasses: skin goes on behind their frame, and nothing changes on a face without any."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.contract.params import MaskParams
from fsgan_core.plates.colour import Codec
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.reenactment import prepare_view
from tests.stages.conftest import Still

RIM_RADIUS, RIM_THICKNESS = 0.3, 0.02  # of the distance between the outer corners of the eyes; of the face
DARK = 0.01  # scene-linear


def put_on_glasses(still: Still) -> tuple[Still, np.ndarray]:
    """The still with round dark glasses, and the pixels that they cover."""
    points, aspect = still.face.landmarks, still.plate.pixel_aspect
    cover = np.zeros(still.plate.pixels.shape[:2], np.float32)
    gap = (points[45, 0] - points[36, 0]) * aspect
    thickness = max(1, round(RIM_THICKNESS * still.width))
    radius = round(RIM_RADIUS * gap / aspect), round(0.9 * RIM_RADIUS * gap)
    drop = np.array([0, 0.06 * gap])
    centres = np.stack([points[eye].mean(0) + drop for eye in (slice(36, 42), slice(42, 48))])
    sides = np.array([-1, 1])
    for centre, side, temple in zip(centres, sides, points[[0, 16]], strict=True):
        middle = np.round(centre).astype(int).tolist()
        cv2.ellipse(cover, middle, radius, 0, 0, 360, 1.0, thickness, cv2.LINE_AA)
        hinge = [middle[0] + int(side) * radius[0], middle[1] - radius[1] // 3]
        cv2.line(cover, hinge, [round(temple[0]), hinge[1]], 1.0, thickness, cv2.LINE_AA)
    bridge = np.round(centres - np.column_stack([sides * radius[0], [0.05 * gap] * 2])).astype(int).tolist()
    cv2.line(cover, *bridge, 1.0, thickness, cv2.LINE_AA)
    worn = still.plate.pixels * (1 - cover[..., None]) + cover[..., None] * DARK
    return still.painted(worn), cover


def prepare(still: Still, codec: Codec, keep_glasses: bool = False) -> SourceView:
    return prepare_view(still.plate, still.face, codec, MaskParams(), keep_glasses=keep_glasses)


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
