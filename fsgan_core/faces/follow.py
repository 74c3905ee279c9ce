"""Following faces from frame to frame: candidates are joined to threads, threads to people.

A thread is one face, uninterrupted except for short gaps. In the next frame the mesh network looks where the last mesh
was, or where the detector finds the face if it moved far. So a face is followed where the detector finds nothing (a
turned head, a hand), as long as the network sees a face there. Threads become people by position and by descriptor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from fsgan_core.faces.detectors.detect_mesh import choose_turn
from fsgan_core.faces.detectors.detector_interface import Detection, Detector, drop_duplicates
from fsgan_core.faces.detectors.rotated_square import RotatedSquare
from fsgan_core.faces.display_picture import DisplayPicture
from fsgan_core.faces.face_thread import FaceSighting, FaceThread
from fsgan_core.faces.geometry import Box, apply_affine, compute_coverage, compute_overlap, compute_scale, grow_box
from fsgan_core.faces.identity import compute_descriptor, find_chip_box
from fsgan_core.faces.landmarkers.landmarks import Landmarker
from fsgan_core.faces.landmarkers.landmarks_hrnet import HrnetLandmarker
from fsgan_core.faces.landmarkers.landmarks_wflw import to_ibug
from fsgan_core.faces.mesh import read_landmarks68
from fsgan_core.faces.mesh_measure import MeasuredMesh, measure_mesh
from fsgan_core.faces.mesh_network import CROP_SIDE, FACE_THRESHOLD, fit_square_to_mesh
from fsgan_core.faces.mesh_pose import fit_mesh_pose
from fsgan_core.faces.pose import compute_pose_box
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Matrix, Mesh, Points68, Points98

_OTHER_PERSON_DISTANCE = 0.65  # beyond which a face is not the one that was followed
_UNKNOWN_DISTANCE = 0.5  # to a thread without a descriptor
_DESCRIBE_CONFIDENCE = 0.5  # confidence from which a face is described
_MAX_DESCRIPTORS = 12  # per thread, spread over its length
_MIN_DESCRIBE_INTERVAL = 12  # frames
# Confidence.
_FOLLOWED_CONFIDENCE = 0.5  # of a face that the mesh network sees and the detector does not
_SIZE_RATIOS = (0.7, 1.4)  # side of a face's box over that of the last sighting; else it is another one
# Boxes (intersection over union, unless it says otherwise).
_DOUBTFUL_OVERLAP = 0.1  # from which a candidate may belong to a thread
_MATCH_SCORE = 0.15  # overlap plus likeness from which a candidate is given to a thread
_COVERED_SHARE = 0.4  # share of a candidate's box inside a found face, from which it is the same face
_REFUSED_OVERLAP = 0.7  # with a refused candidate, from which another one is refused too
_TAKEN_OVERLAP = 0.5  # from which two threads hold the same face
_LOST_OVERLAP = 0.15  # with the grown box of a lost thread, from which the face may be the lost one
_LOST_GROWTH = 1.5  # factor by which that box is grown
_FAR_MOVE = 0.12  # sides of the region from which the detector's place is better than the last mesh's
_CROP_ROOM = 3.0  # side of the part of the picture for other networks over that of the mesh
_NEW_ROOM = 1.6  # the same for a face whose turn is not known yet
_VIEW_MARGIN = 0.2  # around the mesh network's region, as a share of its side
_CROP_RESERVE = 1.5  # resolution of that part of the picture over the mesh network's
# Searches, in frames.
_SEARCH_INTERVAL = 3  # between looks of the detector, while all faces are followed
_FINE_SEARCH_INTERVAL = 48  # between searches for small faces
_THOROUGH_SEARCH_INTERVAL = 6  # between searches by all means, while there is no face
_DOUBTFUL_CONFIDENCE = 0.4  # confidence below which candidates of a quick search do not spare the thorough one
_THOROUGH_PIXELS = 4_000_000  # of the picture that is searched by all means, at most
# Cuts, on thumbnails of 8-bit values.
_CUT_PIXELS = 16_000  # of the picture that a thumbnail is made of
_THUMBNAIL_SIZE = (48, 27)  # pixels
_CUT_CORRELATION = 0.4  # correlation below which two thumbnails are unrelated
_CUT_DIFFERENCE = 12  # of 255: mean difference above which they are


class FaceFollower:
    """Follows the faces of one clip; takes its pictures in order. Not for several threads of execution.

    Attributes:
        threads: What was found so far.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker | None = None,
        *,
        count: int,
        gap: int,
        minimum_size: float,
        minimum_confidence: float,
        related: bool = True,
        device: str = "cpu",
    ) -> None:
        """Sets up the follower.

        Args:
            detector: Finds faces.
            landmarker: Places landmarks; None reads them from the mesh.
            count: How many pictures there will be.
            gap: Missing pictures after which a face may still be the same thread by position.
            minimum_size: Height in pixels below which a new face is ignored.
            minimum_confidence: 0..1, below which a face is ignored.
            related: False for stills that have nothing to do with one another.
            device: Where the mesh network runs, such as "cpu" or "cuda".
        """
        self.threads: list[FaceThread] = []
        self._detector = detector
        self._landmarker = landmarker
        self._device = device
        self._describe_interval = max(_MIN_DESCRIBE_INTERVAL, count // _MAX_DESCRIPTORS)
        self._gap = gap
        self._minimum_size = minimum_size
        self._minimum_confidence = minimum_confidence
        self._related = related
        self._thumbnail: AnyArray | None = None
        self._last_cut = 0  # place of the latest cut
        self._moved = np.zeros(2)  # how far still things have moved in the picture, in total
        self._moved_at: dict[int, AnyArray] = {}
        self._refused_boxes: list[tuple[int, Box]] = []

    def add_picture(
        self, place: int, picture: DisplayPicture, shift: tuple[float, float] = (0.0, 0.0), is_unrelated: bool = False
    ) -> list[FaceThread]:
        """Takes the next picture.

        Args:
            place: Its position among the analysed frames.
            picture: The picture.
            shift: What the coordinates of something still gained since the picture before, in pixels; data windows may
                move.
            is_unrelated: The picture has nothing to do with the one before.

        Returns:
            The threads that have a face in this picture.
        """
        if self._is_cut(picture.view_pixels(_CUT_PIXELS)[0]) or is_unrelated:
            self._last_cut = place
        self._moved = self._moved + shift
        self._moved_at[place] = self._moved
        alive = [
            thread
            for thread in self.threads
            if thread.last_place >= self._last_cut and place - thread.last_place <= self._gap + 1
        ]
        visible: list[FaceThread] = []
        candidates: list[Detection] | None = None
        matches: dict[int, Detection] = {}
        if not alive or (place - self._last_cut) % _SEARCH_INTERVAL == 0:
            candidates = self._find_candidates(picture, place, bool(alive))
            matches = self._match_candidates(picture, alive, candidates)
        for number in sorted(range(len(alive)), key=lambda index: index not in matches):
            if candidates is not None:
                alive[number].certainty = matches[number].confidence if number in matches else None
            if self._follow_thread(picture, alive[number], matches.get(number), place, visible):
                visible.append(alive[number])
        missing = [thread for thread in alive if thread not in visible]
        if missing and candidates is None:
            candidates = self._find_candidates(picture, place, bool(visible))
            matches = self._match_candidates(picture, missing, candidates)
            for number, candidate in matches.items():
                missing[number].certainty = candidate.confidence
                if self._follow_thread(picture, missing[number], candidate, place, visible):
                    visible.append(missing[number])
        for candidate in candidates or []:
            new = self._begin_thread(picture, candidate, place, visible)
            if new is not None:
                visible.append(new)
        return visible

    def _find_candidates(self, picture: DisplayPicture, place: int, has_faces: bool) -> list[Detection]:
        since_cut = place - self._last_cut
        is_fine = since_cut % _FINE_SEARCH_INTERVAL == 0
        pixels, matrix = picture.view_pixels(self._detector.fine_pixels if is_fine else self._detector.search_pixels)
        found = self._detector.find_candidates(pixels, fine=is_fine)
        candidates = [_move_detection(one, matrix) for one in found]
        # Of a head that is upside down, the quick search may see a face in the clothes only.
        is_doubtful = all(candidate.confidence < _DOUBTFUL_CONFIDENCE for candidate in candidates)
        if is_doubtful and not has_faces and since_cut % _THOROUGH_SEARCH_INTERVAL == 0:
            pixels, matrix = picture.view_pixels(_THOROUGH_PIXELS)
            proven = [_move_detection(one, matrix) for one in self._detector.detect(pixels)]
            candidates = drop_duplicates([*proven, *candidates])
        return candidates

    def _match_candidates(
        self, picture: DisplayPicture, alive: Sequence[FaceThread], candidates: Sequence[Detection]
    ) -> dict[int, Detection]:
        """Which candidate belongs to which thread: by overlap, and by descriptor where that is ambiguous."""
        if not alive or not candidates:
            return {}
        boxes = [_shift_box(thread.boxes[thread.last_place], self._measure_shift(thread)) for thread in alive]
        score = np.array([[compute_overlap(box, candidate.box) for candidate in candidates] for box in boxes])
        is_possible = score > _DOUBTFUL_OVERLAP
        described: dict[int, Descriptor] = {}
        for row, column in zip(*np.nonzero(is_possible), strict=True):
            mine = alive[row].mean_descriptor
            if mine is not None and (is_possible[row].sum() > 1 or is_possible[:, column].sum() > 1):
                if column not in described:
                    measured = self._measure_mesh(picture, candidates[column].square)
                    described[column] = self._describe(picture, read_landmarks68(measured.mesh))
                score[row, column] += 1 - np.linalg.norm(described[column] - mine)
        pairs = zip(*linear_sum_assignment(-score), strict=True)
        return {row: candidates[column] for row, column in pairs if score[row, column] > _MATCH_SCORE}

    def _follow_thread(
        self,
        picture: DisplayPicture,
        thread: FaceThread,
        candidate: Detection | None,
        place: int,
        visible: Sequence[FaceThread],
    ) -> bool:
        """Looks for the thread's face in this picture and records it; False when it is not seen."""
        last = thread.last_place
        near = fit_square_to_mesh(thread.sightings[last].mesh)
        near = RotatedSquare(near.centre + self._measure_shift(thread), near.side, near.angle)
        squares = [near]
        if candidate is not None:
            own = candidate.square
            is_far = np.linalg.norm(own.centre - near.centre) > _FAR_MOVE * near.side
            squares = [own, near] if is_far or place - last > 1 else [near, own]
        for square in squares:
            measured = self._measure_mesh(picture, square)
            if measured.probability < FACE_THRESHOLD:
                continue
            box = _compute_box(measured.mesh)
            growth = box[3] / thread.boxes[last][3]
            if not _SIZE_RATIOS[0] < growth < _SIZE_RATIOS[1] or not self._is_free(box, visible, place):
                continue
            if place - last > 1 and not self._is_same_person(picture, thread, measured.mesh):
                continue
            is_detected = thread.certainty is not None
            confidence = measured.probability * max(thread.certainty or 0.0, _FOLLOWED_CONFIDENCE)
            if confidence < self._minimum_confidence:
                continue
            self._record_sighting(
                thread, place, picture, measured.mesh, confidence, "detected" if is_detected else "followed"
            )
            return True
        return False

    def _begin_thread(
        self, picture: DisplayPicture, candidate: Detection, place: int, visible: Sequence[FaceThread]
    ) -> FaceThread | None:
        """A thread for a candidate that belongs to none yet: a new one, or one that was lost nearby."""
        self._refused_boxes = [(when, box) for when, box in self._refused_boxes if place - when < _FINE_SEARCH_INTERVAL]
        if any(compute_coverage(candidate.box, thread.boxes[place]) > _COVERED_SHARE for thread in visible):
            return None
        if any(compute_overlap(candidate.box, box) > _REFUSED_OVERLAP for _, box in self._refused_boxes):
            return None
        measured = self._measure_mesh(picture, candidate.square, is_new=True)
        box = _compute_box(measured.mesh)
        confidence = candidate.confidence * measured.probability
        if (
            confidence < self._minimum_confidence
            or measured.probability < FACE_THRESHOLD
            or box[3] < self._minimum_size
            or not self._is_free(box, visible, place)
        ):
            self._refused_boxes.append((place, candidate.box))
            return None
        lost = self._find_lost_thread(picture, measured.mesh, place)
        thread = lost if lost is not None else FaceThread()
        if lost is None:
            self.threads.append(thread)
        thread.certainty = candidate.confidence
        self._record_sighting(thread, place, picture, measured.mesh, confidence, "detected")
        return thread

    def _measure_mesh(self, picture: DisplayPicture, square: RotatedSquare, is_new: bool = False) -> MeasuredMesh:
        """Measures the mesh in a region; of a new face, it is first found out which way up it is."""
        room = _NEW_ROOM if is_new else abs(np.cos(square.angle)) + abs(np.sin(square.angle)) + _VIEW_MARGIN
        box = _make_view_box(square.centre, float(square.side * room))
        part, matrix = picture.view(box, min(1.0, _CROP_RESERVE * CROP_SIDE / square.side))
        scale = matrix[[0, 1], [0, 1]]
        inner = RotatedSquare((square.centre - matrix[:, 2]) / scale, square.side / compute_scale(matrix), square.angle)
        if is_new:
            inner = choose_turn(part, inner, self._device)
        measured = measure_mesh(part, inner, self._device)
        mesh = np.column_stack([measured.mesh[:, :2] * scale + matrix[:, 2], measured.mesh[:, 2] * scale[1]])
        return MeasuredMesh(mesh, measured.probability)

    def _measure_shift(self, thread: FaceThread) -> AnyArray:
        """How far still things have moved in the picture since the thread's last sighting."""
        return np.asarray(self._moved - self._moved_at[thread.last_place])

    def _describe(self, picture: DisplayPicture, landmarks: Points68) -> Descriptor:
        part, matrix = picture.view(find_chip_box(landmarks))
        return compute_descriptor(part, (landmarks - matrix[:, 2]) / matrix[[0, 1], [0, 1]])

    def _is_same_person(self, picture: DisplayPicture, thread: FaceThread, mesh: Mesh) -> bool:
        mine = thread.mean_descriptor
        return mine is None or _measure_distance(mine, self._describe(picture, read_landmarks68(mesh))) < (
            _OTHER_PERSON_DISTANCE
        )

    def _find_lost_thread(self, picture: DisplayPicture, mesh: Mesh, place: int) -> FaceThread | None:
        box = _compute_box(mesh)
        near = [
            thread
            for thread in self.threads
            if 0 < place - thread.last_place <= self._gap + 1
            and thread.last_place >= self._last_cut
            and compute_overlap(box, grow_box(thread.boxes[thread.last_place], _LOST_GROWTH)) > _LOST_OVERLAP
        ]
        if not near:
            return None
        mine = self._describe(picture, read_landmarks68(mesh))
        best = min(near, key=lambda thread: _measure_distance(thread.mean_descriptor, mine))
        return best if _measure_distance(best.mean_descriptor, mine) < _OTHER_PERSON_DISTANCE else None

    def _record_sighting(
        self, thread: FaceThread, place: int, picture: DisplayPicture, mesh: Mesh, confidence: float, origin: str
    ) -> None:
        landmarks, wflw = read_landmarks68(mesh), None
        if self._landmarker is not None:
            landmarks, wflw = self._place_landmarks(picture, mesh)
        thread.boxes[place] = _compute_box(mesh)
        begins = not thread.sightings
        thread.sightings[place] = FaceSighting(mesh, landmarks, confidence, origin, wflw, begins)
        due = place - thread.last_described >= self._describe_interval or not thread.descriptors
        if (due and confidence >= _DESCRIBE_CONFIDENCE) or not thread.descriptors:
            thread.descriptors.append(self._describe(picture, read_landmarks68(mesh)))
            thread.last_described = place

    def _place_landmarks(self, picture: DisplayPicture, mesh: Mesh) -> tuple[Points68, Points98 | None]:
        """Landmarks, and the 98 of the published network, by the landmarker that was chosen."""
        assert self._landmarker is not None
        part, matrix = _view_points(picture, mesh[:, :2])
        scale = matrix[[0, 1], [0, 1]]
        x, y, width, height = _compute_box(mesh)
        low = (np.array([x, y]) - matrix[:, 2]) / scale
        box = (float(low[0]), float(low[1]), float(width / scale[0]), float(height / scale[1]))
        if isinstance(self._landmarker, HrnetLandmarker):
            wflw = apply_affine(matrix, self._landmarker.locate_wflw(part, [box], second_look=False)[0])
            return to_ibug(wflw), wflw
        return apply_affine(matrix, self._landmarker.locate(part, [box])[0]), None

    @staticmethod
    def _is_free(box: Box, visible: Sequence[FaceThread], place: int) -> bool:
        """Whether no other thread already holds this face."""
        return all(compute_overlap(box, thread.boxes[place]) < _TAKEN_OVERLAP for thread in visible)

    def _is_cut(self, picture: Image8) -> bool:
        """Whether another scene begins: the thumbnails have nothing to do with each other."""
        small = cv2.resize(picture, _THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float64)
        before, self._thumbnail = self._thumbnail, small
        if before is None or not self._related:
            return True
        a, b = before - before.mean(), small - small.mean()
        spread = np.sqrt((a**2).sum() * (b**2).sum())
        return bool(
            spread > 0 and (a * b).sum() / spread < _CUT_CORRELATION and np.abs(before - small).mean() > _CUT_DIFFERENCE
        )


def _measure_distance(a: Descriptor | None, b: Descriptor) -> float:
    return _UNKNOWN_DISTANCE if a is None else float(np.linalg.norm(a - b))


def _shift_box(box: Box, shift: AnyArray) -> Box:
    return (box[0] + float(shift[0]), box[1] + float(shift[1]), box[2], box[3])


def _compute_box(mesh: Mesh) -> Box:
    return compute_pose_box(fit_mesh_pose(mesh))


def _make_view_box(centre: AnyArray, side: float) -> Box:
    return (float(centre[0] - side / 2), float(centre[1] - side / 2), side, side)


def _view_points(picture: DisplayPicture, points: AnyArray) -> tuple[Image8, Matrix]:
    """The part of the picture around a face, with room for the crops of every network."""
    low, high = points.min(0), points.max(0)
    return picture.view(_make_view_box((low + high) / 2, float(max(high - low)) * _CROP_ROOM))


def _move_detection(detection: Detection, matrix: Matrix) -> Detection:
    """The detection of a view in pixels of the picture."""
    scale = matrix[[0, 1], [0, 1]]
    x, y = apply_affine(matrix, np.array(detection.box[:2]))
    box = (float(x), float(y), float(detection.box[2] * scale[0]), float(detection.box[3] * scale[1]))
    square = detection.square
    square = RotatedSquare(apply_affine(matrix, square.centre), square.side * compute_scale(matrix), square.angle)
    landmarks = None if detection.landmarks is None else apply_affine(matrix, detection.landmarks)
    return replace(detection, box=box, square=square, landmarks=landmarks)
