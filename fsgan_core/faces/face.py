"""One face in one frame, and how it is made from landmarks or a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fsgan_core.faces.geometry import Box
from fsgan_core.faces.landmarkers.landmarks_wflw import carry_points
from fsgan_core.faces.mesh import carry_mesh
from fsgan_core.faces.mesh_pose import fit_mesh_pose, fit_mesh_to_landmarks
from fsgan_core.faces.pose import compute_pose_box, fit_head_pose
from fsgan_core.runtime.arrays import AnyArray, Mesh, Points68, Points98

ORIGINS = ("detected", "followed", "bridged", "edited")
_DIGITS = 3  # decimals that are kept, of pixels, degrees and confidence


@dataclass(frozen=True)
class Face:
    """One face in one frame, in plate coordinates.

    Attributes:
        frame: Frame number.
        box: (x, y, width, height), square in square pixels.
        landmarks: float64 (68, 2).
        euler: (yaw, pitch, roll) in degrees.
        confidence: 0..1.
        origin: "detected"; "followed" from the frame before where the detector found nothing; "bridged" over a gap;
            "edited" by hand.
        begins: Measured faces only: nothing was seen of this face in the frame before, such as after a cut.
        wflw: float64 (98, 2), where the landmark network placed them; the 68 are then made from these. Else None.
        mesh: float64 (478, 3), see `faces.mesh`; x and y in plate coordinates, z in rows. Every final face has one;
            None where it was not measured.
    """

    frame: int
    box: Box
    landmarks: Points68
    euler: tuple[float, float, float]
    confidence: float
    origin: str = "detected"
    begins: bool = False
    wflw: Points98 | None = None
    mesh: Mesh | None = None

    def get_mesh(self, pixel_aspect: float = 1.0) -> Mesh:
        """Returns the mesh; where there is none, one that is fitted to the landmarks."""
        return fit_mesh_to_landmarks(self.landmarks, pixel_aspect) if self.mesh is None else self.mesh

    def with_landmarks(self, landmarks: Points68) -> Face:
        """Returns the face with other landmarks; its mesh and its 98 points move along with the 68 around them."""
        wflw = None if self.wflw is None else carry_points(self.wflw, self.landmarks, landmarks)
        mesh = None if self.mesh is None else carry_mesh(self.mesh, self.landmarks, landmarks)
        return replace(self, landmarks=landmarks, wflw=wflw, mesh=mesh)


def make_face(
    frame: int,
    landmarks: Points68,
    confidence: float,
    *,
    origin: str = "detected",
    pixel_aspect: float = 1.0,
    begins: bool = False,
    wflw: Points98 | None = None,
    angles: tuple[float, float, float] | None = None,
    mesh: Mesh | None = None,
) -> Face:
    """Makes a face and its box from landmarks, rounded as the track file stores it.

    Args:
        frame: Frame number.
        landmarks: Plate coordinates.
        confidence: 0..1.
        origin: One of ORIGINS.
        pixel_aspect: Width of a pixel over its height.
        begins: See `Face`.
        wflw: See `Face`.
        angles: (yaw, pitch, roll) in degrees; None measures them on the mesh or the landmarks.
        mesh: See `Face`; None fits one to the landmarks.

    >>> from fsgan_core.faces.pose import FACE_MODEL
    >>> face = make_face(1001, 4.0 * FACE_MODEL[:, :2] + (960, 540), confidence=0.9)
    >>> face.frame, [round(value) for value in face.box]
    (1001, [646, 358, 628, 628])
    """
    landmarks = np.round(np.asarray(landmarks, np.float64), _DIGITS)
    pose = fit_head_pose(landmarks, pixel_aspect) if mesh is None else fit_mesh_pose(mesh, pixel_aspect)
    return round_face(
        Face(
            frame,
            compute_pose_box(pose, pixel_aspect),
            landmarks,
            pose.angles if angles is None else angles,
            confidence,
            origin,
            begins,
            wflw,
            fit_mesh_to_landmarks(landmarks, pixel_aspect) if mesh is None else mesh,
        )
    )


def round_face(face: Face) -> Face:
    """Rounds the numbers of a face as the track file stores them."""
    return replace(
        face,
        box=convert_to_tuple(np.round(face.box, _DIGITS)),
        landmarks=np.round(face.landmarks, _DIGITS),
        wflw=None if face.wflw is None else np.round(face.wflw, _DIGITS),
        euler=convert_to_tuple(np.round(face.euler, _DIGITS)),
        confidence=round(float(face.confidence), _DIGITS),
        mesh=None if face.mesh is None else _round_mesh(face.mesh),
    )


def _round_mesh(mesh: Mesh) -> Mesh:
    """Rounds a mesh to single precision, as a file stores it."""
    return np.asarray(mesh, np.float32).astype(np.float64)


def convert_to_tuple(values: AnyArray | Sequence[float]) -> Any:
    """Converts numbers to a tuple of floats, without negative zeros."""
    return tuple(float(value) + 0.0 for value in values)
