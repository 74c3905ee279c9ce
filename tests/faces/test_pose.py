import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgan_core.faces.pose import (
    BOX_SIDE,
    FACE_MODEL,
    MIRROR_ORDER,
    compute_face_box,
    extract_angles,
    make_rotation,
    measure_euler_angles,
)
from tests.faces.helpers import head


class TestAngles:
    @settings(max_examples=50, deadline=None)
    @given(st.floats(-100, 100), st.floats(-80, 80), st.floats(-170, 170))
    def test_round_trip(self, yaw: float, pitch: float, roll: float) -> None:
        np.testing.assert_allclose(extract_angles(make_rotation(yaw, pitch, roll)), (yaw, pitch, roll), atol=1e-6)

    def test_signs(self) -> None:
        ahead = np.array([0.0, 0.0, -1.0])
        assert (make_rotation(30, 0, 0) @ ahead)[0] > 0.4  # yaw: to the picture's right
        assert (make_rotation(0, 30, 0) @ ahead)[1] < -0.4  # pitch: up
        assert (make_rotation(0, 0, 30) @ [1.0, 0, 0])[1] > 0.4  # roll: clockwise, the right eye sinks

    @pytest.mark.parametrize("pose", [(0, 0, 0), (25, -12, 8), (-60, 15, -30), (89, 5, 10), (40, 30, -95)])
    def test_fit_recovers_the_pose(self, pose: tuple[float, float, float]) -> None:
        np.testing.assert_allclose(measure_euler_angles(head(*pose)), pose, atol=1e-3)

    def test_size_and_place_do_not_matter(self) -> None:
        for scale, at in ((0.2, (0, 0)), (8.0, (-3000.0, 4000.0))):
            np.testing.assert_allclose(
                measure_euler_angles(head(12, 7, -5, scale=scale, at=at)), (12, 7, -5), atol=1e-3
            )

    def test_roll_alone_is_the_pictures_rotation(self) -> None:
        landmarks = head(20, 10, 0)
        turn = np.radians(17)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        np.testing.assert_allclose(measure_euler_angles(landmarks @ matrix.T), (20, 10, 17), atol=1e-3)

    def test_noise_moves_angles_little(self) -> None:
        noise = np.random.default_rng(3).normal(size=(68, 2)) * 0.5 * 2.0  # half a millimetre
        np.testing.assert_allclose(measure_euler_angles(head(10, 5, 3) + noise), (10, 5, 3), atol=1.5)

    def test_pixel_aspect(self) -> None:
        landmarks = head(20, -10, 15)
        squeezed = landmarks / (2.0, 1.0)
        np.testing.assert_allclose(measure_euler_angles(squeezed, pixel_aspect=2.0), (20, -10, 15), atol=1e-3)

    def test_degenerate_points_do_not_fail(self) -> None:
        assert np.isfinite(measure_euler_angles(np.zeros((68, 2)))).all()


class TestModel:
    def test_symmetric(self) -> None:
        np.testing.assert_array_equal(FACE_MODEL[MIRROR_ORDER] * (-1, 1, 1), FACE_MODEL)
        assert FACE_MODEL[45, 0] - FACE_MODEL[36, 0] == 90

    def test_nose_points_at_the_camera(self) -> None:
        assert FACE_MODEL[30, 2] == FACE_MODEL[:, 2].min()
        assert FACE_MODEL[[0, 16], 2].min() > FACE_MODEL[[36, 45], 2].max()

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            FACE_MODEL[0] = 0


class TestBox:
    def test_square_around_the_face_whatever_the_yaw(self) -> None:
        for yaw in (0, 40):
            x, y, width, height = compute_face_box(head(yaw, scale=2.0))
            assert width == pytest.approx(2 * BOX_SIDE, rel=0.01) and height == pytest.approx(width)
            assert x < 300 < x + width and y < 200 < y + height

    def test_square_in_square_pixels(self) -> None:
        x, _, width, height = compute_face_box(head() / (2.0, 1.0), pixel_aspect=2.0)
        assert width == pytest.approx(height / 2)
        assert x + width / 2 == pytest.approx(150, abs=2)
