"""What a mesh hides of itself."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.faces.mesh import CANONICAL, TRIANGLES
from fsgan_core.faces.pose import make_rotation
from fsgan_core.stages.mesh_warp import HIDDEN_DEPTH, find_hidden_vertices, measure_mesh_width


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
