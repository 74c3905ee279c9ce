"""The target's light is measured, taken over in place of the new face's own, and never more than its bounds allow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgan_core.faces.mesh import BROW_L, BROW_R, CANONICAL, INNER_LIPS, MIRROR_ORDER, OUTER_LIPS, TRIANGLES
from fsgan_core.faces.pose import make_rotation
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.stages.image_ops import draw_polygon, to_perceptual, to_scene_linear
from fsgan_core.stages.matching.light import (
    BEARD_ZONE,
    FEATURES,
    LEVEL_LIMIT,
    PLAIN_SKIN,
    RESIDUAL_LIMIT,
    SHAPE_LIMIT,
    SHINE_LIMIT,
    FaceSurface,
    ReadSkin,
    compute_transfer,
    draw_skin_and_shade,
    match_light,
    measure_surface,
    read_skin,
)
from fsgan_core.stages.matching.light_field import BACK_SHARE, FAR_SHARE, FIELD_REACH, FIELD_SIGMA, spread_to_knots
from fsgan_core.stages.matching.light_fit import compute_light_basis, fit_light

SIDE = 240
REGION = Window(0, 0, SIDE, SIDE)
SKIN = np.array([0.42, 0.26, 0.18])
RED = np.array([1.0, 0.0, 0.0]) - LUMA_WEIGHTS[0]  # of no luma
LIGHT_LEFT = np.array([0.0, -0.35, 0.1, -0.1, 0.0, 0.05, 0.0, 0.0, 0.05])
LIGHT_RIGHT = np.array([0.0, 0.4, -0.1, -0.05, 0.05, 0.0, 0.0, -0.05, 0.0])
COUNT = len(TRIANGLES)


def make_mesh(yaw: float = 0.0) -> np.ndarray:
    return CANONICAL @ make_rotation(yaw, 0, 0).T * 1.1 + (SIDE / 2, SIDE / 2 - 25, 0)


def shade(surface: FaceSurface, light: np.ndarray, skin: np.ndarray = SKIN) -> np.ndarray:
    """Logarithms of the skin's colours, (n, 3)."""
    return np.log(skin) + (compute_light_basis(surface.normals) @ light)[:, None]


