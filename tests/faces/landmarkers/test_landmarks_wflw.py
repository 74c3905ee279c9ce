import numpy as np
import pytest

from fsgan_core.faces import pose
from fsgan_core.faces.landmarkers import landmarks_wflw
from fsgan_core.faces.landmarkers.landmarks import measure_eye_opening, measure_mouth_opening
from tests.faces.helpers import head


def drawn(opening: float = 1.0) -> np.ndarray:
    """98 points of a face in mm, drawn from curves as the annotators of WFLW do it."""
    points = np.zeros((98, 2))
    angle = np.linspace(0, np.pi, 33)
    points[:33] = np.column_stack([-76 * np.cos(angle), 118 * np.sin(angle)])
    across = np.linspace(-60, -12, 5)
    points[33:38] = np.column_stack([across, -18 - 8 * np.sin(np.linspace(0, np.pi, 5))])
    points[38:42] = np.column_stack([across[[4, 3, 2, 1]], -12 - 7 * np.sin(np.linspace(np.pi, np.pi / 4, 4))])
    points[51:55, 1] = (-3, 9, 21, 33)
    points[55:60] = np.column_stack([np.linspace(-14, 14, 5), 44 + 4 * np.sin(np.linspace(0, np.pi, 5))])
    share = np.arange(5) / 4
    lid = np.column_stack([-45 + 26 * share, -8 * opening * 4 * share * (1 - share)])
    points[60:65] = lid
    points[65:68] = (lid * (1, -0.5))[3:0:-1]
    for right, left in (
        (range(33, 42), (46, 45, 44, 43, 42, 50, 49, 48, 47)),
        (range(60, 68), (72, 71, 70, 69, 68, 75, 74, 73)),
    ):
        points[list(left)] = points[list(right)] * (-1, 1)
    round_mouth = np.linspace(np.pi, -np.pi, 12, endpoint=False)
    points[76:88] = np.column_stack([26 * np.cos(round_mouth), 71 - 11 * np.sin(round_mouth)])
    inner = np.linspace(np.pi, -np.pi, 8, endpoint=False)
    points[88:96] = np.column_stack([20 * np.cos(inner), 71 - 3 * np.sin(inner)])
    points[96], points[97] = (-32, -1), (32, -1)
    return points


class TestDown:
    def test_every_part_is_where_ibug_has_it(self) -> None:
        found, face = landmarks_wflw.to_ibug(drawn()), drawn()
        np.testing.assert_allclose(found[0:17], face[0:33:2])
        np.testing.assert_allclose(found[8], (0, 118), atol=1e-9)  # chin
        np.testing.assert_allclose(found[[17, 21, 22, 26], 0], (-60, -12, 12, 60))
        np.testing.assert_allclose(found[30], (0, 33))  # tip of the nose
        np.testing.assert_allclose(found[[36, 39, 42, 45], 0], (-45, -19, 19, 45))
        np.testing.assert_allclose(found[[48, 54], 0], (-26, 26), atol=1e-9)
        np.testing.assert_allclose(found[[51, 57], 1], (60, 82), atol=1e-9)  # upper lip above the lower one
        np.testing.assert_allclose(found[[62, 66], 1], (68, 74), atol=1e-9)

    def test_lids_lie_at_thirds(self) -> None:
        found = landmarks_wflw.to_ibug(drawn())
        np.testing.assert_allclose(found[[37, 38], 0], (-45 + 26 / 3, -45 + 52 / 3))
        np.testing.assert_allclose(found[[41, 40], 0], found[[37, 38], 0])
        assert (found[[37, 38, 43, 44], 1] < 0).all() and (found[[40, 41, 46, 47], 1] > 0).all()

    def test_a_mirrored_face_is_the_mirrored_face(self) -> None:
        face = drawn() + np.random.default_rng(1).normal(size=(98, 2))
        mirrored = (face * (-1, 1))[landmarks_wflw.MIRROR_ORDER]
        np.testing.assert_allclose(
            landmarks_wflw.to_ibug(mirrored), (landmarks_wflw.to_ibug(face) * (-1, 1))[pose.MIRROR_ORDER]
        )

    def test_the_mirror_knows_the_drawn_face(self) -> None:
        np.testing.assert_allclose((drawn() * (-1, 1))[landmarks_wflw.MIRROR_ORDER], drawn(), atol=1e-9)
        np.testing.assert_array_equal(landmarks_wflw.MIRROR_ORDER[landmarks_wflw.MIRROR_ORDER], np.arange(98))

    def test_place_size_rotation_and_pixel_aspect_do_not_matter(self) -> None:
        linear, shift = np.array([[1.3, 0.4], [-0.2, 2.0]]), np.array([400.0, -30.0])
        np.testing.assert_allclose(
            landmarks_wflw.to_ibug(drawn() @ linear + shift), landmarks_wflw.to_ibug(drawn()) @ linear + shift
        )
        np.testing.assert_allclose(
            landmarks_wflw.from_ibug(head() @ linear + shift), landmarks_wflw.from_ibug(head()) @ linear + shift
        )

    def test_openings(self) -> None:
        wide, shut = landmarks_wflw.to_ibug(drawn(1.0)), landmarks_wflw.to_ibug(drawn(0.0))
        assert measure_eye_opening(shut) == pytest.approx(0, abs=1e-9) and measure_eye_opening(wide) > 0.08
        assert measure_mouth_opening(wide) == pytest.approx(6 / 90, rel=0.2)


class TestUp:
    def test_there_and_back_keeps_every_point(self) -> None:
        for landmarks in (head(), head(35, -10, 20), np.random.default_rng(2).normal(size=(68, 2))):
            np.testing.assert_allclose(
                landmarks_wflw.to_ibug(landmarks_wflw.from_ibug(landmarks)), landmarks, atol=1e-9
            )

    def test_the_estimate_is_a_face(self) -> None:
        found = landmarks_wflw.from_ibug(landmarks_wflw.to_ibug(drawn()))
        off = np.linalg.norm(found - drawn(), axis=1)  # mm
        assert off[:33].max() < 1 and off[51:60].max() < 1e-9 and off[60:76].max() < 0.7 and off[76:96].max() < 1e-9
        assert off[33:51].max() < 6 and off[96:].max() < 2

    def test_symmetrical(self) -> None:
        found = landmarks_wflw.from_ibug(pose.FACE_MODEL[:, :2])
        np.testing.assert_allclose((found * (-1, 1))[landmarks_wflw.MIRROR_ORDER], found, atol=1e-9)
        assert (found[38:42, 1] > found[[37, 36, 35, 34], 1]).all()  # lower edges of the brows

    def test_carried_with_the_68(self) -> None:
        before, face = head(), landmarks_wflw.from_ibug(head()) + 0.7
        moved = before.copy()
        moved[48:] += (3.0, 8.0)
        there = landmarks_wflw.carry_points(face, before, moved)
        np.testing.assert_allclose(there[76:96] - face[76:96], np.tile((3.0, 8.0), (20, 1)))
        np.testing.assert_allclose(np.delete(there - face, np.arange(76, 96), axis=0), 0, atol=1e-9)
        whole = landmarks_wflw.carry_points(face, before, before + np.array([5.0, -2.0]))
        np.testing.assert_allclose(whole - face, np.tile((5.0, -2.0), (98, 1)))

    def test_many_faces_at_once(self) -> None:
        many = np.stack([head(), head(20)])
        np.testing.assert_array_equal(landmarks_wflw.from_ibug(many)[1], landmarks_wflw.from_ibug(many[1]))
        assert landmarks_wflw.to_ibug(landmarks_wflw.from_ibug(many)).shape == (2, 68, 2)
