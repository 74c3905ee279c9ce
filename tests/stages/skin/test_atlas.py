"""The atlas: views resampled to texture coordinates, fused, and holes filled."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fsgan_core.contract.layers import ATLAS_REGIONS
from fsgan_core.faces.face import make_face
from fsgan_core.faces.mesh import CANONICAL, SKIN_COUNT, UV, read_landmarks68
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import Image, Matte, Mesh
from fsgan_core.stages.interface import SourceView
from fsgan_core.stages.mesh_warp import find_visible_vertices
from fsgan_core.stages.skin import atlas
from fsgan_core.stages.skin.face_regions import draw_face_area, draw_regions, to_texels
from fsgan_core.stages.warp import fit_spline_map, sample_picture

SIZE, SIDE = 256, 240
SKIN = np.array([0.7, 0.5, 0.42], np.float32)


def make_mesh(yaw: float = 0.0) -> Mesh:
    """The generic face, 1.2 pixels a millimetre, turned and in the middle of a picture."""
    angle = np.radians(yaw)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    mesh = (CANONICAL - (0, 20, 70)) @ turn.T * 1.2
    return np.asarray(np.add(mesh, (SIDE / 2, SIDE / 2, 0)))


def make_texture() -> Image:
    """Skin with fine stripes and a mole on the picture's left cheek."""
    texture = np.broadcast_to(SKIN, (SIZE, SIZE, 3)).copy()
    texture += 0.03 * np.sin(np.arange(SIZE) / 3)[None, :, None]
    row, column = locate_mole()
    texture[row - 4 : row + 5, column - 4 : column + 5] = (0.3, 0.2, 0.15)
    return texture.astype(np.float32)


def locate_mole() -> tuple[int, int]:
    column, row = np.round(to_texels(UV[50], SIZE)).astype(int)
    return int(row), int(column)


def show_texture(texture: Image, mesh: Mesh) -> Image:
    """The texture on the face, as a picture."""
    window = Window(0, 0, SIDE, SIDE)
    front = find_visible_vertices(mesh)[:SKIN_COUNT] > 0
    places = to_texels(UV[:SKIN_COUNT], SIZE)[front]
    mapping = fit_spline_map(mesh[:SKIN_COUNT, :2][front], places, window, np.full(int(front.sum()), 1e-6))
    return sample_picture(texture, np.clip(mapping, 0, SIZE - 1))


def make_view(texture: Image, yaw: float = 0.0, gain: float = 1.0) -> atlas.AtlasView:
    mesh, window = make_mesh(yaw), Window(0, 0, SIDE, SIDE)
    face = make_face(1, read_landmarks68(mesh), 1.0)
    picture = show_texture(texture, mesh) * np.float32(gain)
    return atlas.AtlasView(SourceView(picture, np.ones((SIDE, SIDE), np.float32), window, window, face), mesh)


def measure_difference(fused: Image, texture: Image, confidence: Matte) -> float:
    """Mean difference where the atlas is sure, apart from the level."""
    sure = confidence > 0.99
    difference = (fused - texture)[sure]
    return float(np.abs(difference - np.median(difference, 0)).mean())


def test_regions_are_symmetric_and_lie_on_the_face() -> None:
    regions = draw_regions(SIZE)
    assert tuple(regions) == ATLAS_REGIONS
    area = draw_face_area(SIZE)
    for name, matte in regions.items():
        assert matte.max() > 0.5, name
        assert np.abs(matte - matte[:, ::-1]).mean() < 0.002, name
        assert (matte * (1 - area)).mean() < 0.004, name
    rows = {name: np.average(np.arange(SIZE), weights=matte.sum(1)) for name, matte in regions.items()}
    assert rows["forehead"] < rows["brows"] < rows["eyes"] < rows["nostrils"] < rows["lips"] < rows["chin"]


def test_view_map_meets_the_vertices() -> None:
    mesh = make_mesh(25)
    found = atlas.compute_view_map(mesh, SIZE)
    texels = to_texels(UV[:SKIN_COUNT], SIZE).astype(np.float32)
    there = cv2.remap(found, texels[None, :, 0], texels[None, :, 1], cv2.INTER_LINEAR)[0]
    assert np.abs(there - mesh[:SKIN_COUNT, :2]).max() < 0.5


