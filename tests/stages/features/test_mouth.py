"""Mouth of the new face: where lips end, and what of the plate shows between the new ones."""

from __future__ import annotations

import numpy as np

from fsgan_core.faces.mesh import CANONICAL, INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.plate import Window
from fsgan_core.stages.features.lips import (
    STATIONS,
    LipEdges,
    continue_lips,
    find_lip_edges,
    find_mouth_axes,
    mark_other_than_lip,
    measure_lip_places,
)
from fsgan_core.stages.features.mouth import draw_lip_line, set_inner_mouth
from fsgan_core.stages.features.openings import measure_lip_opening
from fsgan_core.stages.image_ops import draw_polygon

SIDE = 320
REGION = Window(0, 0, SIDE, SIDE)
MESH = CANONICAL * 2.2 + (SIDE / 2, SIDE / 2 - 60, 0)
SKIN, NEW_LIP = np.array([0.75, 0.6, 0.52]), np.array([0.65, 0.42, 0.4])
RED, LIT_RED, SHADOW, DARK = (
    np.array(c) for c in ((0.6, 0.13, 0.16), (0.82, 0.42, 0.45), (0.16, 0.05, 0.05), (0.12, 0.04, 0.04))
)


def open_mouth(mesh: np.ndarray, gap: float) -> np.ndarray:
    """The mesh with the lower lip further down, most in the middle."""
    result = mesh.copy()
    for ring in (INNER_LIPS, OUTER_LIPS):
        half = len(ring) // 2
        for number, vertex in enumerate(ring[1:half], start=1):
            result[vertex, 1] += gap * np.sin(np.pi * number / half)
    return result


