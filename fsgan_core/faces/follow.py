"""Following faces from frame to frame: candidates are joined to threads, threads to people.

A thread is one face without interruption but for short gaps. The picture's own motion says where a face should be in
the next frame; the detector confirms it. Where the detector is blind (a turned head, a hand), the face is followed by
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

log = logging.getLogger(__name__)

SAME_PERSON_DISTANCE = 0.5  # descriptor distance below which two threads may be one person
_OTHER_PERSON_DISTANCE = 0.65  # beyond this a face is not the one that was followed
_FINE_SEARCH_INTERVAL = 24  # frames between looks for small faces
_DESCRIBE_CONFIDENCE = 0.5  # confidence from which a face is described
_CLEAR_SCATTER = 1.2  # mm of scatter (DlibLandmarker.located) below which a face is a face
_HARD_SCATTER = 1.4  # mm of scatter, of half the landmarks, from which other starts are worth their time
_SPREAD_PER_SCATTER = 1.5  # what the wider test (DlibLandmarker.spread) says for each mm of it
_MAX_DESCRIPTORS = 16  # per thread, spread over its length


@dataclass(frozen=True)
class FaceSighting:
    """A face in a picture: landmarks (68, 2) in the picture's pixels; scatter, motion and wflw as in track.Face."""

    landmarks: np.ndarray
    confidence: float
    origin: str
    scatter: np.ndarray | None = None
    motion: np.ndarray | None = None
    wflw: np.ndarray | None = None


@dataclass(frozen=True)
class _PlacedLandmarks:
    """Landmarks, the evidence (0..1) that they are of a face, their scatter (68,) in mm where it is known, and the 98
    landmarks that they were taken from, if any."""

    landmarks: np.ndarray
    evidence: float
    scatter: np.ndarray | None
    wflw: np.ndarray | None = None


@dataclass
class FaceThread:
    """One face over time, by place (position among the analysed frames)."""

    sightings: dict[int, FaceSighting] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    descriptors: list[np.ndarray] = field(default_factory=list)
    last_described: int = -1000  # place of the latest description

    @property
    def last_place(self) -> int:
        return max(self.sightings)

    @property
    def mean_descriptor(self) -> np.ndarray | None:
        return np.mean(self.descriptors, axis=0) if self.descriptors else None


