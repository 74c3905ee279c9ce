"""Augmentation: mirrors keep the order of landmarks, grades and wear do what they say, occluder mattes are exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.contract.errors import InputError
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug
from fsgan_core.training.data.augment import AugmentSettings, CameraWear, ColourGrade, mirror_picture, mirror_points
from fsgan_core.training.data.dataset import FaceDataset
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.occluders import OCCLUDER_SHAPES, cover_face, draw_occluder
from fsgan_core.training.data.pairs import PairSampler
from fsgan_core.training.data.single_faces import FaceSampler
from fsgan_core.training.trainer import build_network_input

NONE = AugmentSettings(flip=0, exposure=0, colour=0, contrast=0, blur=0, grain=0, compression=0)


class TestMirror:
    @pytest.mark.parametrize("count", [68, 98])
    def test_landmarks_keep_their_order(self, faces: FaceSet, count: int) -> None:
        """Faces are almost symmetric, so mirrored landmarks in the right order are near the original ones."""
        points = faces.landmarks[0] if count == 68 else from_ibug(faces.landmarks[0].astype(np.float64))
        mirror = mirror_points(points)
        assert np.allclose(mirror_points(mirror), points)
        shifted = mirror - mirror.mean(0) + points.mean(0)
        assert np.abs(shifted - points).max() < 0.12 < np.abs(points - points.mean(0)).max()
        assert np.allclose(np.sort(mirror[:, 0]), np.sort(1 - points[:, 0]))

    def test_pairs(self, faces: FaceSet) -> None:
        """View, landmarks and target of a mirrored pair belong together: the target is the mirrored one."""
        all_of_them = np.ones(len(faces), bool)
        turned = PairSampler(faces, all_of_them, prewarp=False, seed=1, augment=replace(NONE, flip=1)).make_step_batch(
            0, 1
        )
        plain = PairSampler(faces, all_of_them, prewarp=False, seed=1).make_step_batch(0, 1)
        assert np.allclose(turned.targets, plain.targets[..., ::-1])
        assert np.allclose(turned.inputs, plain.inputs[..., ::-1])
        maps, mirror = build_network_input(plain)[:, 3:].numpy(), build_network_input(turned)[:, 3:].numpy()
        assert np.allclose(mirror.sum(1), maps.sum(1)[..., ::-1], atol=1e-4)
        assert np.allclose(mirror[0, 36], maps[0, 45, :, ::-1], atol=1e-4), "eye corners"


def test_settings_of_zero_change_nothing(faces: FaceSet) -> None:
    picture = faces.get_crop(0).astype(np.float32) / 255
    random = np.random.default_rng(1)
    assert np.allclose(ColourGrade.draw_random(NONE, random)(picture), picture, atol=1e-6)
    assert np.allclose(CameraWear.draw_random(NONE, 64, random)(picture), picture, atol=1e-6)


def test_grade_and_wear(faces: FaceSet) -> None:
    picture = faces.get_crop(0).astype(np.float32) / 255
    looks = [ColourGrade.draw_random(AugmentSettings(), np.random.default_rng(seed))(picture) for seed in range(8)]
    assert np.ptp([look.mean() for look in looks]) > 0.05 and all(0 <= look.min() <= look.max() <= 1 for look in looks)
    assert np.array_equal(ColourGrade.draw_random(AugmentSettings(), np.random.default_rng(3))(picture), looks[3])
    soft = CameraWear(2.0, 0, 0, 1)(picture)
    assert np.abs(np.diff(soft, axis=1)).mean() < 0.6 * np.abs(np.diff(picture, axis=1)).mean()
    grain = CameraWear(0, 0.05, 0, 1)(np.full_like(picture, 0.5))
    assert 0.045 < grain.std() < 0.055
    packed = CameraWear(0, 0, 30, 1)(picture)
    assert 0.002 < np.abs(packed - picture).mean() < 0.05


@pytest.mark.parametrize("wrong", [{"flip": 2.0}, {"exposure": -1.0}, {"colour": 1.0}, {"scale": 0.6}])
def test_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"augment.{next(iter(wrong))}"):
        AugmentSettings(**wrong)


@pytest.mark.parametrize("kind", list(OCCLUDER_SHAPES))
def test_occluders_have_exact_mattes(faces: FaceSet, kind: str) -> None:
    """Where the matte is 1 there is only the object's colour; where it is 0 nothing has changed."""
    picture = faces.get_crop(0).astype(np.float32) / 255
    landmarks = faces.landmarks[0].astype(np.float64) * 64 - 0.5
    shares = []
    for seed in range(6):
        made, matte = cover_face(picture, landmarks, np.random.default_rng(seed), kind)
        assert np.array_equal(made[matte == 0], picture[matte == 0]) and matte.min() >= 0 and matte.max() <= 1
        shares.append(float(matte.mean()))
    assert 0.005 < np.mean(shares) < 0.6 and np.ptp(shares) > 0.001
    if kind == "glasses":
        matte = draw_occluder(kind, landmarks, 64, np.random.default_rng(1))
        eye = np.rint(landmarks[36:42].mean(0)).astype(int)
        assert matte[eye[1], eye[0]] == 0, "lenses are clear"


def test_rotated_single_faces(crowd: FaceDataset) -> None:
    """Landmarks and mattes are rotated with the face; occluders are removed from the mattes."""
    faces, people = crowd.faces, crowd.people
    singles = FaceSampler(faces, people, people != "cleo", 1, replace(NONE, roll=30, scale=0.1, flip=0.5, occluders=1))
    assert set(people[singles.choose_faces(0, 50)]) == {"anna", "bert"}
    plain = singles.draw_sample(0)
    assert np.array_equal(plain.picture, faces.get_crop(0).astype(np.float32) / 255)
    clear = FaceSampler(faces, people, people != "cleo", 1, replace(NONE, roll=30, scale=0.1, flip=0.5))
    for place in range(4):
        face, hidden = (one.draw_sample(0, one.make_random(5, place)) for one in (clear, singles))
        assert np.allclose(face.landmarks, hidden.landmarks)
        inner = np.rint(face.landmarks[27:]).astype(int)
        assert (face.face[inner[:, 1], inner[:, 0]] > 0.5).mean() > 0.95
        assert hidden.face.sum() < face.face.sum() and (hidden.face <= face.face + 1e-6).all()
    with pytest.raises(InputError, match="--no-mattes"):
        FaceSampler(replace(faces, mattes=None), people, people != "cleo", 1)


def test_mirrored_picture() -> None:
    assert mirror_picture(np.arange(6).reshape(2, 3)).tolist() == [[2, 1, 0], [5, 4, 3]]
