"""Following faces from frame to frame: candidates are joined to threads, threads to people.

A thread is one face, uninterrupted except for short gaps. The picture's own motion says where a face should be in the
next frame; the detector confirms it. Where the detector finds nothing (a turned head, a hand), the face is followed by
its landmarks as long as they look like those of a face. Threads become people by position and by descriptor.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from fsgan_core.contract.landmarks import OUTER_EYE_CORNERS
from fsgan_core.faces.detect import Detection, Detector, rate_spread
from fsgan_core.faces.geometry import Box, apply_affine, compute_coverage, compute_overlap, fit_similarity
from fsgan_core.faces.identity import compute_descriptor
from fsgan_core.faces.landmarks import DlibLandmarker, Landmarker, make_landmarker
from fsgan_core.faces.landmarks_hrnet import HrnetLandmarker
from fsgan_core.faces.landmarks_wflw import to_ibug
from fsgan_core.faces.optical_flow import measure_motion
from fsgan_core.faces.pose import compute_face_box
from fsgan_core.runtime.arrays import AnyArray, Descriptor, Image8, Points68, Points98, Vector

log = logging.getLogger(__name__)

# Descriptors (Euclidean distances).
SAME_PERSON_DISTANCE = 0.5  # below which two threads may be one person
_OTHER_PERSON_DISTANCE = 0.65  # beyond which a face is not the one that was followed
_UNKNOWN_DISTANCE = 0.5  # to a thread without a descriptor
_DESCRIBE_CONFIDENCE = 0.5  # confidence from which a face is described
_MAX_DESCRIPTORS = 16  # per thread, spread over its length
_MIN_DESCRIBE_INTERVAL = 6  # frames

# Landmarks as evidence of a face.
_CLEAR_SCATTER = 1.2  # mm of scatter (DlibLandmarker.locate_with_scatter) below which a face is certain
_HARD_SCATTER = 1.4  # mm of scatter, of half the landmarks, from which other starts are worth their time
_BETTER_SCATTER = 0.75  # share of the scatter that another start must stay below
_SPREAD_PER_SCATTER = 1.5  # mm of the wider test (DlibLandmarker.measure_spread) for each mm of scatter
_GOOD_EVIDENCE = 0.7  # evidence (0..1) below which the detector's box is tried too
_ENOUGH_EVIDENCE = 0.5  # evidence (0..1) from which a face is followed without the detector
_VOUCHED_CONFIDENCE = 0.8  # confidence of the detector from which it vouches for half of the evidence
_HEIGHT_RATIOS = (0.7, 1.4)  # height of a followed face over that in the frame before
_NO_FACE_EVIDENCE = 0.3  # evidence (0..1) below which landmarks are not those of a face
_CERTAIN_CONFIDENCE = 0.5  # confidence of a candidate that should have held landmarks

# Motion.
_MOTION_NOISE = 0.02  # share of the eye distance; of a motion that was tracked without a miss
_OUTLIER_MOTION = 0.05  # share of the eye distance from which a landmark's own motion counts less
_MOTION_ROUNDS = 3

# Boxes (intersection over union, unless it says otherwise).
_DOUBTFUL_OVERLAP = 0.15  # from which a candidate may belong to a thread
_MATCH_SCORE = 0.25  # overlap plus likeness from which a candidate is given to a thread
_COVERED_SHARE = 0.4  # share of a candidate's box inside a found face, from which it is the same face
_REFUSED_OVERLAP = 0.7  # with a refused candidate, from which another one is refused too
_TAKEN_OVERLAP = 0.5  # from which two threads hold the same face
_LOST_OVERLAP = 0.15  # with the grown box of a lost thread, from which the face may be the lost one
_LOST_GROWTH = 1.5  # factor by which that box is grown
_FINE_SEARCH_INTERVAL = 24  # frames between searches for small faces

# Cuts, on thumbnails of 8-bit values.
_THUMBNAIL_SIZE = (48, 27)  # pixels
_CUT_CORRELATION = 0.4  # correlation below which two thumbnails are unrelated
_CUT_DIFFERENCE = 12  # of 255: mean difference above which they are


@dataclass(frozen=True)
class FaceSighting:
    """A face in one picture.

    Attributes:
        landmarks: (68, 2), pixels of the picture.
        confidence: 0..1.
        origin: As in `track.Face`, like the rest.
        scatter: (68,), mm.
        motion: (68, 3), pixels of the picture.
        wflw: (98, 2), pixels of the picture.
    """

    landmarks: Points68
    confidence: float
    origin: str
    scatter: Vector | None = None
    motion: AnyArray | None = None
    wflw: Points98 | None = None


@dataclass(frozen=True)
class _PlacedLandmarks:
    """Landmarks and the evidence that they are of a face.

    Attributes:
        landmarks: (68, 2), pixels of the picture.
        evidence: 0..1.
        scatter: (68,), mm, or None if unknown.
        wflw: The 98 landmarks that they were made from, if any.
    """

    landmarks: Points68
    evidence: float
    scatter: Vector | None
    wflw: Points98 | None = None


@dataclass
class FaceThread:
    """One face over time, by place (position among the analysed frames).

    Attributes:
        sightings: The face in each picture that shows it.
        boxes: Its box in each of these pictures.
        descriptors: Of some of these pictures.
        last_described: Place of the latest descriptor.
    """

    sightings: dict[int, FaceSighting] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    descriptors: list[Descriptor] = field(default_factory=list)
    last_described: int = -1000

    @property
    def last_place(self) -> int:
        """The latest place that shows the face."""
        return max(self.sightings)

    @property
    def mean_descriptor(self) -> Descriptor | None:
        """Mean of the descriptors; None without any."""
        return np.mean(self.descriptors, axis=0) if self.descriptors else None


class FaceFollower:
    """Follows the faces of one clip; takes its pictures in order. Not for several threads of execution.

    Attributes:
        threads: What was found so far.
        misplaced_count: Faces that dlib's landmarks confirm and the network's landmarks do not.
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        *,
        count: int,
        gap: int,
        minimum_size: float,
        minimum_confidence: float,
        related: bool = True,
    ) -> None:
        """Sets up the follower.

        Args:
            detector: Finds faces.
            landmarker: Places landmarks.
            count: How many pictures there will be.
            gap: Places that a face may be lost and still be the same thread by position.
            minimum_size: Height in pixels below which a new face is ignored.
            minimum_confidence: 0..1, below which a face is ignored.
            related: False for stills that have nothing to do with one another.
        """
        self.threads: list[FaceThread] = []
        self.misplaced_count = 0
        self._detector = detector
        self._landmarker = landmarker
        dlib_landmarker = make_landmarker("dlib")
        assert isinstance(dlib_landmarker, DlibLandmarker)
        self._dlib_landmarker = dlib_landmarker
        self._describe_interval = max(_MIN_DESCRIBE_INTERVAL, count // _MAX_DESCRIPTORS)
        self._gap = gap
        self._minimum_size = minimum_size
        self._minimum_confidence = minimum_confidence
        self._related = related
        self._previous_picture: Image8 | None = None
        self._thumbnail: AnyArray | None = None
        self._last_cut = 0  # place of the latest cut
        self._refused_boxes: list[tuple[int, Box]] = []

    def add_picture(
        self, place: int, picture: Image8, shift: tuple[float, float] = (0.0, 0.0), is_unrelated: bool = False
    ) -> list[FaceThread]:
        """Takes the next picture.

        Args:
            place: Its position among the analysed frames.
            picture: RGB, square pixels.
            shift: What the coordinates of something still gained since the picture before, in pixels; data windows may
                move.
            is_unrelated: The picture has nothing to do with the one before.

        Returns:
            The threads that have a face in this picture.
        """
        if self._is_cut(picture) or is_unrelated:
            self._last_cut = place
            self._previous_picture = None
        alive = [thread for thread in self.threads if thread.last_place == place - 1 and place > self._last_cut]
        moves = [self._measure_thread_motion(thread, place - 1, picture, shift) for thread in alive]
        guesses = [
            self._predict_landmarks(thread.sightings[place - 1].landmarks, move)
            for thread, move in zip(alive, moves, strict=True)
        ]
        candidates = self._detector.find_candidates(picture, fine=(place - self._last_cut) % _FINE_SEARCH_INTERVAL == 0)
        if not candidates and not alive:
            candidates = self._detector.detect(picture)
        given = self._match_candidates(picture, alive, guesses, candidates)
        found: list[FaceThread] = []
        for number, thread in enumerate(alive):
            seen = self._find_thread_face(picture, thread, guesses[number], given.get(number), place)
            if seen is not None and self._is_free(seen.landmarks, found, place):
                self._record_sighting(thread, place, picture, replace(seen, motion=moves[number] - (*shift, 0.0)))
                found.append(thread)
        taken = {id(candidate) for candidate in given.values()}
        for candidate in candidates:
            if id(candidate) not in taken:
                new = self._begin_thread(picture, candidate, place, found)
                if new is not None:
                    found.append(new)
        self._previous_picture = picture
        return found

    def _measure_thread_motion(
        self, thread: FaceThread, place: int, picture: Image8, shift: tuple[float, float]
    ) -> AnyArray:
        landmarks = thread.sightings[place].landmarks
        assert self._previous_picture is not None
        return measure_motion(self._previous_picture, picture, landmarks, landmarks + shift)

    @staticmethod
    def _predict_landmarks(landmarks: Points68, move: AnyArray) -> Points68:
        """Where the face should be: its landmarks moved as a whole, by those whose motion is certain."""
        right, left = OUTER_EYE_CORNERS
        size = np.linalg.norm(landmarks[left] - landmarks[right])
        weights = 1 / (_MOTION_NOISE * size + move[:, 2]) ** 2
        target = landmarks + move[:, :2]
        for _ in range(_MOTION_ROUNDS):
            fit = fit_similarity(landmarks, target, weights)
            off = np.linalg.norm(apply_affine(fit, landmarks) - target, axis=1)
            weights = weights / (1 + (off / (_OUTLIER_MOTION * size)) ** 2)
        return apply_affine(fit, landmarks)

    def _match_candidates(
        self,
        picture: Image8,
        alive: Sequence[FaceThread],
        guesses: Sequence[Points68],
        candidates: Sequence[Detection],
    ) -> dict[int, Detection]:
        """Which candidate belongs to which thread: by overlap, and by descriptor where that is ambiguous."""
        if not alive or not candidates:
            return {}
        boxes = [compute_face_box(guess) for guess in guesses]
        score = np.array([[compute_overlap(box, candidate.box) for candidate in candidates] for box in boxes])
        is_possible = score > _DOUBTFUL_OVERLAP
        for row, column in zip(*np.nonzero(is_possible), strict=True):
            mine = alive[row].mean_descriptor
            if mine is not None and (is_possible[row].sum() > 1 or is_possible[:, column].sum() > 1):
                landmarks = self._dlib_landmarker.locate_coarsely(picture, candidates[column].box)
                score[row, column] += 1 - np.linalg.norm(compute_descriptor(picture, landmarks) - mine)
        pairs = zip(*linear_sum_assignment(-score), strict=True)
        return {row: candidates[column] for row, column in pairs if score[row, column] > _MATCH_SCORE}

    def _find_thread_face(
        self, picture: Image8, thread: FaceThread, guess: Points68, candidate: Detection | None, place: int
    ) -> FaceSighting | None:
        """The thread's face in this picture, or None when it is lost."""
        if candidate is None:
            candidate = self._detector.find_near(picture, compute_face_box(guess))
        placed = self._place_landmarks(picture, guess, None)
        if placed.evidence < _GOOD_EVIDENCE and candidate is not None:
            placed = max(placed, self._place_landmarks(picture, None, candidate.box), key=lambda p: p.evidence)
        landmarks, evidence, scatter = placed.landmarks, placed.evidence, placed.scatter
        if candidate is not None and candidate.confidence > _VOUCHED_CONFIDENCE and scatter is not None:
            # In a difficult pose the landmarks settle only from a good start; then the detector vouches for half.
            evidence = max(evidence, 0.5 * rate_spread(_SPREAD_PER_SCATTER * float(scatter.mean())))
        if candidate is not None and (
            evidence >= _ENOUGH_EVIDENCE or candidate.confidence * evidence >= self._minimum_confidence
        ):
            return FaceSighting(
                landmarks, max(candidate.confidence, 0.5) * evidence, "detected", scatter, wflw=placed.wflw
            )
        growth = compute_face_box(landmarks)[3] / thread.boxes[place - 1][3]
        if evidence < _ENOUGH_EVIDENCE or not _HEIGHT_RATIOS[0] < growth < _HEIGHT_RATIOS[1]:
            return None
        mine = thread.mean_descriptor
        if mine is not None and np.linalg.norm(compute_descriptor(picture, landmarks) - mine) > _OTHER_PERSON_DISTANCE:
            return None
        return FaceSighting(landmarks, 0.5 * evidence, "followed", scatter, wflw=placed.wflw)

    def _place_landmarks(self, picture: Image8, guess: Points68 | None, box: Box | None) -> _PlacedLandmarks:
        """Landmarks near a guess or in a box, and the evidence that they are of a face."""
        scatter = wflw = None
        if isinstance(self._landmarker, DlibLandmarker):
            start = self._landmarker.locate_coarsely(picture, box) if guess is None and box is not None else guess
            assert start is not None
            landmarks, scatter = self._landmarker.locate_with_scatter(picture, start)
            if np.median(scatter) >= _HARD_SCATTER:
                other = self._landmarker.search(picture, compute_face_box(start) if box is None else box)
                if other[1].mean() < _BETTER_SCATTER * scatter.mean():
                    landmarks, scatter = other
            if scatter.mean() < _CLEAR_SCATTER:  # certain; the wider test would cost as much again
                return _PlacedLandmarks(landmarks, rate_spread(_SPREAD_PER_SCATTER * float(scatter.mean())), scatter)
        else:
            where = compute_face_box(guess) if guess is not None else box
            assert where is not None
            if isinstance(self._landmarker, HrnetLandmarker):
                wflw = self._landmarker.locate_wflw(picture, [where], second_look=guess is None)[0]
                landmarks = to_ibug(wflw)
            else:
                landmarks = self._landmarker.locate(picture, [where])[0]
        return _PlacedLandmarks(
            landmarks, rate_spread(self._dlib_landmarker.measure_spread(picture, landmarks)), scatter, wflw
        )

    def _begin_thread(
        self, picture: Image8, candidate: Detection, place: int, found: Sequence[FaceThread]
    ) -> FaceThread | None:
        """A thread for a candidate that belongs to none yet: a new one, or one that was lost nearby."""
        self._refused_boxes = [(when, box) for when, box in self._refused_boxes if place - when < _FINE_SEARCH_INTERVAL]
        if any(compute_coverage(candidate.box, thread.boxes[place]) > _COVERED_SHARE for thread in found):
            return None
        if any(compute_overlap(candidate.box, box) > _REFUSED_OVERLAP for _, box in self._refused_boxes):
            return None
        placed = self._place_landmarks(picture, None, candidate.box)
        landmarks, confidence = placed.landmarks, candidate.confidence * placed.evidence
        if (
            confidence < self._minimum_confidence
            or compute_face_box(landmarks)[3] < self._minimum_size
            or not self._is_free(landmarks, found, place)
        ):
            self._refused_boxes.append((place, candidate.box))
            self._count_misplaced(picture, candidate, placed)
            return None
        lost = self._find_lost_thread(picture, landmarks, place)
        thread = lost if lost is not None else FaceThread()
        if lost is None:
            self.threads.append(thread)
        self._record_sighting(
            thread, place, picture, FaceSighting(landmarks, confidence, "detected", placed.scatter, wflw=placed.wflw)
        )
        return thread

    def _count_misplaced(self, picture: Image8, candidate: Detection, placed: _PlacedLandmarks) -> None:
        """Counts a refused candidate that is certainly a face, so that the network must be wrong."""
        is_refused = placed.wflw is not None and placed.evidence < _NO_FACE_EVIDENCE
        if is_refused and candidate.confidence > _CERTAIN_CONFIDENCE:
            known = self._dlib_landmarker.locate(picture, [candidate.box])[0]
            self.misplaced_count += rate_spread(self._dlib_landmarker.measure_spread(picture, known)) > _GOOD_EVIDENCE

    def _find_lost_thread(self, picture: Image8, landmarks: Points68, place: int) -> FaceThread | None:
        box = compute_face_box(landmarks)
        near = [
            thread
            for thread in self.threads
            if 0 < place - thread.last_place <= self._gap + 1
            and thread.last_place >= self._last_cut
            and compute_overlap(box, _grow_box(thread.boxes[thread.last_place], _LOST_GROWTH)) > _LOST_OVERLAP
        ]
        if not near:
            return None
        mine = compute_descriptor(picture, landmarks)
        best = min(near, key=lambda thread: _measure_distance(thread.mean_descriptor, mine))
        return best if _measure_distance(best.mean_descriptor, mine) < _OTHER_PERSON_DISTANCE else None

    def _record_sighting(self, thread: FaceThread, place: int, picture: Image8, seen: FaceSighting) -> None:
        thread.sightings[place] = seen
        thread.boxes[place] = compute_face_box(seen.landmarks)
        due = place - thread.last_described >= self._describe_interval or not thread.descriptors
        if (due and seen.confidence >= _DESCRIBE_CONFIDENCE) or not thread.descriptors:
            thread.descriptors.append(compute_descriptor(picture, seen.landmarks))
            thread.last_described = place

    def _is_free(self, landmarks: Points68, found: Sequence[FaceThread], place: int) -> bool:
        """Whether no other thread already holds this face."""
        box = compute_face_box(landmarks)
        return all(compute_overlap(box, thread.boxes[place]) < _TAKEN_OVERLAP for thread in found)

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


def group_threads(threads: Sequence[FaceThread]) -> list[list[FaceThread]]:
    """Groups threads into people: threads that are never in one picture together, and look alike.

    Returns:
        The threads of each person, in order of time.
    """
    groups: list[list[FaceThread]] = []
    for thread in sorted(threads, key=lambda thread: (-len(thread.sightings), min(thread.sightings))):
        fitting = [
            (score, index)
            for index, group in enumerate(groups)
            if (score := _measure_kinship(thread, group)) is not None
        ]
        if fitting:
            groups[min(fitting)[1]].append(thread)
        else:
            groups.append([thread])
    return [sorted(group, key=lambda thread: min(thread.sightings)) for group in groups]


def _measure_kinship(thread: FaceThread, group: Sequence[FaceThread]) -> float | None:
    """Descriptor distance to the group's mean if the thread may belong to it, else None."""
    if any(place in other.sightings for other in group for place in thread.sightings):
        return None
    known = [descriptor for other in group for descriptor in other.descriptors]
    if not known or not thread.descriptors:
        return None
    distance = float(np.linalg.norm(np.mean(known, axis=0) - np.mean(thread.descriptors, axis=0)))
    return distance if distance < SAME_PERSON_DISTANCE else None


def _measure_distance(a: Descriptor | None, b: Descriptor) -> float:
    return _UNKNOWN_DISTANCE if a is None else float(np.linalg.norm(a - b))


def _grow_box(box: Box, factor: float) -> Box:
    x, y, width, height = box
    return (x - width * (factor - 1) / 2, y - height * (factor - 1) / 2, width * factor, height * factor)
