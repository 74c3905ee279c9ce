"""The dense face: topology, texture coordinates, and what is read from a mesh."""

from __future__ import annotations

import numpy as np
import pytest

from fsgan_core.faces import mesh
from fsgan_core.faces.pose import FACE_MODEL


def _areas(points: np.ndarray) -> np.ndarray:
    a, b, c = (points[mesh.TRIANGLES[:, k], :2] for k in range(3))
    return np.asarray((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


class TestTopology:
    def test_edges_belong_to_two_triangles_or_lie_on_a_ring(self):
        edges: dict[frozenset[int], int] = {}
        for triangle in mesh.TRIANGLES:
            for k in range(3):
                edge = frozenset((int(triangle[k]), int(triangle[k - 1])))
                edges[edge] = edges.get(edge, 0) + 1
        assert max(edges.values()) == 2
        rings = (mesh.FACE_OVAL, mesh.LIDS_R, mesh.LIDS_L, mesh.INNER_LIPS)
        borders = {frozenset(pair) for ring in rings for pair in zip(ring, ring[1:] + ring[:1], strict=True)}
        assert {edge for edge, count in edges.items() if count == 1} == borders

    def test_texture_coordinates_do_not_fold(self):
        areas = _areas(mesh.UV * (1, -1))
        assert (areas < 0).all() or (areas > 0).all()
        assert mesh.UV.min() > 0 and mesh.UV.max() < 1

    def test_mirror_order_undoes_itself_and_keeps_the_middle(self):
        assert (mesh.MIRROR_ORDER[mesh.MIRROR_ORDER] == np.arange(mesh.VERTEX_COUNT)).all()
        assert mesh.MIRROR_ORDER[4] == 4 and mesh.MIRROR_ORDER[33] == 263

    def test_rings_mirror_each_other(self):
        for right, left in ((mesh.LIDS_R, mesh.LIDS_L), (mesh.BROW_R, mesh.BROW_L)):
            assert tuple(mesh.MIRROR_ORDER[list(right)]) == left

    def test_generic_face_is_that_of_the_landmarks(self):
        gap = np.abs(mesh.read_landmarks68(mesh.CANONICAL) - FACE_MODEL[:, :2])[27:48]
        assert gap.max() < 6  # mm: nose and eyes


class TestCarryMesh:
    def test_landmarks_arrive(self):
        before = mesh.read_landmarks68(mesh.CANONICAL)
        after = before + np.random.default_rng(0).normal(0, 2, before.shape)
        moved = mesh.carry_mesh(mesh.CANONICAL, before, after)
        np.testing.assert_allclose(mesh.read_landmarks68(moved), after, atol=1e-9)

    def test_a_shift_moves_all(self):
        before = mesh.read_landmarks68(mesh.CANONICAL)
        moved = mesh.carry_mesh(mesh.CANONICAL, before, before + np.array([3.0, -2.0]))
        np.testing.assert_allclose(moved - mesh.CANONICAL, np.broadcast_to([3.0, -2.0, 0.0], moved.shape), atol=1e-9)


class TestNormals:
    def test_frontal_skin_faces_the_camera(self):
        facing = mesh.compute_facing(mesh.CANONICAL)
        assert facing[4] > 0.9 and np.median(facing) > 0.5

    @pytest.mark.parametrize("yaw", [-60, 60])
    def test_the_far_cheek_turns_away(self, yaw):
        turn = np.radians(yaw)
        rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        facing = mesh.compute_facing(mesh.CANONICAL @ rotation.T)
        right, left = facing[234], facing[454]
        assert min(right, left) < 0 < max(right, left)
