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

from fsgan_core.faces.detect import Detection, Detector, evidence
from fsgan_core.faces.geometry import Box, apply, covered, overlap, similarity
from fsgan_core.faces.identity import descriptor
from fsgan_core.faces.landmarks import DlibLandmarker, Landmarker, make_landmarker
from fsgan_core.faces.landmarks_hrnet import HrnetLandmarker
from fsgan_core.faces.landmarks_wflw import to_ibug
from fsgan_core.faces.optical_flow import motion
from fsgan_core.faces.pose import face_box

log = logging.getLogger(__name__)

SAME = 0.5  # descriptor distance below which two threads may be one person
_NOT_SAME = 0.65  # beyond this a face is not the one that was followed
_FINE_EVERY = 24  # frames between looks for small faces
_SURE = 0.5  # confidence from which a face is described
_CLEAR = 1.2  # mm of scatter (DlibLandmarker.located) below which a face is a face
_HARD = 1.4  # mm of scatter, of half the landmarks, from which other starts are worth their time
_WIDER = 1.5  # what the wider test (DlibLandmarker.spread) says for each mm of it
_DESCRIPTIONS = 16  # per thread, spread over its length


@dataclass(frozen=True)
class Seen:
    """A face in a picture: landmarks (68, 2) in the picture's pixels; scatter, motion and wflw as in track.Face."""

    landmarks: np.ndarray
    confidence: float
    origin: str
    scatter: np.ndarray | None = None
    motion: np.ndarray | None = None
    wflw: np.ndarray | None = None


@dataclass(frozen=True)
class _Placed:
    """Landmarks, the evidence (0..1) that they are of a face, their scatter (68,) in mm where it is known, and the 98
    landmarks that they were taken from, if any."""

    landmarks: np.ndarray
    proof: float
    scatter: np.ndarray | None
    wflw: np.ndarray | None = None


@dataclass
class Thread:
    """One face over time, by place (position among the analysed frames)."""

    seen: dict[int, Seen] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    descriptions: list[np.ndarray] = field(default_factory=list)
    described: int = -1000  # place of the latest description

    @property
    def last(self) -> int:
        return max(self.seen)

    @property
    def descriptor(self) -> np.ndarray | None:
        return np.mean(self.descriptions, axis=0) if self.descriptions else None


