"""Draw single faces, changed at random: rotated, graded, and with an object in front of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.layers import MATTE_FACE, MATTE_HAIR, MATTES
from fsgan_core.runtime.arrays import Flags, Image, IndexArray, Matte, Names, Points68
from fsgan_core.training.data.augment import AugmentSettings, CameraWear, ColourGrade, mirror_picture, mirror_points
from fsgan_core.training.data.face_crops import FaceSet
from fsgan_core.training.data.occluders import cover_face
from fsgan_core.training.data.pairs import bytes_to_floats, compute_even_chances

__all__ = ["FaceSample", "FaceSampler"]


@dataclass(frozen=True)
class FaceSample:
    """One face as training data, in a square crop.

    Attributes:
        picture: Display-like, 0..1, with three channels.
        face: Matte of the face, without what occludes it.
        hair: Matte of the hair, without what occludes it.
        landmarks: In pixels of the crop.
    """

    picture: Image
    face: Matte
    hair: Matte
    landmarks: Points68


class FaceSampler:
    """Draws faces at random, each person equally often.

    Args:
        faces: All faces; they must have mattes.
        people: Name of each face's person, (n,).
        usable: Which faces may be drawn, bool (n,).
        seed: Decides which faces are drawn and how they are changed.
        augment: How faces are changed; None leaves them as they are.

    Raises:
        InputError: The faces were prepared without mattes.
    """

    def __init__(
        self, faces: FaceSet, people: Names, usable: Flags, seed: int, augment: AugmentSettings | None = None
    ) -> None:
        if faces.mattes is None:
            raise InputError(
                "these faces were prepared without mattes, but this network needs them for training; prepare them "
                "again without --no-mattes"
            )
        self.faces = faces
        self._mattes = faces.mattes
        self._seed = seed
        self._augment = augment
        self._usable_faces = np.flatnonzero(usable)
        self._probabilities = compute_even_chances(people[self._usable_faces])

    def choose_faces(self, step: int, count: int) -> IndexArray:
        """Choose the faces of a step, as indices (count,)."""
        return np.random.default_rng([self._seed, step]).choice(self._usable_faces, count, p=self._probabilities)

    def make_random(self, step: int, position: int) -> np.random.Generator:
        """Make the random generator for one face of a step."""
        return np.random.default_rng([self._seed, step, 1, position])

    def draw_sample(self, index: int, random: np.random.Generator | None = None) -> FaceSample:
        """Cut out a face, and change it if `random` is given."""
        augment = self._augment if random is not None else None
        if augment is None or random is None:
            return self._cut_sample(index, False, 0.0, 1.0)
        mirror = random.random() < augment.flip
        angle, scale = augment.roll * random.uniform(-1, 1), 1 + augment.scale * random.uniform(-1, 1)
        sample = self._cut_sample(index, mirror, angle, scale)
        picture, face, hair = ColourGrade.draw_random(augment, random)(sample.picture), sample.face, sample.hair
        if random.random() < augment.occluders:
            picture, occluder = cover_face(picture, sample.landmarks, random)
            face, hair = face * (1 - occluder), hair * (1 - occluder)
        return FaceSample(CameraWear.draw_random(augment, len(picture), random)(picture), face, hair, sample.landmarks)

    def _cut_sample(self, index: int, mirror: bool, angle: float, scale: float) -> FaceSample:
        """Cut out the crop, rotated (degrees) and scaled about its centre."""
        faces = self.faces
        size, margin, side = faces.layout.resolution, faces.layout.margin, faces.layout.side
        picture, mattes, points = faces.pictures[index], self._mattes[index], faces.landmarks[index]
        if mirror:
            picture, mattes, points = mirror_picture(picture), mirror_picture(mattes), mirror_points(points)
        landmarks = points.astype(np.float64) * size - 0.5
        if angle == 0 and scale == 1:
            crop = slice(margin, margin + size)
            picture, mattes = picture[crop, crop], mattes[crop, crop]
        else:
            centre = (side - 1) / 2
            transform = cv2.getRotationMatrix2D((centre, centre), angle, scale)
            landmarks = (landmarks + margin) @ transform[:, :2].T + transform[:, 2] - margin
            transform[:, 2] -= margin
            picture = cv2.warpAffine(picture, transform, (size, size), flags=cv2.INTER_CUBIC)
            mattes = cv2.warpAffine(mattes, transform, (size, size), flags=cv2.INTER_LINEAR)
        matte_values = bytes_to_floats(mattes)
        return FaceSample(
            bytes_to_floats(picture),
            matte_values[..., MATTES.index(MATTE_FACE)],
            matte_values[..., MATTES.index(MATTE_HAIR)],
            landmarks,
        )