def test_one_view_gives_its_texture_back() -> None:
    texture = make_texture()
    fused, confidence = atlas.fuse_views([make_view(texture)], SIZE)
    assert fused.shape == (SIZE, SIZE, 3) and confidence.max() == pytest.approx(1)
    assert measure_difference(fused, texture, confidence) < 0.02
    row, column = locate_mole()
    assert fused[row, column].mean() < 0.35


def test_views_without_skin_give_an_atlas_that_is_sure_of_nothing() -> None:
    view = make_view(make_texture())
    hidden = replace(view, view=replace(view.view, matte=np.zeros_like(view.view.matte)))
    fused, confidence = atlas.fuse_views([hidden, hidden], SIZE)
    assert np.isfinite(fused).all()
    assert not confidence.any()


def test_what_moves_over_the_skin_drops_out() -> None:
    texture = make_texture()
    views = [make_view(texture, yaw) for yaw in (-20, -10, 0, 10, 20)]
    hand = views[2].view.display.copy()
    hand[120:160, 80:160] = (0.1, 0.5, 0.1)
    views[2] = replace(views[2], view=replace(views[2].view, display=hand))
    fused, confidence = atlas.fuse_views(views, SIZE)
    assert measure_difference(fused, texture, confidence) < 0.02
    assert (fused[..., 1] - fused[..., 0])[confidence > 0.9].max() < 0


def test_the_light_of_each_view_is_taken_out() -> None:
    texture = make_texture()
    bright = make_view(texture, 15, 1.2)
    shade = np.linspace(0.5, 1.0, SIDE, dtype=np.float32)[None, :, None]
    dark = make_view(texture, -15)
    dark = replace(dark, view=replace(dark.view, display=dark.view.display * shade))
    fused, confidence = atlas.fuse_views([bright, dark, make_view(texture)], SIZE)
    assert measure_difference(fused, texture, confidence) < 0.035


def test_a_hidden_half_comes_from_the_other_one() -> None:
    texture = make_texture()
    view = make_view(texture)
    matte = view.view.matte.copy()
    matte[:, SIDE // 2 + 20 :] = 0
    fused, confidence = atlas.fuse_views([replace(view, view=replace(view.view, matte=matte))], SIZE)
    row, column = locate_mole()
    assert fused[row, SIZE - 1 - column].mean() < 0.4  # the mole, mirrored
    assert confidence[row, SIZE - 1 - column] == pytest.approx(atlas.MIRROR_CONFIDENCE, abs=0.05)


def test_hair_in_the_corner_of_an_eye_does_not_spread_over_the_temple() -> None:
    """The opening of an eye is kept, though it may show hair there, but it does not say how skin goes on."""
    texture = make_texture()
    row, column = np.round(to_texels(UV[33], SIZE)).astype(int)[::-1]
    texture[row - 6 : row + 7, : column + 4] = 0.1
    view = make_view(texture)
    matte = view.view.matte.copy()
    matte[:, : round(float(view.mesh[133, 0]))] = 0  # hidden as far as the inner corner of that eye
    fused, confidence = atlas.fuse_views([replace(view, view=replace(view.view, matte=matte))], SIZE)
    beside = slice(row - 12, row + 13), slice(column - 20, column - 4)
    mirrored = atlas.mirror_texels(fused)[beside]
    assert (confidence[beside] > 0).any()
    assert np.abs(fused[beside] - mirrored).max() < 0.1


def test_push_pull_keeps_what_is_known() -> None:
    generator = np.random.default_rng(1)
    values = generator.random((37, 50, 3)).astype(np.float32)
    weight = np.zeros((37, 50), np.float32)
    weight[10:20, 10:30] = 1
    filled = atlas.push_pull(values, weight)
    assert np.array_equal(filled[12, 15], values[12, 15])
    known = values[weight > 0]
    assert known.min() - 1e-4 <= filled.min() and filled.max() <= known.max() + 1e-4


def test_blend_to_membrane_has_no_seam() -> None:
    picture, fill = np.full((40, 40, 3), 0.6, np.float32), np.full((40, 40, 3), 0.2, np.float32)
    weight = np.zeros((40, 40), np.float32)
    weight[:, :20] = 1
    assert np.allclose(atlas.blend_to_membrane(picture, weight, fill), 0.6, atol=1e-4)


def test_atlas_size_follows_the_source() -> None:
    assert atlas.choose_atlas_size([make_mesh() * 0.2]) == 256
    assert atlas.choose_atlas_size([make_mesh() * 2]) == 1024
    assert atlas.choose_atlas_size([make_mesh() * 20]) == 2048