class Follower:
    """Takes pictures in order; `threads` are what was found. One clip each; not for several threads of execution.

    pictures: uint8 (height, width, RGB), square pixels. count: how many pictures there will be. gap: places that a
    face may be lost and still be the same thread by position.
    """

    def __init__(self, detector: Detector, landmarker: Landmarker, *, count: int, gap: int, minimum_size: float,
                 minimum_confidence: float, related: bool = True) -> None:
        self.threads: list[Thread] = []
        self.misplaced = 0  # faces for dlib's landmarks that were none for the network's
        self._detector = detector
        self._landmarker = landmarker
        judge = make_landmarker("dlib")
        assert isinstance(judge, DlibLandmarker)
        self._judge = judge
        self._describe_every = max(6, count // _DESCRIPTIONS)
        self._gap = gap
        self._minimum_size = minimum_size
        self._minimum_confidence = minimum_confidence
        self._related = related
        self._before: np.ndarray | None = None
        self._thumbnail: np.ndarray | None = None
        self._cut = 0  # place of the latest cut
        self._refused: list[tuple[int, Box]] = []

    def add(self, place: int, picture: np.ndarray, shift: tuple[float, float] = (0.0, 0.0),
            fresh: bool = False) -> list[Thread]:
        """The threads that have a face in this picture. shift: what a still thing's coordinates gained since the
        picture before (data windows may move). fresh: the picture has nothing to do with the one before."""
        if self._is_cut(picture) or fresh:
            self._cut = place
            self._before = None
        alive = [thread for thread in self.threads if thread.last == place - 1 and place > self._cut]
        moves = [self._motion(thread, place - 1, picture, shift) for thread in alive]
        guesses = [self._guess(thread.seen[place - 1].landmarks, move)
                   for thread, move in zip(alive, moves, strict=True)]
        candidates = self._detector.candidates(picture, fine=(place - self._cut) % _FINE_EVERY == 0)
        if not candidates and not alive:
            candidates = self._detector.detect(picture)
        given = self._joined(picture, alive, guesses, candidates)
        found: list[Thread] = []
        for number, thread in enumerate(alive):
            seen = self._seen(picture, thread, guesses[number], given.get(number), place)
            if seen is not None and self._is_free(seen.landmarks, found, place):
                self._keep(thread, place, picture, replace(seen, motion=moves[number] - (*shift, 0.0)))
                found.append(thread)
        taken = {id(candidate) for candidate in given.values()}
        for candidate in candidates:
            if id(candidate) not in taken:
                new = self._begun(picture, candidate, place, found)
                if new is not None:
                    found.append(new)
        self._before = picture
        return found

    def _motion(self, thread: Thread, place: int, picture: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
        landmarks = thread.seen[place].landmarks
        assert self._before is not None
        return motion(self._before, picture, landmarks, landmarks + shift)

    @staticmethod
    def _guess(landmarks: np.ndarray, move: np.ndarray) -> np.ndarray:
        """Where the face should be: its landmarks moved as a whole, by those whose motion is sure."""
        size = np.linalg.norm(landmarks[45] - landmarks[36])
        weights = 1 / (0.02 * size + move[:, 2]) ** 2
        target = landmarks + move[:, :2]
        for _ in range(3):
            fit = similarity(landmarks, target, weights)
            off = np.linalg.norm(apply(fit, landmarks) - target, axis=1)
            weights = weights / (1 + (off / (0.05 * size)) ** 2)
        return apply(fit, landmarks)

    def _joined(self, picture: np.ndarray, alive: Sequence[Thread], guesses: Sequence[np.ndarray],
                candidates: Sequence[Detection]) -> dict[int, Detection]:
        """Which candidate belongs to which thread: by overlap, and by descriptor where that is in doubt."""
        if not alive or not candidates:
            return {}
        boxes = [face_box(guess) for guess in guesses]
        gain = np.array([[overlap(box, candidate.box) for candidate in candidates] for box in boxes])
        doubt = gain > 0.15
        for row, column in zip(*np.nonzero(doubt), strict=True):
            mine = alive[row].descriptor
            if mine is not None and (doubt[row].sum() > 1 or doubt[:, column].sum() > 1):
                landmarks = self._judge.coarse(picture, candidates[column].box)
                gain[row, column] += 1 - np.linalg.norm(descriptor(picture, landmarks) - mine)
        rows, columns = linear_sum_assignment(-gain)
        return {row: candidates[column] for row, column in zip(rows, columns, strict=True) if gain[row, column] > 0.25}

    def _seen(self, picture: np.ndarray, thread: Thread, guess: np.ndarray, candidate: Detection | None,
              place: int) -> Seen | None:
        """The thread's face in this picture, or None when it is lost."""
        if candidate is None:
            candidate = self._detector.near(picture, face_box(guess))
        placed = self._placed(picture, guess, None)
        if placed.proof < 0.7 and candidate is not None:
            placed = max(placed, self._placed(picture, None, candidate.box), key=lambda p: p.proof)
        landmarks, proof, scatter = placed.landmarks, placed.proof, placed.scatter
        if candidate is not None and candidate.confidence > 0.8 and scatter is not None:
            # A pose that the landmarks hold only from good starts: the detector vouches for half of it.
            proof = max(proof, 0.5 * evidence(_WIDER * float(scatter.mean())))
        if candidate is not None and (proof >= 0.5 or candidate.confidence * proof >= self._minimum_confidence):
            return Seen(landmarks, max(candidate.confidence, 0.5) * proof, "detected", scatter, wflw=placed.wflw)
        height = face_box(landmarks)[3]
        if proof < 0.5 or not 0.7 < height / thread.boxes[place - 1][3] < 1.4:
            return None
        mine = thread.descriptor
        if mine is not None and np.linalg.norm(descriptor(picture, landmarks) - mine) > _NOT_SAME:
            return None
        return Seen(landmarks, 0.5 * proof, "followed", scatter, wflw=placed.wflw)

    def _placed(self, picture: np.ndarray, guess: np.ndarray | None, box: Box | None) -> _Placed:
        """Landmarks near a guess or in a box, and the evidence that they are of a face."""
        scatter = many = None
        if isinstance(self._landmarker, DlibLandmarker):
            start = self._landmarker.coarse(picture, box) if guess is None and box is not None else guess
            assert start is not None
            landmarks, scatter = self._landmarker.located(picture, start)
            if np.median(scatter) >= _HARD:
                other = self._landmarker.search(picture, face_box(start) if box is None else box)
                if other[1].mean() < 0.75 * scatter.mean():
                    landmarks, scatter = other
            if scatter.mean() < _CLEAR:  # beyond doubt; the wider test would cost as much again
                return _Placed(landmarks, evidence(_WIDER * float(scatter.mean())), scatter)
        else:
            where = face_box(guess) if guess is not None else box
            assert where is not None
            if isinstance(self._landmarker, HrnetLandmarker):
                many = self._landmarker.locate_many(picture, [where], settle=guess is None)[0]
                landmarks = to_ibug(many)
            else:
                landmarks = self._landmarker.locate(picture, [where])[0]
        return _Placed(landmarks, evidence(self._judge.spread(picture, landmarks)), scatter, many)

    def _begun(self, picture: np.ndarray, candidate: Detection, place: int, found: Sequence[Thread]) -> Thread | None:
        """A thread for a candidate that belongs to none: a new one, or one that was lost nearby."""
        self._refused = [(when, box) for when, box in self._refused if place - when < _FINE_EVERY]
        if any(covered(candidate.box, thread.boxes[place]) > 0.4 for thread in found):
            return None
        if any(overlap(candidate.box, box) > 0.7 for _, box in self._refused):
            return None
        placed = self._placed(picture, None, candidate.box)
        landmarks, confidence = placed.landmarks, candidate.confidence * placed.proof
        if (confidence < self._minimum_confidence or face_box(landmarks)[3] < self._minimum_size
                or not self._is_free(landmarks, found, place)):
            self._refused.append((place, candidate.box))
            self._doubt(picture, candidate, placed)
            return None
        lost = self._lost_nearby(picture, landmarks, place)
        thread = lost if lost is not None else Thread()
        if lost is None:
            self.threads.append(thread)
        self._keep(thread, place, picture, Seen(landmarks, confidence, "detected", placed.scatter, wflw=placed.wflw))
        return thread

    def _doubt(self, picture: np.ndarray, candidate: Detection, placed: _Placed) -> None:
        """Counts a refused candidate that is a face beyond doubt, so that it must be the network that is wrong."""
        if placed.wflw is not None and placed.proof < 0.3 and candidate.confidence > 0.5:
            known = self._judge.locate(picture, [candidate.box])[0]
            self.misplaced += evidence(self._judge.spread(picture, known)) > 0.7

    def _lost_nearby(self, picture: np.ndarray, landmarks: np.ndarray, place: int) -> Thread | None:
        box = face_box(landmarks)
        near = [thread for thread in self.threads
                if 0 < place - thread.last <= self._gap + 1 and thread.last >= self._cut
                and overlap(box, _grown(thread.boxes[thread.last], 1.5)) > 0.15]
        if not near:
            return None
        mine = descriptor(picture, landmarks)
        best = min(near, key=lambda thread: _distance(thread.descriptor, mine))
        return best if _distance(best.descriptor, mine) < _NOT_SAME else None

    def _keep(self, thread: Thread, place: int, picture: np.ndarray, seen: Seen) -> None:
        thread.seen[place] = seen
        thread.boxes[place] = face_box(seen.landmarks)
        due = place - thread.described >= self._describe_every or not thread.descriptions
        if (due and seen.confidence >= _SURE) or not thread.descriptions:
            thread.descriptions.append(descriptor(picture, seen.landmarks))
            thread.described = place

    def _is_free(self, landmarks: np.ndarray, found: Sequence[Thread], place: int) -> bool:
        """Whether no other thread holds this very face already."""
        box = face_box(landmarks)
        return all(overlap(box, thread.boxes[place]) < 0.5 for thread in found)

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


def people(threads: Sequence[Thread], gap: int) -> list[list[Thread]]:
    """Threads that are one person, each list in order of time: not in one picture at once, and alike."""
    groups: list[list[Thread]] = []
    for thread in sorted(threads, key=lambda t: (-len(t.seen), min(t.seen))):
        fitting = [(score, index) for index, group in enumerate(groups)
                   if (score := _kinship(thread, group, gap)) is not None]
        if fitting:
            groups[min(fitting)[1]].append(thread)
        else:
            groups.append([thread])
    return [sorted(group, key=lambda t: min(t.seen)) for group in groups]


def _kinship(thread: Thread, group: Sequence[Thread], gap: int) -> float | None:
    """Descriptor distance to the group's mean if the thread may belong to it, else None."""
    if any(place in other.seen for other in group for place in thread.seen):
        return None
    known = [description for other in group for description in other.descriptions]
    if not known or not thread.descriptions:
        return None
    away = float(np.linalg.norm(np.mean(known, axis=0) - np.mean(thread.descriptions, axis=0)))
    return away if away < SAME else None


def _distance(a: np.ndarray | None, b: np.ndarray) -> float:
    return 0.5 if a is None else float(np.linalg.norm(a - b))


def _grown(box: Box, factor: float) -> Box:
    x, y, width, height = box
    return (x - width * (factor - 1) / 2, y - height * (factor - 1) / 2, width * factor, height * factor)