class FaceFollower:
    """Takes pictures in order; `threads` are what was found. One clip each; not for several threads of execution.

    pictures: uint8 (height, width, RGB), square pixels. count: how many pictures there will be. gap: places that a
    face may be lost and still be the same thread by position.
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
        self.threads: list[FaceThread] = []
        self.misplaced_count = 0  # faces for dlib's landmarks that were none for the network's
        self._detector = detector
        self._landmarker = landmarker
        judge = make_landmarker("dlib")
        assert isinstance(judge, DlibLandmarker)
        self._dlib_landmarker = judge
        self._describe_interval = max(6, count // _MAX_DESCRIPTORS)
        self._gap = gap
        self._minimum_size = minimum_size
        self._minimum_confidence = minimum_confidence
        self._related = related
        self._previous_picture: np.ndarray | None = None
        self._thumbnail: np.ndarray | None = None
        self._last_cut = 0  # place of the latest cut
        self._refused_boxes: list[tuple[int, Box]] = []

    def add_picture(
        self, place: int, picture: np.ndarray, shift: tuple[float, float] = (0.0, 0.0), is_unrelated: bool = False
    ) -> list[FaceThread]:
        """The threads that have a face in this picture. shift: what a still thing's coordinates gained since the
        picture before (data windows may move). fresh: the picture has nothing to do with the one before."""
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
        self, thread: FaceThread, place: int, picture: np.ndarray, shift: tuple[float, float]
    ) -> np.ndarray:
        landmarks = thread.sightings[place].landmarks
        assert self._previous_picture is not None
        return measure_motion(self._previous_picture, picture, landmarks, landmarks + shift)

    @staticmethod
    def _predict_landmarks(landmarks: np.ndarray, move: np.ndarray) -> np.ndarray:
        """Where the face should be: its landmarks moved as a whole, by those whose motion is sure."""
        right, left = OUTER_EYE_CORNERS
        size = np.linalg.norm(landmarks[left] - landmarks[right])
        weights = 1 / (0.02 * size + move[:, 2]) ** 2
        target = landmarks + move[:, :2]
        for _ in range(3):
            fit = fit_similarity(landmarks, target, weights)
            off = np.linalg.norm(apply_affine(fit, landmarks) - target, axis=1)
            weights = weights / (1 + (off / (0.05 * size)) ** 2)
        return apply_affine(fit, landmarks)

    def _match_candidates(
        self,
        picture: np.ndarray,
        alive: Sequence[FaceThread],
        guesses: Sequence[np.ndarray],
        candidates: Sequence[Detection],
    ) -> dict[int, Detection]:
        """Which candidate belongs to which thread: by overlap, and by descriptor where that is in doubt."""
        if not alive or not candidates:
            return {}
        boxes = [compute_face_box(guess) for guess in guesses]
        gain = np.array([[compute_overlap(box, candidate.box) for candidate in candidates] for box in boxes])
        doubt = gain > 0.15
        for row, column in zip(*np.nonzero(doubt), strict=True):
            mine = alive[row].mean_descriptor
            if mine is not None and (doubt[row].sum() > 1 or doubt[:, column].sum() > 1):
                landmarks = self._dlib_landmarker.locate_coarsely(picture, candidates[column].box)
                gain[row, column] += 1 - np.linalg.norm(compute_descriptor(picture, landmarks) - mine)
        rows, columns = linear_sum_assignment(-gain)
        return {row: candidates[column] for row, column in zip(rows, columns, strict=True) if gain[row, column] > 0.25}

    def _find_thread_face(
        self, picture: np.ndarray, thread: FaceThread, guess: np.ndarray, candidate: Detection | None, place: int
    ) -> FaceSighting | None:
        """The thread's face in this picture, or None when it is lost."""
        if candidate is None:
            candidate = self._detector.find_near(picture, compute_face_box(guess))
        placed = self._place_landmarks(picture, guess, None)
        if placed.evidence < 0.7 and candidate is not None:
            placed = max(placed, self._place_landmarks(picture, None, candidate.box), key=lambda p: p.evidence)
        landmarks, proof, scatter = placed.landmarks, placed.evidence, placed.scatter
        if candidate is not None and candidate.confidence > 0.8 and scatter is not None:
            # A pose that the landmarks hold only from good starts: the detector vouches for half of it.
            proof = max(proof, 0.5 * rate_spread(_SPREAD_PER_SCATTER * float(scatter.mean())))
        if candidate is not None and (proof >= 0.5 or candidate.confidence * proof >= self._minimum_confidence):
            return FaceSighting(
                landmarks, max(candidate.confidence, 0.5) * proof, "detected", scatter, wflw=placed.wflw
            )
        height = compute_face_box(landmarks)[3]
        if proof < 0.5 or not 0.7 < height / thread.boxes[place - 1][3] < 1.4:
            return None
        mine = thread.mean_descriptor
        if mine is not None and np.linalg.norm(compute_descriptor(picture, landmarks) - mine) > _OTHER_PERSON_DISTANCE:
            return None
        return FaceSighting(landmarks, 0.5 * proof, "followed", scatter, wflw=placed.wflw)

    def _place_landmarks(self, picture: np.ndarray, guess: np.ndarray | None, box: Box | None) -> _PlacedLandmarks:
        """Landmarks near a guess or in a box, and the evidence that they are of a face."""
        scatter = many = None
        if isinstance(self._landmarker, DlibLandmarker):
            start = self._landmarker.locate_coarsely(picture, box) if guess is None and box is not None else guess
            assert start is not None
            landmarks, scatter = self._landmarker.locate_with_scatter(picture, start)
            if np.median(scatter) >= _HARD_SCATTER:
                other = self._landmarker.search(picture, compute_face_box(start) if box is None else box)
                if other[1].mean() < 0.75 * scatter.mean():
                    landmarks, scatter = other
            if scatter.mean() < _CLEAR_SCATTER:  # beyond doubt; the wider test would cost as much again
                return _PlacedLandmarks(landmarks, rate_spread(_SPREAD_PER_SCATTER * float(scatter.mean())), scatter)
        else:
            where = compute_face_box(guess) if guess is not None else box
            assert where is not None
            if isinstance(self._landmarker, HrnetLandmarker):
                many = self._landmarker.locate_wflw(picture, [where], second_look=guess is None)[0]
                landmarks = to_ibug(many)
            else:
                landmarks = self._landmarker.locate(picture, [where])[0]
        return _PlacedLandmarks(
            landmarks, rate_spread(self._dlib_landmarker.measure_spread(picture, landmarks)), scatter, many
        )

    def _begin_thread(
        self, picture: np.ndarray, candidate: Detection, place: int, found: Sequence[FaceThread]
    ) -> FaceThread | None:
        """A thread for a candidate that belongs to none: a new one, or one that was lost nearby."""
        self._refused_boxes = [(when, box) for when, box in self._refused_boxes if place - when < _FINE_SEARCH_INTERVAL]
        if any(compute_coverage(candidate.box, thread.boxes[place]) > 0.4 for thread in found):
            return None
        if any(compute_overlap(candidate.box, box) > 0.7 for _, box in self._refused_boxes):
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

    def _count_misplaced(self, picture: np.ndarray, candidate: Detection, placed: _PlacedLandmarks) -> None:
        """Counts a refused candidate that is a face beyond doubt, so that it must be the network that is wrong."""
        if placed.wflw is not None and placed.evidence < 0.3 and candidate.confidence > 0.5:
            known = self._dlib_landmarker.locate(picture, [candidate.box])[0]
            self.misplaced_count += rate_spread(self._dlib_landmarker.measure_spread(picture, known)) > 0.7

    def _find_lost_thread(self, picture: np.ndarray, landmarks: np.ndarray, place: int) -> FaceThread | None:
        box = compute_face_box(landmarks)
        near = [
            thread
            for thread in self.threads
            if 0 < place - thread.last_place <= self._gap + 1
            and thread.last_place >= self._last_cut
            and compute_overlap(box, _grow_box(thread.boxes[thread.last_place], 1.5)) > 0.15
        ]
        if not near:
            return None
        mine = compute_descriptor(picture, landmarks)
        best = min(near, key=lambda thread: _measure_distance(thread.mean_descriptor, mine))
        return best if _measure_distance(best.mean_descriptor, mine) < _OTHER_PERSON_DISTANCE else None

    def _record_sighting(self, thread: FaceThread, place: int, picture: np.ndarray, seen: FaceSighting) -> None:
        thread.sightings[place] = seen
        thread.boxes[place] = compute_face_box(seen.landmarks)
        due = place - thread.last_described >= self._describe_interval or not thread.descriptors
        if (due and seen.confidence >= _DESCRIBE_CONFIDENCE) or not thread.descriptors:
            thread.descriptors.append(compute_descriptor(picture, seen.landmarks))
            thread.last_described = place

    def _is_free(self, landmarks: np.ndarray, found: Sequence[FaceThread], place: int) -> bool:
        """Whether no other thread holds this very face already."""
        box = compute_face_box(landmarks)
        return all(compute_overlap(box, thread.boxes[place]) < 0.5 for thread in found)

    def _is_cut(self, picture: np.ndarray) -> bool:
        """Whether the clip goes on with another scene: thumbnails that have nothing to do with one another."""
        small = cv2.resize(picture, (48, 27), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float64)
        before, self._thumbnail = self._thumbnail, small
        if before is None or not self._related:
            return True
        a, b = before - before.mean(), small - small.mean()
        spread = np.sqrt((a**2).sum() * (b**2).sum())
        return bool(spread > 0 and (a * b).sum() / spread < 0.4 and np.abs(before - small).mean() > 12)


