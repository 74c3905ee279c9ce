import numpy as np
import pytest

from fsgan_core.faces.geometry import (
    apply_affine,
    compose_affine,
    compute_coverage,
    compute_overlap,
    compute_scale,
    fit_similarity,
    invert_affine,
    make_square_box,
    resize_picture,
    sample_crop,
)

TURN = np.array([[1.2, -0.5, 30.0], [0.5, 1.2, -12.0]])


class TestAffine:
    def test_similarity_recovers_a_known_map(self) -> None:
        points = np.random.default_rng(1).normal(size=(20, 2)) * 50
        np.testing.assert_allclose(fit_similarity(points, apply_affine(TURN, points)), TURN, atol=1e-9)

    def test_inverse_and_composition(self) -> None:
        points = np.array([[3.0, 4.0], [-7.0, 100.0]])
        np.testing.assert_allclose(apply_affine(invert_affine(TURN), apply_affine(TURN, points)), points, atol=1e-9)
        np.testing.assert_allclose(
            apply_affine(compose_affine(TURN, TURN), points), apply_affine(TURN, apply_affine(TURN, points))
        )
        assert compute_scale(TURN) == pytest.approx(1.3)


class TestResampling:
    def test_resized_says_exactly_where_points_go(self) -> None:
        picture = np.zeros((90, 120, 3), np.uint8)
        picture[30:60, 40:80] = 255
        for scale in (0.5, 0.37, 2.0):
            small, matrix = resize_picture(picture, scale)
            rows, columns = np.nonzero(small[..., 0] > 127)
            middle = np.array([columns.mean(), rows.mean()])
            np.testing.assert_allclose(apply_affine(matrix, np.array([59.5, 44.5])), middle, atol=0.5)

    def test_resized_of_the_same_size_is_the_picture(self) -> None:
        picture = np.zeros((9, 9, 3), np.uint8)
        assert resize_picture(picture, 1.0)[0] is picture

    @pytest.mark.parametrize("scale", [0.2, 0.9, 3.0])
    def test_crop_lands_where_the_map_says(self, scale: float) -> None:
        y, x = np.mgrid[0:400, 0:400]
        picture = (np.exp(-((x - 210.3) ** 2 + (y - 190.6) ** 2) / 1800) * 255).astype(np.uint8)
        matrix = np.array([[scale, 0, 60 - scale * 210.3], [0, scale, 60 - scale * 190.6]])
        crop = sample_crop(picture, matrix, 121).astype(float)
        rows, columns = np.mgrid[0:121, 0:121]
        heavy = np.where(crop > 100, crop, 0)
        middle = ((heavy * columns).sum() / heavy.sum(), (heavy * rows).sum() / heavy.sum())
        np.testing.assert_allclose(middle, (60, 60), atol=0.15)

    def test_crop_beyond_the_picture_repeats_its_border(self) -> None:
        picture = np.full((20, 20, 3), 77, np.uint8)
        crop = sample_crop(picture, np.array([[1.0, 0, 500.0], [0, 1.0, 500.0]]), 32)
        assert crop.shape == (32, 32, 3) and (crop == 77).all()


class TestBoxes:
    def test_overlap_and_cover(self) -> None:
        assert compute_overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
        assert compute_overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
        assert compute_coverage((0, 0, 100, 100), (10, 10, 5, 5)) == 1
        assert compute_coverage((0, 0, 1, 1), (5, 5, 1, 1)) == 0

    def test_square(self) -> None:
        assert make_square_box(np.array([10.0, 20.0]), 4.0) == (8.0, 18.0, 4.0, 4.0)