def draw(mesh: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The mesh with a colour for each triangle, scene-linear; far triangles first."""
    picture = np.full((SIDE, SIDE, 3), 0.05, np.float32)
    for triangle in np.argsort(-mesh[TRIANGLES, 2].mean(1)):
        corners = np.round(mesh[TRIANGLES[triangle], :2] * 16).astype(np.int32)
        cv2.fillConvexPoly(picture, corners, np.exp(colours[triangle]).tolist(), cv2.LINE_8, 4)
    return cv2.GaussianBlur(picture, (0, 0), 1.5)


def cover(mesh: np.ndarray) -> np.ndarray:
    matte = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillConvexPoly(matte, cv2.convexHull(mesh[:468, :2].astype(np.float32)).astype(np.int32), 1.0)
    return matte


def read(colours: np.ndarray, seen: np.ndarray | None = None) -> ReadSkin:
    return ReadSkin(colours, np.ones(COUNT) if seen is None else seen)


def relight(
    mesh: np.ndarray, new: np.ndarray, target: np.ndarray, amount: float = 1.0, openings: np.ndarray | None = None
) -> np.ndarray:
    """`match_light` on scene-linear pictures."""
    matched = match_light(
        to_perceptual(new, 0.0),
        to_perceptual(target, 0.0),
        cover(mesh),
        cover(mesh),
        np.zeros((SIDE, SIDE), np.float32) if openings is None else openings,
        measure_surface(mesh, REGION),
        amount,
    )
    return to_scene_linear(matched, 0.0)


class TestRegions:
    def test_every_triangle_has_one_meaning(self) -> None:
        assert (FEATURES.astype(int) + BEARD_ZONE + PLAIN_SKIN == 1).all()

    def test_a_part_of_a_region_is_drawn_as_the_whole(self) -> None:
        mesh, part = make_mesh(20), Window(REGION.x + 31, REGION.y + 17, REGION.width - 70, REGION.height - 51)
        whole = draw_skin_and_shade(measure_surface(mesh, REGION), (REGION.height, REGION.width))
        drawn = draw_skin_and_shade(measure_surface(mesh, part, 1.0, REGION), (part.height, part.width))
        for one, other in zip(drawn, whole, strict=True):
            assert np.allclose(one, other[compute_slices(part, REGION)], rtol=0, atol=1e-6)

    def test_left_is_as_right(self) -> None:
        mirrored = {tuple(sorted(triangle)): place for place, triangle in enumerate(MIRROR_ORDER[TRIANGLES].tolist())}
        order = [mirrored.get(tuple(sorted(triangle))) for triangle in TRIANGLES.tolist()]
        both = [(a, b) for a, b in enumerate(order) if b is not None]
        assert len(both) > 0.9 * COUNT
        assert all(BEARD_ZONE[a] == BEARD_ZONE[b] for a, b in both)

    def test_cheeks_forehead_and_nose_are_plain_skin(self) -> None:
        centres = CANONICAL[TRIANGLES].mean(1)
        for place in ((40, 25), (-40, 25), (0, -42), (0, 10)):
            assert PLAIN_SKIN[np.linalg.norm(centres[:, :2] - place, axis=1).argmin()]
        for place in ((0, 105), (-45, 75), (45, 75)):
            assert BEARD_ZONE[np.linalg.norm(centres[:, :2] - place, axis=1).argmin()]


class TestSaturation:
    """The source has strong colours, the target weak ones; on the new cheek is a shiny spot, and a red one."""

    ORANGE, PALE = np.array([0.75, 0.3, 0.12]), np.array([0.4, 0.32, 0.27])
    SHINE, SORE = (SIDE // 2 - 40, SIDE // 2), (SIDE // 2 + 40, SIDE // 2)

    def relight_spots(self, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Colours of the shiny and of the red spot on the new face, over that of the skin; and of the skin."""
        mesh = make_mesh()
        new, plate = (draw(mesh, np.tile(np.log(skin), (COUNT, 1))) for skin in (source, target))
        for place, colour in ((self.SHINE, np.full(3, source.max())), (self.SORE, source * (1.1, 0.4, 0.3))):
            cv2.circle(new, place, 4, colour.tolist(), -1)
        matched = relight(mesh, new, plate)
        skin = matched[SIDE // 2 + 15, SIDE // 2 - 40]
        shine, sore = (matched[y, x] for x, y in (self.SHINE, self.SORE))
        return shine, sore / sore[1] / (skin / skin[1]), skin

    def test_shine_is_not_green_and_red_does_not_glow(self) -> None:
        shine, sore, skin = self.relight_spots(self.ORANGE, self.PALE)
        assert np.allclose(skin, self.PALE, rtol=0.1)
        assert shine[1] < 1.05 * shine[0], "not greener than grey"
        assert 1.2 < sore[0] < 2.0, "it was 2.75 times as red as the skin"

    def test_other_pictures_keep_their_hues(self) -> None:
        _, sore, _ = self.relight_spots(self.PALE, self.ORANGE)
        assert sore[0] == pytest.approx(2.75, rel=0.1)


class TestSurface:
    def test_measures_in_square_pixels(self) -> None:
        mesh = make_mesh(20)
        squeezed = mesh / (2.0, 1, 1)
        surface, other = measure_surface(mesh, REGION), measure_surface(squeezed, REGION, 2.0)
        assert surface.width == pytest.approx(1.1 * 144, rel=1e-6)
        assert other.width == pytest.approx(surface.width)
        assert np.allclose(other.normals, surface.normals)
        assert np.allclose(other.places * (2, 1), surface.places)

    def test_the_far_cheek_does_not_face_the_camera(self) -> None:
        surface = measure_surface(make_mesh(60), REGION)
        side = CANONICAL[TRIANGLES].mean(1)[:, 0]
        near, far = surface.facing[side > 40].mean(), surface.facing[side < -40].mean()
        assert max(near, far) > 0.6
        assert min(near, far) < 0.1


class TestFit:
    @pytest.mark.parametrize("yaw", [0.0, 30.0])
    @pytest.mark.parametrize("light", [LIGHT_LEFT, LIGHT_RIGHT], ids=["left", "right"])
    def test_known_light_is_recovered(self, light: np.ndarray, yaw: float) -> None:
        surface = measure_surface(make_mesh(yaw), REGION)
        colours = shade(surface, light)
        fit = fit_light(colours, surface.normals, surface.areas * surface.facing * PLAIN_SKIN)
        seen = (surface.facing > 0.5) & ~FEATURES
        assert np.abs(fit - colours)[seen].max() < 0.06

    def test_coloured_light_is_recovered(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        colours = shade(surface, LIGHT_LEFT)
        colours[:, 2] += 0.5 * surface.normals[:, 0]  # blue from one side
        fit = fit_light(colours, surface.normals, surface.areas * surface.facing * PLAIN_SKIN)
        assert np.abs(fit - colours)[(surface.facing > 0.5) & PLAIN_SKIN].max() < 0.1

    def test_specular_spots_and_glasses_do_not_count(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        colours = shade(surface, LIGHT_LEFT)
        clean = colours.copy()
        odd = np.random.default_rng(1).permutation(COUNT)[: COUNT // 8]
        colours[odd[::2]] += 1.2
        colours[odd[1::2]] -= 1.5
        fit = fit_light(colours, surface.normals, surface.areas * surface.facing * PLAIN_SKIN)
        assert np.abs(fit - clean)[(surface.facing > 0.5) & PLAIN_SKIN].max() < 0.1


class TestTransfer:
    def test_light_from_the_other_side_leaves_no_shaded_cheek(self) -> None:
        surface, side = measure_surface(make_mesh(), REGION), np.array([0, 0.7, 0, 0, 0, 0, 0, 0, 0])
        target, new = shade(surface, side), shade(surface, -side)
        transfer = compute_transfer(read(target), read(new), surface)
        assert transfer is not None
        cheeks = PLAIN_SKIN & (np.abs(surface.normals[:, 0]) > 0.5) & (surface.facing > 0.9)
        wanted = (target - new)[cheeks]
        assert np.abs(wanted).mean() > 0.9
        assert np.abs(transfer[cheeks] - wanted).mean() < 0.15 * np.abs(wanted).mean()

    def test_a_beard_does_not_tint_the_cheeks(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        target = shade(surface, LIGHT_LEFT)
        bearded = target.copy()
        bearded[BEARD_ZONE] = np.log([0.05, 0.05, 0.055])
        new = read(shade(surface, LIGHT_RIGHT))
        plain, veiled = (compute_transfer(read(colours), new, surface) for colours in (target, bearded))
        assert plain is not None
        assert veiled is not None
        assert np.abs(plain - veiled)[PLAIN_SKIN].max() < 0.02
        # Nor does it darken a chin that has none.
        assert np.abs(plain - veiled)[BEARD_ZONE].max() < 0.15

    def test_thick_brows_do_not_darken_those_of_the_new_face(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        target = shade(surface, LIGHT_LEFT)
        gaps = np.linalg.norm(CANONICAL[TRIANGLES].mean(1)[:, None] - CANONICAL[list(BROW_R + BROW_L)], axis=-1).min(1)
        browed = target.copy()
        browed[gaps < 9] = np.log([0.05, 0.05, 0.055])
        new = read(shade(surface, LIGHT_RIGHT))
        plain, dark = (compute_transfer(read(colours), new, surface) for colours in (target, browed))
        assert plain is not None
        assert dark is not None
        assert np.abs((dark - plain)[gaps < 4] @ LUMA_WEIGHTS).mean() < 0.1

    def test_the_new_face_keeps_its_own_beard(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        colours = shade(surface, LIGHT_RIGHT)
        bearded = colours.copy()
        bearded[BEARD_ZONE] -= 1.0
        target = read(shade(surface, LIGHT_LEFT))
        plain, own = (compute_transfer(target, read(new), surface) for new in (colours, bearded))
        assert plain is not None
        assert own is not None
        assert np.abs(plain - own).max() < 0.15

    def test_shine_comes_by_amount(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        plain = shade(surface, LIGHT_LEFT)
        shiny = plain.copy()
        spot = np.linalg.norm(CANONICAL[TRIANGLES].mean(1) - CANONICAL[4], axis=1) < 7  # the tip of the nose
        shiny[spot] += 0.5
        amounts = []
        for amount in (0.0, 0.5, 1.0):
            transfer = compute_transfer(read(shiny), read(plain), surface, amount)
            assert transfer is not None
            amounts.append(transfer[spot].mean())
        assert amounts[1] > amounts[0] + 0.05
        assert amounts[2] == pytest.approx(2 * amounts[1] - amounts[0], abs=0.03)

    def test_a_cast_shadow_comes_through_as_far_as_the_bound(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        plain = shade(surface, LIGHT_LEFT)
        shadow = plain.copy()
        places = CANONICAL[TRIANGLES].mean(1)
        dark = np.linalg.norm(places[:, :2] - (42, 25), axis=1) < 16
        shadow[dark] -= 0.4
        new = read(plain)
        change = compute_transfer(read(shadow), new, surface)
        assert change is not None
        assert -RESIDUAL_LIMIT - 0.1 < change[dark & PLAIN_SKIN].mean() < -0.12
        assert np.abs(change[PLAIN_SKIN & (places[:, 0] < 0)]).max() < 0.05

    def test_a_blotch_loses_its_hue_and_keeps_its_luma(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        plain = shade(surface, LIGHT_LEFT)
        spot = np.linalg.norm(CANONICAL[TRIANGLES].mean(1)[:, :2] - (40, 25), axis=1) < 7  # on the cheek
        shares = []
        for step in (np.ones(3), RED):
            blotched = plain.copy()
            blotched[spot] += 0.25 * step
            change = compute_transfer(read(plain), read(blotched), surface)
            assert change is not None
            shares.append(float(-change[spot].mean(0) @ step / (0.25 * step @ step)))
        assert shares[0] < 0.4
        assert shares[1] > 0.5

    @given(seed=st.integers(0, 10_000), size=st.floats(0.1, 6.0))
    @settings(max_examples=25, deadline=None)
    def test_no_gain_above_the_bounds(self, seed: int, size: float) -> None:
        """Whatever the two pictures show, the change stays within its bounds."""
        random = np.random.default_rng(seed)
        surface = measure_surface(make_mesh(float(random.uniform(-50, 50))), REGION)
        pair = [
            ReadSkin(random.normal(-1, size, (COUNT, 3)), random.uniform(0, 1, COUNT) * surface.facing)
            for _ in range(2)
        ]
        transfer = compute_transfer(pair[0], pair[1], surface, 1.0)
        assert transfer is not None
        assert np.abs(transfer).max() <= LEVEL_LIMIT + SHAPE_LIMIT + RESIDUAL_LIMIT + SHINE_LIMIT + 1e-9

    def test_too_little_skin_says_nothing(self) -> None:
        surface = measure_surface(make_mesh(), REGION)
        colours = shade(surface, LIGHT_LEFT)
        assert compute_transfer(read(colours, np.zeros(COUNT)), read(colours), surface) is None


class TestPicture:
    @pytest.mark.parametrize("skin", [SKIN, SKIN * 0.2], ids=["light skin", "dark skin"])
    def test_a_face_takes_on_the_target_light_and_tone(self, skin: np.ndarray) -> None:
        mesh = make_mesh()
        surface = measure_surface(mesh, REGION)
        new, target = draw(mesh, shade(surface, LIGHT_RIGHT)), draw(mesh, shade(surface, LIGHT_LEFT, skin))
        matched = read_skin(relight(mesh, new, target), cover(mesh), surface)
        wanted = read_skin(target, cover(mesh), surface)
        seen = PLAIN_SKIN & (surface.facing > 0.9)
        assert np.abs(matched.colours - wanted.colours)[seen].mean() < 0.08

    def test_a_face_in_the_target_light_stays(self) -> None:
        mesh = make_mesh()
        face = draw(mesh, shade(measure_surface(mesh, REGION), LIGHT_LEFT))
        inside = cv2.erode(cover(mesh), np.ones((9, 9))) > 0
        assert np.abs(relight(mesh, face, face) - face)[inside].max() < 0.003

    @pytest.mark.parametrize(("height", "most"), [(25, 0.45), (53, 0.53), (90, 0.5)], ids=["nose", "upper lip", "chin"])
    def test_the_edge_of_a_hard_shadow_leaves_a_weaker_line(self, height: float, most: float) -> None:
        """A smooth change of light alone leaves a step of 0.58 to 0.61 there."""
        mesh = make_mesh()
        target = draw(mesh, np.log(SKIN) + np.zeros((COUNT, 1)))
        shaded = (np.arange(SIDE) > SIDE / 2 + 3).astype(np.float32)
        new = target * np.exp(-0.8 * cv2.GaussianBlur(shaded[None], (0, 0), 1.5))[..., None]
        row, middle = int(SIDE / 2 - 25 + 1.1 * height), slice(SIDE // 2 - 30, SIDE // 2 + 30)
        luma = np.log((relight(mesh, new, target) / target)[row, middle] @ LUMA_WEIGHTS)
        assert np.ptp(luma) < most
        assert np.abs(luma[:20]).max() < 0.1, "and no halo beside it"

    def test_darkness_of_lips_is_no_shade(self) -> None:
        """Taken for a part of the shade in the middle of the face, lips lost a fifth of it."""
        mesh = make_mesh()
        skin = draw(mesh, np.log(SKIN) + np.zeros((COUNT, 1)))
        lips = cv2.GaussianBlur(draw_polygon(mesh[list(OUTER_LIPS), :2], REGION), (0, 0), 1)
        shaded = (np.abs(np.arange(SIDE) - SIDE / 2) < 45).astype(np.float32)
        shadow = np.exp(-0.8 * cv2.GaussianBlur(shaded[None], (0, 0), 1.5))[..., None]
        with_lips, without = (
            relight(mesh, picture * shadow, skin) for picture in (skin * (1 - 0.35 * lips[..., None]), skin)
        )
        row, columns = int(mesh[[14, 17], 1].mean()), slice(SIDE // 2 - 5, SIDE // 2 + 6)
        darkness = np.log(with_lips[row, columns] / without[row, columns]).mean() / np.log(1 - 0.35)
        assert 0.84 < darkness < 1.05

    def test_marks_of_the_skin_stay_in_another_light(self) -> None:
        mesh = make_mesh()
        surface = measure_surface(mesh, REGION)
        new = draw(mesh, shade(surface, LIGHT_LEFT))
        marked, at = new.copy(), (120, 160)
        cv2.circle(marked, at[::-1], 4, (0.5 * new[at]).tolist(), -1)
        target = draw(mesh, shade(surface, LIGHT_RIGHT))
        plain, spotted = (relight(mesh, picture, target)[at].mean() for picture in (new, marked))
        assert spotted < 0.65 * plain

    def test_amount(self) -> None:
        mesh = make_mesh()
        surface = measure_surface(mesh, REGION)
        new, target = draw(mesh, shade(surface, LIGHT_LEFT)), draw(mesh, shade(surface, LIGHT_LEFT, SKIN / 2))
        none, half, full = (relight(mesh, new, target, amount)[120, 120].mean() for amount in (0.0, 0.5, 1.0))
        assert none == pytest.approx(new[120, 120].mean(), rel=1e-4)
        assert full < half < none

    def test_coloured_light_reaches_the_teeth(self) -> None:
        mesh = make_mesh()
        surface = measure_surface(mesh, REGION)
        new = draw(mesh, shade(surface, LIGHT_LEFT))
        x, y = np.int32(mesh[list(INNER_LIPS), :2].mean(0))
        new[y - 3 : y + 4, x - 10 : x + 11] = 0.6
        blue = draw(mesh, shade(surface, LIGHT_LEFT, SKIN * (0.2, 0.5, 2.0)))
        matched = relight(mesh, new, blue)
        assert matched[y, x, 2] / matched[y, x, 0] > 1.8

    def test_negative_and_huge_values_stay_finite(self) -> None:
        mesh = make_mesh()
        face = draw(mesh, shade(measure_surface(mesh, REGION), LIGHT_LEFT))
        new = face.copy()
        new[120, 120], new[121, 120] = (-0.5, 0.2, 0.1), (60.0, 5.0, 4.0)
        for target in (face, np.zeros_like(face), np.full_like(face, 50.0)):
            assert np.isfinite(relight(mesh, new, target)).all()

    def test_a_face_beside_the_region_changes_nothing(self) -> None:
        mesh = make_mesh() + np.array([1000, 0, 0])
        face = np.full((SIDE, SIDE, 3), 0.2, np.float32)
        nothing = np.zeros((SIDE, SIDE), np.float32)
        matched = match_light(face, 2 * face, nothing, nothing, nothing, measure_surface(mesh, REGION), 1.0)
        assert np.array_equal(matched, face)


def test_single_precision_spreads_values_as_double_does() -> None:
    surface = measure_surface(make_mesh(25.0), REGION)
    values = np.random.default_rng(0).standard_normal((COUNT, 2))
    x, y = np.linspace(-40, 300, 18), np.linspace(-20, 260, 15)
    far = (x[None, :, None] - surface.places[:, 0]) ** 2 + (y[:, None, None] - surface.places[:, 1]) ** 2
    near_size, far_size = FIELD_SIGMA * surface.width, FIELD_REACH * surface.width
    weight = np.exp(-0.5 * far / near_size**2) + FAR_SHARE / (1 + far / far_size**2) ** 2
    weight *= surface.areas * (BACK_SHARE + surface.facing)
    expected = weight @ values / weight.sum(-1, keepdims=True)
    np.testing.assert_allclose(spread_to_knots(values, surface, x, y), expected, atol=2e-6)


def test_normals_do_not_depend_on_the_part_of_the_plate_that_is_looked_at() -> None:
    whole, part = (measure_surface(make_mesh(25.0), window) for window in (REGION, Window(37, 21, 90, 100)))
    assert np.array_equal(whole.normals, part.normals)
    np.testing.assert_allclose(whole.places - part.places, np.full((COUNT, 2), (37, 21)), atol=1e-9)
