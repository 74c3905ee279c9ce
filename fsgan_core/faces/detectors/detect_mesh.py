"""The default detector, on the networks that come with the package.

Detection goes from cheap to thorough: the full-range network on the whole picture; the short-range one, with a border
around the picture, for close-ups; tiles for small faces in large pictures; the picture in four turns for rolled heads.
A candidate counts if the mesh network says that it is a face.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fsgan_core.faces.detectors.detect_blaze import (
    FULL_RANGE,
    SHORT_RANGE,
    BlazeDetection,
    detect_in_pictures,
    find_faces,
    find_faces_in_tiles,
)
from fsgan_core.faces.detectors.detector_interface import Detection, drop_duplicates
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.geometry import compute_coverage, compute_overlap
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.faces.mesh_measure import measure_mesh
from fsgan_core.faces.mesh_network import FACE_THRESHOLD, fit_square_to_detection
from fsgan_core.faces.mesh_pose import fit_mesh_pose
from fsgan_core.faces.pose import compute_pose_box
from fsgan_core.runtime.arrays import Image8, Points

_CLOSE_UP_MARGINS = (0.0, 0.25)  # borders of the short-range network's looks
_TILE_SHARES = (0.75, 0.4)  # sides of the tiles over the picture's shorter side
_SURE_CONFIDENCE = 0.5  # confidence (0..1) of a face that ends the search; folds of clothes reach 0.4
_TURN_THRESHOLD = 0.1  # confidence (0..1) from which a face in a turned region counts
_TURN_ADVANTAGE = 0.2  # of the turn that was found first, in the sum of two confidences
_SAME_FACE = 0.4  # overlap
_PART_SIZE, _PART_COVERAGE = 0.6, 0.7  # of a face's box; of the part's, which lies in it
_MIN_TILE = 256  # pixels; the network does not gain from smaller ones


class MeshDetector:
    """The default detector. Safe from several threads."""

    name = "mesh"
    search_pixels = 60_000
    fine_pixels = 520_000  # twice what the network sees of a tile, along an axis

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def detect(self, picture: Image8) -> list[Detection]:
        """Finds all faces; see `Detector.detect`."""
        found: list[Detection] = []
        for look in self._looks(picture):
            found = drop_duplicates([*found, *self._confirm(picture, drop_duplicates(look))])
            if found and found[0].confidence >= _SURE_CONFIDENCE:
                break
        return found

    def find_candidates(self, picture: Image8, fine: bool = False) -> list[Detection]:
        """Finds what may be faces; see `Detector.find_candidates`."""
        found = find_faces(picture, device=self._device)
        if fine:
            small = self._look_at_tiles(picture, _TILE_SHARES[0])
            whole = self._find_faces_around(picture, small, found)
            small = [one for one in small if not _is_part(one, whole)]
            found = drop_duplicates([*found, *whole, *small])
        return [_make_detection(one) for one in found]

    def _find_faces_around(
        self, picture: Image8, small: Sequence[BlazeDetection], found: Sequence[BlazeDetection]
    ) -> list[BlazeDetection]:
        """Finds the faces of which a tile may have shown a part only: a lens of glasses can look more like a face.

        Args:
            picture: The picture.
            small: What tiles show.
            found: What the whole picture shows.
        """
        if all(any(compute_overlap(one.box, other.box) > _SAME_FACE for other in found) for one in small):
            return []
        for margin in _CLOSE_UP_MARGINS:
            found = [*found, *find_faces(picture, SHORT_RANGE, margin=margin, device=self._device)]
        around = [other for other in drop_duplicates(found) if any(_is_part(one, [other]) for one in small)]
        return [one for one in around if self._confirm(picture, [one])]

    def _looks(self, picture: Image8) -> Iterator[list[BlazeDetection]]:
        """What each look finds, from the quickest to the most thorough."""
        yield find_faces(picture, device=self._device)
        for margin in _CLOSE_UP_MARGINS:
            yield find_faces(picture, SHORT_RANGE, margin=margin, device=self._device)
        for share in _TILE_SHARES:
            yield self._look_at_tiles(picture, share)
        for quarters in (1, 3, 2):
            yield self._look_turned(picture, quarters)

    def _look_at_tiles(self, picture: Image8, share: float) -> list[BlazeDetection]:
        side = max(_MIN_TILE, round(share * min(picture.shape[:2])))
        return find_faces_in_tiles(picture, side=side, device=self._device)

    def _look_turned(self, picture: Image8, quarters: int) -> list[BlazeDetection]:
        """Detects in the picture turned anticlockwise by so many quarters."""
        turned = np.ascontiguousarray(np.rot90(picture, quarters))
        found = find_faces(turned, device=self._device) or find_faces(
            turned, SHORT_RANGE, margin=_CLOSE_UP_MARGINS[-1], device=self._device
        )
        return [_turn_detection(one, quarters, picture.shape[1], picture.shape[0]) for one in found]

    def _confirm(self, picture: Image8, found: Sequence[BlazeDetection]) -> list[Detection]:
        """Those in which the mesh network sees a face, with their confidence times its probability."""
        confirmed: list[Detection] = []
        for one in found:
            detection = _make_detection(one)
            square = choose_turn(picture, detection.square, self._device)
            measured = measure_mesh(picture, square, self._device)
            if measured.probability >= FACE_THRESHOLD:
                box = compute_pose_box(fit_mesh_pose(measured.mesh))
                confirmed.append(
                    replace(
                        detection,
                        box=box,
                        confidence=one.confidence * measured.probability,
                        landmarks=read_landmarks68(measured.mesh),
                        square=square,
                    )
                )
        return confirmed


def choose_turn(picture: Image8, square: RotatedSquare, device: str = "cpu") -> RotatedSquare:
    """Turns the region of a face by quarters so that the face stands upright in it.

    The mesh network takes a face that stands on its head for an upright one; the detectors are surer of upright ones.

    Args:
        picture: RGB, square pixels.
        square: About where the face is.
        device: Where the networks run, such as "cpu" or "cuda".
    """
    turned = [replace(square, angle=square.angle + quarters * np.pi / 2) for quarters in range(4)]
    sureness = np.array([_TURN_ADVANTAGE, 0.0, 0.0, 0.0])
    for model in (FULL_RANGE, SHORT_RANGE):
        crops = [one.crop(picture, model.side) for one in turned]
        found = detect_in_pictures(crops, model, threshold=_TURN_THRESHOLD, device=device)
        sureness += [max((one.confidence for one in faces), default=0.0) for faces in found]
    return turned[int(np.argmax(sureness))]


def _is_part(small: BlazeDetection, faces: Sequence[BlazeDetection]) -> bool:
    """Whether a detection lies in a much larger one."""
    return any(
        small.box[2] < _PART_SIZE * face.box[2] and compute_coverage(small.box, face.box) > _PART_COVERAGE
        for face in faces
    )


def _make_detection(found: BlazeDetection) -> Detection:
    return Detection(found.box, found.confidence, fit_square_to_detection(found.box, found.keypoints))


def _turn_detection(found: BlazeDetection, quarters: int, width: int, height: int) -> BlazeDetection:
    """Maps a detection from the picture turned anticlockwise by so many quarters to the picture, `width` wide."""
    x, y, box_width, box_height = found.box
    corners = np.array([[x, y], [x + box_width, y + box_height]])
    points = [_turn_points(part, quarters, width, height) for part in (corners, found.keypoints)]
    low, high = points[0].min(0), points[0].max(0)
    return BlazeDetection((*low.tolist(), *(high - low).tolist()), found.confidence, points[1])


def _turn_points(points: Points, quarters: int, width: int, height: int) -> Points:
    x, y = points[:, 0], points[:, 1]
    if quarters == 1:
        return np.column_stack([width - 1 - y, x])
    if quarters == 2:
        return np.column_stack([width - 1 - x, height - 1 - y])
    return np.column_stack([y, height - 1 - x])
