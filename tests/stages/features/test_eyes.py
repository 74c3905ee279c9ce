"""Eyes and mouth of the new face, on a drawn face whose irises, lids and lips are known."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import CANONICAL, INNER_LIPS, LIDS_L, LIDS_R, OUTER_LIPS, read_landmarks68
from fsgan_core.plates.curve import LUMA_WEIGHTS, remove_shoulder
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image, Mesh
from fsgan_core.stages.features.eyes import close_lids, keep_eyes, set_eyes
from fsgan_core.stages.features.iris import IrisColour, compute_iris_tint, measure_iris, to_linear
from fsgan_core.stages.features.lips import STATIONS, LipEdges, draw_back_lips, find_lip_edges, find_mouth_axes
from fsgan_core.stages.features.mouth import cover_inner_mouth, keep_mouth, set_inner_mouth
from fsgan_core.stages.features.openings import (
    EYES,
    carry_irises,
    measure_lid_openings,
    measure_lip_opening,
    measure_ring_distance,
    measure_ring_width,
    square_points,
    take_shading,
    trace_ring,
)
from fsgan_core.stages.features.whites import cover_whites
from fsgan_core.stages.interface import SourceView

REGION = Window(10, 20, 300, 300)
SKIN, WHITE, TEETH, LIP = (0.7, 0.55, 0.45), (0.85, 0.84, 0.82), (0.95, 0.95, 0.9), (0.6, 0.3, 0.3)

NO_EDGES = LipEdges(np.zeros(STATIONS), np.zeros(STATIONS))


def make_mesh(lids: float = 1.0, lips: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Mesh:
    """The generic face in REGION, with its lids open by a share of its own opening, its lips by pixels."""
    mesh = np.array(CANONICAL) * 1.8 + (160.0, 130.0, 0.0)
    for ring in (LIDS_R, LIDS_L):
        for upper, lower in zip(ring[:8:-1], ring[1:8], strict=True):
            middle = (mesh[upper] + mesh[lower]) / 2
            half = np.array([0.0, 5.0, 0.0])
            mesh[upper], mesh[lower] = middle - lids * half, middle + lids * half
    half_count = len(INNER_LIPS) // 2
    for upper, lower in zip(INNER_LIPS[:half_count:-1], INNER_LIPS[1:half_count], strict=True):
        middle = (mesh[upper] + mesh[lower]) / 2
        half_gap = np.array([0.0, lips / 2, 0.0])
        mesh[upper], mesh[lower] = middle - half_gap, middle + half_gap
    for eye in EYES:
        centre = mesh[list(eye.lids)].mean(0)
        mesh[eye.iris] = centre + np.array([(0, 0, 0), (7, 0, 0), (0, 7, 0), (-7, 0, 0), (0, -7, 0)], float)
    return mesh + np.array([*shift, 0.0])


def make_view(display: Image, mesh: Mesh) -> SourceView:
    """A view on REGION that shows the face of a mesh."""
    face = Face(1, (0.0, 0.0, 1.0, 1.0), read_landmarks68(mesh), (0.0, 0.0, 0.0), 1.0, mesh=mesh)
    return SourceView(display, np.ones(display.shape[:2], np.float32), REGION, REGION, face)


def get_places() -> Image:
    x, y = np.arange(REGION.x, REGION.right), np.arange(REGION.y, REGION.bottom)
    return np.stack(np.meshgrid(x, y), -1).astype(np.float32)


def draw_face(mesh: Mesh, iris: tuple[float, float, float]) -> Image:
    """The face with whites, irises and catchlights inside its lids, and teeth inside its lips; display-like."""
    places = get_places()
    picture = np.full((REGION.height, REGION.width, 3), SKIN, np.float32)
    for eye in EYES:
        inside = measure_ring_distance(trace_ring(square_points(mesh, eye.lids, 1.0)), places) > 0
        radius = np.linalg.norm(places - mesh[eye.iris.start, :2], axis=-1)
        picture[inside] = WHITE
        picture[inside & (radius < 7)] = iris
        picture[inside & (radius < 2)] = 0.02
        picture[inside & (np.linalg.norm(places - mesh[eye.iris.start, :2] - (3, -3), axis=-1) < 1.2)] = 1.0
    picture[measure_ring_distance(trace_ring(square_points(mesh, OUTER_LIPS, 1.0)), places) > 0] = LIP
    picture[measure_ring_distance(trace_ring(square_points(mesh, INNER_LIPS, 1.0)), places) > 0] = TEETH
    return picture


def test_openings_follow_the_lids_and_lips() -> None:
    opened, shut = measure_lid_openings(make_mesh(1.0)), measure_lid_openings(make_mesh(0.0))
    assert opened.min() > 0.15 and shut.max() < 0.01
    assert measure_lip_opening(make_mesh(lips=8.0)) > measure_lip_opening(make_mesh()) + 0.03


def test_an_iris_is_measured_against_its_white() -> None:
    mesh = make_mesh()
    found = measure_iris([(draw_face(mesh, (0.35, 0.45, 0.6)), REGION, mesh, 1.0)])
    assert found is not None and found.eyes == 2
    expected = to_linear(np.array([[0.35, 0.45, 0.6]], np.float32))[0] / to_linear(np.array([WHITE], np.float32))[0]
    assert found.ratio == pytest.approx(expected, rel=0.05)


def test_shut_eyes_tell_no_colour() -> None:
    mesh = make_mesh(0.1)
    assert measure_iris([(draw_face(mesh, (0.3, 0.2, 0.1)), REGION, mesh, 1.0)]) is None


def test_the_kept_eyeball_is_the_plates_own() -> None:
    mesh = make_mesh()
    plate = draw_face(mesh, (0.3, 0.2, 0.1))
    kept = keep_eyes(plate, mesh, mesh, REGION, 1.0)
    assert np.array_equal(kept.picture, plate)
    for eye in EYES:
        distance = measure_ring_distance(trace_ring(square_points(mesh, eye.lids, 1.0)), get_places())
        assert kept.matte[distance > 3].min() == 1.0
    outside = np.ones_like(kept.matte, bool)
    for eye in EYES:
        outside &= measure_ring_distance(trace_ring(square_points(mesh, eye.lids, 1.0)), get_places()) < -0.1
    assert not kept.matte[outside].any()


def test_a_tint_changes_the_iris_alone() -> None:
    mesh = make_mesh()
    plate = draw_face(mesh, (0.3, 0.2, 0.15))
    blue = IrisColour(np.array([0.1, 0.15, 0.25]), 2, np.ones(3), np.full(2, 0.15), np.ones(3))
    brown = IrisColour(np.array([0.1, 0.08, 0.07]), 2, np.ones(3), np.full(2, 0.08), np.ones(3))
    tint = compute_iris_tint(blue, brown, 1.0)
    kept = keep_eyes(plate, mesh, mesh, REGION, 1.0, tint)
    changed = np.abs(kept.picture - plate).max(-1) > 1e-3
    assert changed.any()
    assert (plate[changed] <= 0.3).all(), "whites and catchlights stay"
    at = tuple(np.round(mesh[EYES[0].iris.start, :2] + (-4, 0)).astype(int) - (REGION.x, REGION.y))
    before, after = plate[at[1], at[0]], kept.picture[at[1], at[0]]
    assert after[2] / after[0] > 1.3 * before[2] / before[0]


@pytest.mark.parametrize(("white", "is_red"), [((0.4, 0.12, 0.08), True), ((0.6, 0.48, 0.4), False)])
def test_whites_redder_than_the_skin_become_plain(white: tuple[float, float, float], is_red: bool) -> None:
    """Whites in the shade of glasses; warm ones, no redder than the skin, stay to the bit."""
    mesh = make_mesh()
    plate = draw_face(mesh, (0.05, 0.04, 0.03))
    plate[(plate == np.array(WHITE, np.float32)).all(-1)] = white
    own = measure_iris([(plate, REGION, mesh, 1.0)])
    assert own is not None
    kept = keep_eyes(plate, mesh, mesh, REGION, 1.0, compute_iris_tint(own, own, 1.0))
    at = (plate == np.array(white, np.float32)).all(-1) & (kept.matte == 1)
    if not is_red:
        assert np.array_equal(kept.picture[at], plate[at])
        return
    linear = to_linear(np.median(kept.picture[at], axis=0)[None])[0]
    assert linear / linear.sum() == pytest.approx(np.sqrt(own.skin) / np.sqrt(own.skin).sum(), abs=0.02)
    assert linear @ LUMA_WEIGHTS == pytest.approx(to_linear(np.array([white]))[0] @ LUMA_WEIGHTS, rel=0.02)
    catchlights = (plate == 1).all(-1)
    assert np.abs(kept.picture - plate)[catchlights].max() < 1e-6


def test_a_brown_iris_against_a_red_white_is_not_green() -> None:
    """Behind tinted glasses, in a saturated picture, a white may be redder than the skin."""
    skin, neutral = np.array([1.99, 0.76, 0.43]), np.ones(3)
    red = IrisColour(np.array([0.094, 0.178, 0.109]), 2, np.array([3.05, 0.46, 0.31]), np.full(2, 0.16), skin)
    tint = compute_iris_tint(red, IrisColour(np.full(3, 0.1), 2, neutral, np.full(2, 0.1), neutral), 1.0)
    assert tint is not None and tint.colour[0] > tint.colour[1] > tint.colour[2]


def test_a_dark_iris_whose_blue_is_lost_in_noise_is_brown_and_not_orange() -> None:
    dark = IrisColour(np.array([0.15, 0.046, 0.0002]), 4, np.ones(3), np.full(2, 0.07), np.ones(3))
    light = IrisColour(np.array([0.3, 0.31, 0.3]), 4, np.ones(3), np.full(2, 0.3), np.ones(3))
    tint = compute_iris_tint(dark, light, 1.0)
    red, green, blue = tint.colour
    assert 1.5 < red / green < 2.5
    assert blue > 0.3 * red


def test_the_eyeball_moves_along_with_the_lids() -> None:
    target, goal = make_mesh(), make_mesh(shift=(4.0, -3.0))
    kept = keep_eyes(draw_face(target, (0.2, 0.2, 0.4)), target, goal, REGION, 1.0)
    wanted = draw_face(goal, (0.2, 0.2, 0.4))
    inside = kept.matte > 0.5
    assert inside.any()
    assert np.abs(kept.picture - wanted)[inside].mean() < 0.03


def move_irises(mesh: Mesh, across: float) -> Mesh:
    moved = mesh.copy()
    for eye in EYES:
        moved[eye.iris, 0] += across
    return moved


def test_a_gaze_is_the_targets_even_if_the_goal_carries_another_one() -> None:
    target = move_irises(make_mesh(), 4.0)
    goal = move_irises(make_mesh(shift=(4.0, -3.0)), -5.0)
    wanted = move_irises(make_mesh(shift=(4.0, -3.0)), 4.0)
    assert carry_irises(goal, target) == pytest.approx(wanted, abs=1e-6)


def test_the_sources_iris_is_lifted_off_and_set_where_the_target_looks() -> None:
    view, target = move_irises(make_mesh(), -5.0), move_irises(make_mesh(), 5.0)
    display = draw_face(view, (0.1, 0.2, 0.5))
    eyes = set_eyes(make_view(display, view), get_places(), target, target, REGION, 1.0, display.shape[:2])
    wanted = draw_face(target, (0.1, 0.2, 0.5))
    inside = eyes.matte > 0.9
    assert inside.sum() > 200
    assert np.abs(eyes.picture - wanted)[inside].mean() < 0.06
    assert np.abs(display - wanted)[inside].mean() > 0.2
    shut = make_mesh(0.0)
    assert not set_eyes(
        make_view(display, shut), get_places(), target, target, REGION, 1.0, display.shape[:2]
    ).matte.any()


def test_a_shut_eye_shows_no_eyeball() -> None:
    mesh = make_mesh(0.0)
    assert not keep_eyes(draw_face(mesh, (0.2, 0.2, 0.4)), mesh, mesh, REGION, 1.0).matte.any()


def test_closed_lids_hide_the_views_eyeball_and_take_the_plates_lashes() -> None:
    opened, shut = make_mesh(1.0), make_mesh(0.0)
    view = draw_face(opened, (0.1, 0.1, 0.3))  # as if a warp had not closed the eyes
    plate = np.full_like(view, (0.6, 0.5, 0.4))
    lashes = np.abs(get_places()[..., 1] - shut[list(LIDS_R), 1].mean()) < 1
    plate[lashes] = 0.1
    alpha = np.ones(view.shape[:2], np.float32)
    closed = close_lids(view, alpha, plate, shut, shut, measure_lid_openings(opened), REGION, 1.0)
    ring = measure_ring_distance(trace_ring(square_points(opened, LIDS_R, 1.0)), get_places()) > 0
    off_lashes = ring & (np.abs(get_places()[..., 1] - shut[list(LIDS_R), 1].mean()) > 4)
    assert np.abs(closed - SKIN)[off_lashes].max() < 0.15  # neither white nor iris
    assert closed[ring & lashes].mean() < 0.7 * np.mean(SKIN)
    assert close_lids(view, alpha, plate, opened, opened, measure_lid_openings(opened), REGION, 1.0) is view


def test_a_lid_that_shines_on_bright_skin_is_no_light() -> None:
    """In display-like values a fifth more than 0.83 is not a fifth more light, but thirty times as much."""
    opened, shut = make_mesh(1.0), make_mesh(0.0)
    view = draw_face(opened, (0.1, 0.1, 0.3))
    view[np.abs(view - SKIN).max(-1) < 1e-3] = (0.83, 0.8, 0.78)
    plate = np.full_like(view, (0.6, 0.5, 0.4))
    middle = shut[list(LIDS_R), :2].mean(0)
    shine = np.linalg.norm(get_places() - middle + (0, 6), axis=-1) < 4
    plate[shine] *= 1.3
    alpha = np.ones(view.shape[:2], np.float32)
    closed = close_lids(view, alpha, plate, shut, shut, measure_lid_openings(opened), REGION, 1.0)
    linear = to_linear(remove_shoulder(closed))[..., 0]
    assert 1.1 < linear[shine].max() / linear[~shine].max() < 2.5


def test_the_line_of_lashes_is_no_flat_bar() -> None:
    """Lashes that are darker in the middle of a shut eye than at its corners are so on the new face."""
    luma = np.zeros((40, 100), np.float32)
    luma[18:22, 10:90] = -1.1
    luma[18:22, 40:60] = -1.4
    distance = np.where(luma < 0, 1.0, -30.0).astype(np.float32)
    change = take_shading(luma, np.zeros_like(luma), distance, 80.0, 1.0)
    assert change[20, 50] < change[20, 25] - 0.2


@pytest.mark.parametrize(("lash", "is_redder"), [((0.2, 0.1, 0.08), True), ((0.1, 0.15, 0.3), False)])
def test_the_line_between_lids_is_as_red_as_the_plates_and_never_blue(
    lash: tuple[float, float, float], is_redder: bool
) -> None:
    """Skin that is only made darker looks olive; a line that is bluer than skin is a reflection on glasses."""
    opened, shut = make_mesh(1.0), make_mesh(0.0)
    view = draw_face(opened, (0.1, 0.1, 0.3))
    plate = np.full_like(view, (0.6, 0.5, 0.4))
    lashes = np.abs(get_places()[..., 1] - shut[list(LIDS_R), 1].mean()) < 2
    plate[lashes] = lash
    alpha = np.ones(view.shape[:2], np.float32)
    closed = close_lids(view, alpha, plate, shut, shut, measure_lid_openings(opened), REGION, 1.0)
    middle = shut[list(LIDS_R), :2].mean(0)
    near = closed[np.linalg.norm(get_places() - middle, axis=-1) < 2].mean(0)
    hue = np.log(near / SKIN)
    assert hue @ LUMA_WEIGHTS < -0.5
    assert (hue[0] - hue[1] > 0.1) == is_redder
    assert abs(hue[2] - hue[1]) < 0.3
    off_line = closed[np.linalg.norm(get_places() - middle - (0, 9), axis=-1) < 2].mean(0)
    np.testing.assert_allclose(off_line, SKIN, atol=0.05)


def test_whites_that_the_mesh_of_a_view_misses_are_covered() -> None:
    goal, alpha = make_mesh(1.0), np.ones((REGION.height, REGION.width), np.float32)
    view = draw_face(make_mesh(1.6), (0.3, 0.2, 0.1))  # its whites reach beyond the lids that the mesh says
    outwards = np.min(
        [-measure_ring_distance(trace_ring(square_points(goal, eye.lids, 1.0)), get_places()) for eye in EYES], axis=0
    )
    beside, dark = (outwards > 0) & (outwards < 2), np.arange(REGION.width) % 5 == 0
    view[beside & dark] = 0.1  # lashes
    covered = cover_whites(view, alpha, draw_face(goal, (0.3, 0.2, 0.1)), goal, REGION, 1.0)
    white = beside & (view.min(-1) > 0.8)
    assert white.sum() > 20
    assert np.abs(covered - SKIN)[white].max() < 0.03
    assert np.array_equal(covered[beside & dark], view[beside & dark])
    assert np.array_equal(covered[outwards > 12], view[outwards > 12])
    assert np.array_equal(cover_whites(view, alpha, view, goal, REGION, 1.0), view), "a face on itself stays"


def make_half_shut_mesh(right: float, left: float) -> Mesh:
    """The face of `make_mesh` with each eye open by a share of its own."""
    mesh = make_mesh(right)
    mesh[list(LIDS_L)] = make_mesh(left)[list(LIDS_L)]
    return mesh


@pytest.mark.parametrize(("right", "is_closed"), [(0.65, True), (1.0, False)], ids=["half-shut", "wink"])
def test_half_shut_eyes_close_alike_and_winks_stay(right: float, is_closed: bool) -> None:
    """A mesh that has one of two half-shut eyes less open says nothing about whose lids show."""
    target, opened = make_half_shut_mesh(right, 0.3), make_mesh(1.0)
    openings = measure_lid_openings(opened)
    view = draw_face(opened, (0.1, 0.1, 0.3))
    closed = close_lids(view, np.ones(view.shape[:2], np.float32), view, target, target, openings, REGION, 1.0)
    change = np.abs(closed - view).max(-1)
    right_half = get_places()[..., 0] < 160
    assert (change[right_half].max() > 0.3) == is_closed
    assert change[~right_half].max() > 0.3


def test_an_eye_that_turns_away_is_no_further_open() -> None:
    turn = np.radians(40)
    turned = make_mesh() @ [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    np.testing.assert_allclose(measure_lid_openings(turned), measure_lid_openings(make_mesh()), rtol=0.1)


def mark_inner_lips(mesh: Mesh) -> AnyArray:
    return measure_ring_distance(trace_ring(square_points(mesh, INNER_LIPS, 1.0)), get_places())


def test_lips_are_continued_over_teeth_that_the_mesh_misses() -> None:
    smiling, measured = make_mesh(lips=10.0), make_mesh(lips=6.0)
    view = draw_face(smiling, (0.2, 0.2, 0.4))
    closed = cover_inner_mouth(view, get_places(), make_view(view, measured), measured, NO_EDGES, REGION, 1.0)
    inner = mark_inner_lips(smiling) > 0
    assert np.abs(view - LIP)[inner].max() > 0.3
    assert np.percentile(np.abs(closed - LIP)[inner], 90) < 0.1
    far = measure_ring_distance(trace_ring(square_points(smiling, OUTER_LIPS, 1.0)), get_places()) < -1
    np.testing.assert_array_equal(closed[far], view[far])


def test_shut_lips_have_the_line_of_the_plate_and_no_teeth() -> None:
    shut = make_mesh()
    closed = np.full((REGION.height, REGION.width, 3), LIP, np.float32)
    plate = draw_face(shut, (0.2, 0.2, 0.4))
    line = np.abs(mark_inner_lips(shut)) < 1
    plate[line] = 0.1
    teeth = draw_face(make_mesh(lips=10.0), (0.2, 0.2, 0.4))
    mouth = set_inner_mouth(
        closed, teeth, plate, shut, shut, find_lip_edges(plate, shut, REGION, 1.0), REGION, 1.0, True
    )
    assert not mouth.matte[np.abs(mark_inner_lips(shut)) > 8].any()
    assert np.median(mouth.matte[line]) < 0.1, "the line is the new lips' own shadow"
    between = np.abs(get_places()[..., 0] - shut[13, 0]) < 35
    assert mouth.picture[between].max() <= max(LIP) + 0.05
    assert np.median(mouth.picture[line]) < 0.25
    width = measure_ring_width(square_points(shut, INNER_LIPS, 1.0))
    beyond = mark_inner_lips(shut) < -0.2 * width  # nearer, the dark of the corners is the plate's
    np.testing.assert_array_equal(mouth.picture[beyond], closed[beyond])


def test_the_line_between_shut_lips_is_a_shadow_of_the_new_lips() -> None:
    shut, pale = make_mesh(), np.array((0.7, 0.6, 0.6), np.float32)
    closed = np.broadcast_to(pale, (REGION.height, REGION.width, 3)).copy()
    plate = draw_face(shut, (0.2, 0.2, 0.4))
    line = np.abs(mark_inner_lips(shut)) < 1
    plate[line] = np.array(LIP) * 0.4  # of a redder lip
    edges = find_lip_edges(plate, shut, REGION, 1.0)
    mouth = set_inner_mouth(closed, closed, plate, shut, shut, edges, REGION, 1.0, False)
    shown = np.median(mouth.picture[line], axis=0)
    assert shown.max() < 0.7 * pale.max(), "it is dark"
    assert shown[0] / shown[1] < 1.3 * pale[0] / pale[1] < 0.8 * LIP[0] / LIP[1], "in the new lips' hue"


def test_teeth_tint_at_least_a_pixel_of_thin_lips() -> None:
    mouth = find_mouth_axes(make_mesh(lips=6.0) / 6, 1.0)  # lips of two to three pixels
    drawn = draw_back_lips(NO_EDGES, mouth, 1.0)
    at = np.linspace(0, mouth.width, STATIONS)
    tall = np.interp(at, mouth.along, mouth.lower_outer) - np.interp(at, mouth.along, mouth.lower)
    middle = slice(STATIONS // 3, -STATIONS // 3)
    assert (tall[middle] > 2.7).all() and (drawn.lower * tall)[middle].min() >= 1.2
    assert not draw_back_lips(NO_EDGES, mouth, 0.0).lower.any()


def test_an_open_mouth_shows_the_plate_or_the_source() -> None:
    mesh = make_mesh(lips=14.0)
    closed = np.full((REGION.height, REGION.width, 3), LIP, np.float32)
    plate = draw_face(mesh, (0.2, 0.2, 0.4))
    kept = set_inner_mouth(
        closed, closed, plate, mesh, mesh, find_lip_edges(plate, mesh, REGION, 1.0), REGION, 1.0, False
    )
    deep = (mark_inner_lips(mesh) > 4) & (np.abs(get_places()[..., 0] - mesh[13, 0]) < 20)
    assert kept.matte[deep].min() > 0.9 and np.abs(kept.picture - TEETH)[deep].max() < 0.1
    assert not kept.matte[mark_inner_lips(mesh) < -8].any()
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    shown = set_inner_mouth(closed, np.full_like(closed, 0.2), plate, mesh, mesh, edges, REGION, 1.0, True)
    assert not shown.matte.any() and np.abs(shown.picture - 0.2)[deep].max() < 0.05


def test_dark_gaps_beside_teeth_never_fall_below_black() -> None:
    """A pale lip of the plate gives way to a darker one: what is left of a dark gap is never less than nothing."""
    mesh = make_mesh(lips=14.0)
    closed = np.full((REGION.height, REGION.width, 3), 0.45 * np.array(LIP), np.float32)
    plate = draw_face(mesh, (0.2, 0.2, 0.4))
    gaps = (mark_inner_lips(mesh) > -4) & (np.arange(REGION.width) % 12 < 2)
    plate[gaps] = (0.12, 0.03, 0.03)
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    mouth = set_inner_mouth(closed, closed, plate, mesh, mesh, edges, REGION, 1.0, False)
    assert (mouth.picture > 0.4 * plate)[gaps].all()


@pytest.mark.parametrize("shine", [(0.89, 0.52, 0.52), (0.98, 0.27, 0.27)])
def test_shine_on_a_painted_lip_is_no_tooth(shine: tuple[float, float, float]) -> None:
    """A red lip that the mesh takes for an open mouth: where it shines it is less red, or as red and brighter."""
    mesh = make_mesh(lips=14.0)
    closed = np.full((REGION.height, REGION.width, 3), LIP, np.float32)
    plate = draw_face(mesh, (0.2, 0.2, 0.4))
    inside = mark_inner_lips(mesh)
    plate[measure_ring_distance(trace_ring(square_points(mesh, OUTER_LIPS, 1.0)), get_places()) > 0] = (0.7, 0.2, 0.2)
    plate[inside > 3] = shine
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    mouth = set_inner_mouth(closed, closed, plate, mesh, mesh, edges, REGION, 1.0, False)
    deep = (inside > 4) & (np.abs(get_places()[..., 0] - mesh[13, 0]) < 20)
    assert mouth.matte[deep].max() < 0.25
    assert (mouth.picture - closed)[deep].max() < 0.12
    plate = np.where(inside[..., None] > 3, np.float32(TEETH), plate)
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    mouth = set_inner_mouth(closed, closed, plate, mesh, mesh, edges, REGION, 1.0, False)
    assert mouth.matte[deep].min() > 0.85, "teeth are teeth"


def make_uneven(picture: Image, strength: float) -> Image:
    """The picture with columns whose colours are off at random, as compression leaves them."""
    columns = np.random.default_rng(1).uniform(-strength, strength, (1, *picture.shape[1:]))
    return np.asarray(np.clip(picture * (1 + columns), 0, 1), np.float32)


def measure_unevenness(picture: AnyArray) -> float:
    """Mean change from pixel to pixel along the mouth."""
    return float(np.abs(np.diff(picture, axis=1)).mean())


def test_an_uneven_plate_does_not_fray_the_edge_of_teeth() -> None:
    mesh = make_mesh(lips=24.0)
    closed = np.full((REGION.height, REGION.width, 3), LIP, np.float32)
    plate = draw_face(mesh, (0.2, 0.2, 0.4))
    mattes = [
        set_inner_mouth(
            closed, closed, one, mesh, mesh, find_lip_edges(plate, mesh, REGION, 1.0), REGION, 1.0, False
        ).matte
        for one in (plate, make_uneven(plate, 0.3))
    ]
    assert measure_unevenness(mattes[1]) < 1.2 * measure_unevenness(mattes[0])


def test_teeth_show_inside_the_lips_alone() -> None:
    target, goal = make_mesh(lips=10.0), make_mesh(lips=10.0, shift=(3.0, 2.0))
    kept = keep_mouth(draw_face(target, (0.2, 0.2, 0.4)), target, goal, REGION, 1.0)
    distance = measure_ring_distance(trace_ring(square_points(goal, INNER_LIPS, 1.0)), get_places())
    assert not kept.matte[distance < -0.1].any()
    assert np.abs(kept.picture - TEETH)[kept.matte > 0.9].max() < 0.1
    assert not keep_mouth(draw_face(make_mesh(), (0, 0, 0)), make_mesh(), make_mesh(), REGION, 1.0).matte.any()
