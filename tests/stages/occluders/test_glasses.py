"""Arms of glasses: where they are, and what is behind them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.contract.params import InpaintParams, MaskParams, ReenactParams
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import compute_slices
from fsgan_core.stages.inpainting import inpaint
from fsgan_core.stages.masking import draw_hull
from fsgan_core.stages.occluders.arm_fill import (
    continue_across,
    fill_behind_arms,
    find_replaced_arms,
    measure_new_glasses,
)
from fsgan_core.stages.occluders.glasses import Stems, find_arms, find_rims
from fsgan_core.stages.skin.skin_model import FaceRaster
from fsgan_core.stages.warp_points import EYE_OUTER_L, EYE_OUTER_R, TEMPLE_L, TEMPLE_R
from tests.stages.conftest import Still

UP = np.array([0.0, -1.0])


def make_raster(still: Still, arm: float, slope: float = 0.0) -> FaceRaster:
    """A plain face in front of grey, with arms of that brightness from its eyes to beyond its temples."""
    hull = draw_hull(still.face, still.region, 1.0, 1.0)
    points = still.face.landmarks - (still.region.x, still.region.y)
    width = float(np.ptp(points[:17, 0]))
    grey = np.where(hull > 0.5, np.float32(0.6), np.float32(0.3))
    for eye, temple in ((EYE_OUTER_R, TEMPLE_R), (EYE_OUTER_L, TEMPLE_L)):
        out = float(np.sign(points[temple, 0] - points[eye, 0]))
        reach = abs(points[temple, 0] - points[eye, 0]) + 0.02 * width
        start = points[eye] + (0.3 * out * reach, 0)
        end = points[eye] + (out * reach, slope * reach)
        cv2.line(grey, start.round().astype(int).tolist(), end.round().astype(int).tolist(), arm, 4)
    return FaceRaster(np.dstack([grey] * 3), points, width, hull, UP, np.ones(hull.shape, bool))


@pytest.mark.parametrize(("arm", "slope"), [(0.1, 0.0), (0.95, 0.0), (0.95, 0.2), (0.1, -0.2)])
def test_dark_and_pale_arms_are_found(hopper: Still, arm: float, slope: float) -> None:
    found = find_arms(raster := make_raster(hopper, arm, slope))
    is_arm = np.isclose(raster.rgb[..., 0], arm)
    assert found[is_arm].mean() > 0.8
    near = cv2.dilate(is_arm.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    assert found[~near].max() < 0.2


def test_a_bare_temple_has_no_arm(hopper: Still) -> None:
    assert find_arms(make_raster(hopper, 0.6)).max() < 0.1


@pytest.mark.parametrize(("thickness", "least"), [(0.015, 0.8), (0.05, 0.65)])
def test_a_rim_is_found_where_it_hangs_together_with_an_arm(hopper: Still, thickness: float, least: float) -> None:
    """A wire, and the broad tip of a frame."""
    raster = make_raster(hopper, 0.1)
    middle = raster.landmarks[EYE_OUTER_R] + 0.7 * (raster.landmarks[TEMPLE_R] - raster.landmarks[EYE_OUTER_R])
    x, y, high = (round(float(value)) for value in (*middle, 0.08 * raster.face_width))
    rim = np.s_[y - high : y + high, x : x + round(thickness * raster.face_width)]
    raster.rgb[rim] = 0.1
    arms = find_arms(raster)
    found = np.maximum(arms, find_rims(raster, arms))
    assert arms[rim].mean() < 0.5
    assert found[rim].mean() > least
    assert find_rims(raster, np.zeros_like(arms)).max() == 0  # a line that no arm is at


def test_wrinkles_beside_an_arm_are_no_rim(hopper: Still) -> None:
    raster = make_raster(hopper, 0.1)
    wrinkled = raster.rgb > 0.55
    lines = np.where(np.arange(raster.rgb.shape[0]) % 6 < 2, np.float32(-0.12), np.float32(0.0))
    raster.rgb[:] += wrinkled * lines[:, None, None]
    arms = find_arms(raster)
    assert (find_rims(raster, arms) * (arms < 0.1) > 0.5).sum() < 0.2 * (arms > 0.5).sum()


class TestWhatIsBehind:
    def test_a_rim_at_the_soft_edge_becomes_skin(self, hopper: Still, codec: Codec) -> None:
        """The mask takes a rim wholly; what shows there is the plate beside it, as far as the edge is soft."""
        bare, region = hopper.frame(codec), hopper.region
        x, y = (round(float(v)) for v in hopper.face.landmarks[29])  # on the nose, inside the face
        bar = np.s_[y - 12 : y + 12, x : x + 4]
        pixels = hopper.plate.pixels.copy()
        pixels[bar] = 0
        rims = np.zeros(pixels.shape[:2], np.float32)
        rims[bar] = 1
        rims = np.ascontiguousarray(rims[compute_slices(region, hopper.plate.data_window)])
        stems = Stems(np.zeros_like(rims), rims)
        behind = fill_behind_arms(hopper.painted(pixels).frame(codec), np.maximum(rims, np.float32(0.6)), stems)
        part = rims > 0
        assert behind.matte[part] == pytest.approx(0.4, abs=0.02)
        assert np.abs(behind.picture[part] - bare.perceptual[part]).mean() < 0.06

    def test_arms_that_vanish_on_few_pixels_change_nothing(self, hopper: Still, codec: Codec) -> None:
        frame = hopper.frame(codec)
        none = np.zeros((hopper.region.height, hopper.region.width), np.float32)
        behind = fill_behind_arms(frame, none + 1, Stems(none, none))
        assert not behind.matte.any()
        np.testing.assert_array_equal(behind.picture, frame.perceptual)

    def test_strands_and_outlines_go_on_sharply(self) -> None:
        """Strands that run down stay as contrasty behind an arm as above it; a blur would average them."""
        strands = np.tile(np.arange(40, dtype=np.float32) // 2 % 2, (30, 1))
        hidden = np.zeros((30, 40), bool)
        hidden[12:18] = True
        covered = np.where(hidden, np.float32(9), strands)
        behind = continue_across(covered, hidden, ~hidden, UP, 10.0, 1.0)
        assert behind.known.all()
        assert behind.picture == pytest.approx(strands, abs=0.02)

    def test_above_passes_into_below(self) -> None:
        """Hair above and an ear below meet sharply enough."""
        picture = np.zeros((30, 8), np.float32)
        picture[15:] = 1.0
        hidden = np.zeros((30, 8), bool)
        hidden[10:20] = True
        behind = continue_across(np.where(hidden, np.float32(5), picture), hidden, ~hidden, UP, 15.0, 1.0)
        column = behind.picture[:, 0]
        assert column[11] == pytest.approx(0, abs=0.02)
        assert column[19] == pytest.approx(1, abs=0.02)
        assert (np.diff(column) >= -0.02).all()

    def test_what_is_too_far_from_anything_is_not_known(self) -> None:
        hidden = np.ones((20, 4), bool)
        hidden[0] = False
        behind = continue_across(np.ones((20, 4), np.float32), hidden, ~hidden, UP, 5.0, 1.0)
        assert behind.known[:6].all() and not behind.known[6:].any()

    def test_arms_of_a_close_up_in_8k(self) -> None:
        """More hidden pixels than cv2.remap takes in a row."""
        strands = np.tile(np.arange(2000, dtype=np.float32) // 8 % 2, (60, 1))
        hidden = np.zeros(strands.shape, bool)
        hidden[20:40] = True
        behind = continue_across(np.where(hidden, np.float32(9), strands), hidden, ~hidden, UP, 30.0, 1.0)
        assert behind.picture == pytest.approx(strands, abs=0.02)

    def test_hair_stays_hair_and_skin_becomes_face(self, hopper: Still, codec: Codec) -> None:
        """Behind an arm the plate goes on beyond the face and where hair is; the rest is the new face."""
        frame = hopper.frame(codec)
        hull = draw_hull(hopper.face, frame.region, 1.0, 1.0)
        hair, arms = np.zeros_like(hull), np.zeros_like(hull)
        column = int(np.nonzero(hull[104] == 1)[0][0])
        hair[:, column : column + 20] = 1
        arms[100:108, column - 20 : column + 40] = 1
        face_matte = np.maximum(hull * (1 - hair), arms)
        row = fill_behind_arms(frame, face_matte, Stems(arms, np.zeros_like(arms))).matte[104]
        assert row[column - 20 : column - 3].min() > 0.99
        assert row[column + 3 : column + 17].min() > 0.9
        assert row[column + 23 : column + 40].max() < 0.01


def test_arms_stay_with_a_face_that_wears_glasses(hopper: Still, collins: Still, codec: Codec) -> None:
    """The new face's own frame takes the target's arms; a face without glasses has them painted out."""
    mattes = hopper.mattes(codec, MaskParams(keep_glasses=False))
    frame = hopper.frame(codec)
    stems = find_replaced_arms(frame, mattes.get_matte("matte.face"))
    assert stems is not None
    beyond = (stems.arms > 0.9) & (draw_hull(hopper.face, frame.region, 1.0, 1.0) == 0)
    assert beyond.any()
    covers = []
    for source, keeps, wears in ((hopper, True, 1.0), (hopper, False, 0.0), (collins, True, 0.0)):
        reenacted = hopper.reenacted(source, codec, ReenactParams(keep_source_glasses=keeps))
        assert measure_new_glasses(frame, reenacted) == pytest.approx(wears, abs=0.1)
        completed = inpaint(frame, reenacted=reenacted, mattes=mattes, further_views=list, params=InpaintParams())
        covers.append(completed.get_matte("A")[beyond].mean())
    assert covers[0] < 0.1 < 0.9 < min(covers[1:])
