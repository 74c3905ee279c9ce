"""What a mesh hides of itself, and which place of a view a pixel shows."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.faces.mesh import CANONICAL, TRIANGLES
from fsgan_core.faces.pose import make_rotation
from fsgan_core.plates.plate import Window
from fsgan_core.stages.mesh_warp import (
    BELOW_BROWS,
    HIDDEN_DEPTH,
    LOWER_BROWS,
    find_hidden_vertices,
    fit_mesh_map,
    measure_mesh_width,
)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (35, 10), (-60, -20)])
def test_hidden_is_what_lies_behind_a_triangle(yaw: float, pitch: float) -> None:
    mesh = CANONICAL @ make_rotation(yaw, pitch, 5).T * 2.0 + (900.0, 500.0, 0.0)
    margin = HIDDEN_DEPTH * measure_mesh_width(mesh)
    hidden = find_hidden_vertices(mesh)
    assert hidden.any()
    for vertex in np.r_[0 : len(mesh) : 7, np.flatnonzero(hidden)]:
        corners = mesh[TRIANGLES]
        to = mesh[vertex, :2] - corners[:, 0, :2]
        sides = np.moveaxis(corners[:, 1:, :2] - corners[:, :1, :2], 1, -1)
        shares = np.stack([np.linalg.pinv(side) @ place for side, place in zip(sides, to, strict=True)])
        inside = (shares > 1e-9).all(1) & (shares.sum(1) < 1 - 1e-9)
        depth = corners[:, 0, 2] + (shares * (corners[:, 1:, 2] - corners[:, :1, 2])).sum(1)
        assert hidden[vertex] == (inside & (depth < mesh[vertex, 2] - margin)).any()


@pytest.mark.parametrize("raised", [-6.0, 0.0, 12.0])
def test_brow_keeps_its_breadth_where_the_lid_is_higher(raised: float) -> None:
    view = CANONICAL * (2.0, 2.0, 2.0) + (200.0, 200.0, 0.0)
    goal = view.copy()
    goal[CANONICAL[:, 1] <= CANONICAL[list(LOWER_BROWS), 1].max(), 1] -= raised
    goal[list(BELOW_BROWS), 1] = view[list(BELOW_BROWS), 1] - raised / 3
    places = fit_mesh_map(goal, view, Window(0, 0, 400, 400), 0.0)
    for brow, below in zip(LOWER_BROWS[1:4], BELOW_BROWS[1:4], strict=True):
        room = goal[below, :2] - goal[brow, :2]
        own = view[below, :2] - view[brow, :2]
        reach = min(1.0, float(np.linalg.norm(own) / np.linalg.norm(room)))  # less room makes a brow narrower
        column, row = np.round(goal[brow, :2] + reach * room).astype(int)
        assert abs(places[row, column, 1] - view[below, 1]) < 1.0