def group_threads(threads: Sequence[FaceThread], gap: int) -> list[list[FaceThread]]:
    """Threads that are one person, each list in order of time: not in one picture at once, and alike."""
    groups: list[list[FaceThread]] = []
    for thread in sorted(threads, key=lambda t: (-len(t.sightings), min(t.sightings))):
        fitting = [
            (score, index)
            for index, group in enumerate(groups)
            if (score := _measure_kinship(thread, group, gap)) is not None
        ]
        if fitting:
            groups[min(fitting)[1]].append(thread)
        else:
            groups.append([thread])
    return [sorted(group, key=lambda t: min(t.sightings)) for group in groups]


def _measure_kinship(thread: FaceThread, group: Sequence[FaceThread], gap: int) -> float | None:
    """Descriptor distance to the group's mean if the thread may belong to it, else None."""
    if any(place in other.sightings for other in group for place in thread.sightings):
        return None
    known = [description for other in group for description in other.descriptors]
    if not known or not thread.descriptors:
        return None
    away = float(np.linalg.norm(np.mean(known, axis=0) - np.mean(thread.descriptors, axis=0)))
    return away if away < SAME_PERSON_DISTANCE else None


def _measure_distance(a: np.ndarray | None, b: np.ndarray) -> float:
    return 0.5 if a is None else float(np.linalg.norm(a - b))


def _grow_box(box: Box, factor: float) -> Box:
    x, y, width, height = box
    return (x - width * (factor - 1) / 2, y - height * (factor - 1) / 2, width * factor, height * factor)