def draw_mouth(mesh: np.ndarray, upper: np.ndarray, lower: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Skin with two lips, and what is between them."""
    outer, inner = (draw_polygon(mesh[list(ring), :2], REGION, 0.5)[..., None] for ring in (OUTER_LIPS, INNER_LIPS))
    is_lower = np.arange(SIDE)[:, None, None] > mesh[list(INNER_LIPS), 1].mean()
    picture = SKIN + outer * (np.where(is_lower, lower, upper) - SKIN)
    return np.asarray(picture if inside is None else picture + inner * (inside - picture), np.float32)


def test_light_on_a_painted_lip_is_no_end_of_it() -> None:
    picture = draw_mouth(MESH, RED, RED)
    mouth = find_mouth_axes(MESH, 1.0)
    rows = np.arange(SIDE)[:, None] - mouth.origin[1]
    lower, outer = (
        np.interp(np.arange(SIDE) - mouth.origin[0], mouth.along, c) for c in (mouth.lower, mouth.lower_outer)
    )
    lit = (rows > lower) & (rows < lower + 0.4 * (outer - lower))
    picture[lit] = LIT_RED
    middle = slice(16, 32)
    assert find_lip_edges(picture, MESH, REGION, 1.0).lower[middle].max() < 0.2


def test_an_open_mouth_is_dark_up_to_an_upper_lip_in_a_shadow() -> None:
    mesh = open_mouth(MESH, 18.0)
    assert measure_lip_opening(mesh) > 0.1
    plate, new = draw_mouth(mesh, SHADOW, LIT_RED, DARK), draw_mouth(mesh, NEW_LIP, NEW_LIP)
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    seen = set_inner_mouth(new, new, plate, mesh, mesh, edges, REGION, 1.0, is_source=False)
    inside = draw_polygon(mesh[list(INNER_LIPS), :2], REGION, 2.0) > 0.95
    assert inside.sum() > 100
    assert np.abs(seen.picture - DARK)[inside].max() < 0.06
    lips = draw_polygon(mesh[list(OUTER_LIPS), :2], REGION, 1.0) * (
        1 - draw_polygon(mesh[list(INNER_LIPS), :2], REGION, 4.0)
    )
    assert np.abs(seen.picture - NEW_LIP)[lips > 0.99].max() < 0.1


def paint_corners(picture: np.ndarray, mesh: np.ndarray, tall: float, colour: np.ndarray) -> np.ndarray:
    """The picture with dark at both corners of the mouth, so many rows high."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    for x, y in mesh[[INNER_LIPS[0], INNER_LIPS[len(INNER_LIPS) // 2]], :2]:
        dark = np.clip(1.5 - np.hypot((columns - x) / 2.5, rows - y) / tall, 0, 1)[..., None]
        picture = picture + dark * (colour - picture)
    return np.asarray(picture, np.float32)


def find_corner_values(picture: np.ndarray) -> list[float]:
    corners = MESH[[INNER_LIPS[0], INNER_LIPS[len(INNER_LIPS) // 2]], :2].astype(int)
    return [float(picture[y - 6 : y + 7, x - 4 : x + 5].mean(-1).min()) for x, y in corners]


def set_shut_mouth(plate: np.ndarray, new: np.ndarray) -> np.ndarray:
    edges = find_lip_edges(plate, MESH, REGION, 1.0)
    return set_inner_mouth(new, new, plate, MESH, MESH, edges, REGION, 1.0, is_source=False).picture


def test_the_corners_of_the_new_mouth_are_as_dark_as_the_plates() -> None:
    """The source's own would be blots: its mouth was open, or its corners lie elsewhere."""
    plain, new = draw_mouth(MESH, RED, RED), draw_mouth(MESH, NEW_LIP, NEW_LIP)
    dark_plate, dark_new = paint_corners(plain, MESH, 2.0, 0.3 * RED), paint_corners(new, MESH, 3.0, DARK)
    bright, dark = (find_corner_values(set_shut_mouth(plate, dark_new)) for plate in (plain, dark_plate))
    skin = find_corner_values(set_shut_mouth(plain, new))
    assert min(bright) > min(skin) - 0.05  # no dark in the plate: none is left
    assert max(dark) < min(skin) - 0.08  # the plate's is taken


def test_the_corners_of_an_open_mouth_have_the_plates_contrast() -> None:
    """They are not to be sharpened or darkened again; the lips are."""
    mesh = open_mouth(MESH, 18.0)
    finished = draw_lip_line(mesh, REGION, 1.0)
    for x, y in mesh[[INNER_LIPS[0], INNER_LIPS[len(INNER_LIPS) // 2]], :2].astype(int):
        assert finished[y - 1 : y + 2, x - 1 : x + 2].min() > 0.9
    assert finished[:, SIDE // 2 - 5 : SIDE // 2 + 5].max() == 0


def test_teeth_in_red_light_are_teeth() -> None:
    """Else the new lip would show through them."""
    mesh, pink = open_mouth(MESH, 18.0), np.array([0.8, 0.62, 0.59])
    lip = np.array([0.62, 0.4, 0.38])
    plate, new = draw_mouth(mesh, lip, lip, pink), draw_mouth(mesh, 0.5 * NEW_LIP, 0.5 * NEW_LIP)
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    seen = set_inner_mouth(new, new, plate, mesh, mesh, edges, REGION, 1.0, is_source=False)
    inside = draw_polygon(mesh[list(INNER_LIPS), :2], REGION, 2.0) > 0.95
    assert np.abs(seen.picture - pink)[inside].mean() < 0.05


def paint_stripes(picture: np.ndarray, rows: slice, columns: slice, strength: float) -> np.ndarray:
    """The picture with fine upright stripes, as teeth and wrinkles leave them at the edge of a lip."""
    result = picture.copy()
    result[rows, columns] *= 1 - strength * (np.arange(SIDE)[columns] // 2 % 2)[:, None]
    return result


def test_a_lip_is_continued_without_stripes() -> None:
    """One line of its texture, drawn on over the mouth, would look like teeth or streaks."""
    mesh = open_mouth(MESH, 18.0)
    middle, inner = slice(SIDE // 2 - 20, SIDE // 2 + 20), int(mesh[INNER_LIPS[5], 1])
    plain = draw_mouth(mesh, NEW_LIP, NEW_LIP)
    striped = paint_stripes(plain, slice(inner - 4, inner + 12), middle, 0.2)
    mouth = find_mouth_axes(mesh, 1.0)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    places, none = np.stack([x, y], -1), LipEdges(np.zeros(STATIONS), np.zeros(STATIONS))
    lips = measure_lip_places(mouth, places)
    closed = continue_lips(striped, places, lips, mouth, none, none, 1.0)
    between = (lips.across < lips.lower - 3) & (lips.across > lips.middle + 3)
    between[:, : middle.start + 4] = between[:, middle.stop - 4 :] = False
    assert between.sum() > 200
    assert np.ptp(closed[between][:, 0]) < 0.25 * np.ptp(striped[inner + 3, middle, 0])


def test_the_sources_crease_beside_a_corner_goes_and_a_fold_stays() -> None:
    """Else there are two lines with a gap: where the plate's ends, and where the source's goes on."""
    plain = draw_mouth(MESH, RED, RED)
    new = draw_mouth(MESH, NEW_LIP, NEW_LIP)
    width = find_mouth_axes(MESH, 1.0).width
    x, y = MESH[INNER_LIPS[len(INNER_LIPS) // 2], :2].astype(int)
    x += round(0.09 * width)
    beside = slice(y - 12, y + 13), slice(x - 2, x + 3)
    creased, folded = new.copy(), new.copy()
    creased[y : y + 2, x - 12 : x + 13] *= 0.5
    folded[y - 30 : y + 31, x - 3 : x + 3] *= 0.5
    without, crease, fold = (set_shut_mouth(plain, one)[beside].mean(-1) for one in (new, creased, folded))
    assert (without - crease).max() < 0.05
    assert (without - fold).max(1).min() > 0.2


def test_a_tongue_is_no_lip() -> None:
    """It is as red; a mouth that is wide open would be full of the new lip."""
    mesh = open_mouth(MESH, 30.0)
    lip = np.array([0.62, 0.4, 0.38])
    plate, new = draw_mouth(mesh, lip, lip, 0.92 * lip), draw_mouth(mesh, RED, RED)
    edges = find_lip_edges(plate, mesh, REGION, 1.0)
    seen = set_inner_mouth(new, new, plate, mesh, mesh, edges, REGION, 1.0, is_source=False)
    deep = draw_polygon(mesh[list(INNER_LIPS), :2], REGION, 1.0)
    x, y = mesh[list(INNER_LIPS), :2].mean(0).astype(int)
    assert deep[y - 2 : y + 3, x - 15 : x + 16].min() > 0.9
    assert np.abs(seen.picture - 0.92 * lip)[y - 2 : y + 3, x - 15 : x + 16].max() < 0.03


def test_a_faint_shadow_between_lips_is_one() -> None:
    """Else the line where they meet would be broken in the middle of a mouth, where it is fainter."""
    lip = np.full((1, 3, 3), NEW_LIP, np.float32)
    shades = np.float32([1.0, 0.8, 0.65])[:, None]
    dark, _ = mark_other_than_lip(lip * shades, lip, 0.12)
    assert dark[0, 0] == 0
    assert dark[0, 1] > 0.15
    assert dark[0, 2] > 0.9
