"""Face points: where the forehead is taken to be, widths, shapes, expressions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fsgan_core.faces.face import Face
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.stages import warp_points
from tests.stages.conftest import face_at, posed

POSES = [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (25, 15, 0), (0, 0, 45), (30, -10, -45)]


def level(points: np.ndarray, roll: float, about: np.ndarray) -> np.ndarray:
    """`points` with the head's roll taken out."""
    angle = np.radians(-roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - about) @ turn.T


@pytest.mark.parametrize(("yaw", "pitch", "roll"), POSES)
class TestForehead:
    def test_lies_above_the_brows_in_order(self, yaw: float, pitch: float, roll: float) -> None:
        points = posed(yaw, pitch, roll)
        hairline, middle = (level(part, roll, points[27]) for part in warp_points.locate_forehead(points))
        face = level(points, roll, points[27])
        assert hairline.shape == (9, 2) and middle.shape == (5, 2)
        assert hairline[2:7, 1].max() < face[17:27, 1].min()
        assert (np.diff(hairline[2:7, 0]) > 0).all()
        assert (middle[1:4, 1] < face[17:27, 1].min()).all()
        assert middle[2, 1] > hairline[4, 1]

    def test_has_the_height_of_a_forehead(self, yaw: float, pitch: float, roll: float) -> None:
        """Brow to hairline is about a third of chin to hairline in an upright face; pitch changes it."""
        points = posed(yaw, pitch, roll)
        face = level(points, roll, points[27])
        top = level(warp_points.locate_forehead(points)[0], roll, points[27])[4, 1]
        share = (face[17:27, 1].mean() - top) / (face[8, 1] - top)
        assert 0.18 < share < 0.38

    def test_outline_is_simple_and_holds_the_landmarks(self, yaw: float, pitch: float, roll: float) -> None:
        points = posed(yaw, pitch, roll, scale=2)
        outlines = warp_points.compute_outline(points)
        assert outlines[0].shape == (26, 2)
        assert not any(crosses_itself(part) for part in outlines)
        polygons = [part.astype(np.float32) for part in outlines]
        depth = [
            max(cv2.pointPolygonTest(polygon, tuple(map(float, point)), True) for polygon in polygons)
            for point in points[17:]
        ]
        assert min(depth) > -0.1
        assert np.median(depth) > 30

    def test_is_the_same_on_wide_pixels(self, yaw: float, pitch: float, roll: float) -> None:
        points = posed(yaw, pitch, roll)
        hairline, middle = warp_points.locate_forehead(points)
        squeezed = warp_points.locate_forehead(points / (2, 1), 2.0)
        assert np.allclose(squeezed[0] * (2, 1), hairline, atol=1e-6)
        assert np.allclose(squeezed[1] * (2, 1), middle, atol=1e-6)

    def test_width_does_not_depend_on_the_pose(self, yaw: float, pitch: float, roll: float) -> None:
        assert warp_points.measure_face_width(posed(yaw, pitch, roll, scale=1.5)) == pytest.approx(216, rel=1e-3)
        assert warp_points.measure_face_width(posed(yaw, pitch, roll, scale=1.5, aspect=2.0), 2.0) == pytest.approx(
            216, rel=1e-3
        )


def crosses_itself(polygon: np.ndarray) -> bool:
    def cross(a: np.ndarray, b: np.ndarray) -> float:
        return float(a[0] * b[1] - a[1] * b[0])

    count = len(polygon)
    edges = [(polygon[n], polygon[(n + 1) % count]) for n in range(count)]
    for n, (a, b) in enumerate(edges):
        for m in range(n + 2, count - (n == 0)):
            c, d = edges[m]
            if cross(b - a, c - a) * cross(b - a, d - a) < 0 and cross(d - c, a - c) * cross(d - c, b - c) < 0:
                return True
    return False


def test_frontal_forehead_is_symmetric() -> None:
    hairline, middle = warp_points.locate_forehead(posed())
    for row in (hairline, middle):
        mirrored = row[::-1] * (-1, 1) + (200, 0)
        assert np.allclose(row, mirrored, atol=0.1)


def test_stills_have_their_hairline_on_the_head(landmarks: dict[str, np.ndarray]) -> None:
    """Collins's hairline is hidden by a fringe whose parting is at y = 38; Hopper's by a cap. Both foreheads must end
    between there and the brows."""
    top = warp_points.locate_forehead(landmarks["astronaut"])[0][4, 1]
    assert 35 < top < 75
    top = warp_points.locate_forehead(landmarks["grace_hopper"])[0][4, 1]
    assert 60 < top < 140


def test_up_goes_from_brows_to_hairline() -> None:
    points = posed()
    tops = [warp_points.locate_forehead(points, 1.0, up)[0][4, 1] for up in (0.0, 0.5, 1.0, 1.3)]
    assert tops == sorted(tops, reverse=True)
    assert tops[0] == pytest.approx(points[17:27, 1].mean(), abs=4)
    assert warp_points.compute_outline(points, up=0.5)[0][17:, 1].min() == pytest.approx(tops[1], abs=0.5)


def test_control_points_begin_with_the_landmarks() -> None:
    points = posed(20, 5, 3)
    control = warp_points.compute_control_points(points)
    assert control.shape == (82, 2)
    assert np.array_equal(control[:68], points)


def test_raised_brows_raise_the_forehead_over_them() -> None:
    points = posed()
    raised = points.copy()
    raised[17:27, 1] -= 6
    lifted = warp_points.locate_forehead(points)[1][:, 1] - warp_points.locate_forehead(raised)[1][:, 1]
    assert (lifted > 1).all()


class TestShape:
    shape = FACE_MODEL + np.random.default_rng(3).normal(0, 1, (68, 3)) * (2.5, 2.5, 0)

    def faces(self, shape: np.ndarray, aspect: float = 1.0) -> dict[int, Face]:
        poses = [(0, 0, 0), (20, 0, 0), (-20, 5, 0), (0, 12, 4), (8, -12, -4), (30, 0, 10), (-30, 0, -10)]
        return {
            n: face_at(posed(*pose, scale=2, aspect=aspect, shape=shape), n, aspect) for n, pose in enumerate(poses)
        }

    def test_is_found_again(self) -> None:
        """Left to right and up and down, to a millimetre; depth is hardly seen and stays the generic face's."""
        found = warp_points.fit_rest_shape(self.faces(self.shape))
        assert np.abs(found - self.shape)[:, :2].mean() < 0.6
        assert np.abs(FACE_MODEL - self.shape)[:, :2].mean() > 1.8

    def test_the_generic_face_has_the_generic_shape(self) -> None:
        assert np.abs(warp_points.fit_rest_shape(self.faces(FACE_MODEL)) - FACE_MODEL).max() < 0.1

    def test_nobody_has_the_generic_shape(self) -> None:
        assert np.array_equal(warp_points.fit_rest_shape({}), FACE_MODEL)

    def test_is_the_same_on_wide_pixels(self) -> None:
        wide, square = (
            warp_points.measure_performer(self.faces(self.shape, 2.0), 2.0),
            warp_points.measure_performer(self.faces(self.shape)),
        )
        assert np.abs(wide.rest_shape - square.rest_shape).max() < 1e-3

    def test_an_open_mouth_counts_less(self) -> None:
        speaking = FACE_MODEL.copy()
        speaking[[57, 58, 56, 65, 66, 67], 1] += 20
        faces = {1: face_at(posed(scale=2), 1), 2: face_at(posed(scale=2, shape=speaking), 2)}
        assert (warp_points.fit_rest_shape(faces) - FACE_MODEL)[66, 1] < 3

    def test_expression_is_what_differs_from_rest(self) -> None:
        who = warp_points.measure_performer(self.faces(self.shape))
        face = face_at(posed(15, 5, 20, scale=2, shape=self.shape))
        assert np.abs(warp_points.measure_expression(face, who)).max() < 2
        smiling = self.shape.copy()
        smiling[[48, 54], 1] -= 8
        moved = warp_points.measure_expression(face_at(posed(15, 5, 20, scale=2, shape=smiling)), who)
        moved -= warp_points.measure_expression(face, who)
        assert moved[[48, 54], 1] == pytest.approx([-8, -8], abs=1)
        assert np.abs(np.delete(moved, [48, 54], 0)).max() < 1

    def test_displaced_moves_on_the_posed_head(self) -> None:
        points = posed(25, 5, 10, scale=2)
        assert np.allclose(warp_points.displace_landmarks(points, np.zeros((68, 3))), points)
        change = np.zeros((68, 3))
        change[30] = (3, -2, 1)
        moved = warp_points.displace_landmarks(points, change)
        expected = posed(25, 5, 10, scale=2, shape=FACE_MODEL + change)
        assert np.abs(moved - expected)[30].max() < 0.3
        assert np.allclose(np.delete(moved, 30, 0), np.delete(points, 30, 0))
        wide = warp_points.displace_landmarks(points / (2, 1), change, 2.0)
        assert np.allclose(wide * (2, 1), moved, atol=1e-3)
