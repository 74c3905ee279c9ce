"""Moves that let a face be recognised: they do, they keep near the target, and what is shut stays shut."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from fsgan_core.contract.params import BlendParams, InpaintParams, ReenactParams
from fsgan_core.faces import models
from fsgan_core.faces.identity import compare_descriptors, compute_descriptor
from fsgan_core.networks.architectures.dlib_resnet import FaceResNet, load_face_resnet
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Window
from fsgan_core.stages import recognition, warp_points
from fsgan_core.stages.blending import blend
from fsgan_core.stages.image_ops import to_display
from fsgan_core.stages.inpainting import inpaint
from fsgan_core.stages.recognition import (
    ShownFace,
    SwappedFrame,
    compute_descriptors,
    find_recognition_moves,
    make_close_up,
    measure_unlikeness,
)
from fsgan_core.stages.reenactment import reenact
from fsgan_core.stages.views import ViewRef
from tests.stages.conftest import ONE, Still


@pytest.fixture(scope="module")
def network() -> FaceResNet:
    return load_face_resnet(models.find_dlib_model(models.RESNET_FILE))


def shown(still: Still, codec: Codec) -> np.ndarray:
    return np.round(to_display(still.plate, still.plate.data_window, codec) * 255).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Case:
    """One person's face on the other's head, `moves` made."""

    source: Still
    target: Still
    codec: Codec

    @property
    def person(self) -> np.ndarray:
        return compute_descriptor(shown(self.source, self.codec), self.source.face.landmarks)[None]

    def swapped(self, moves: np.ndarray | None = None) -> SwappedFrame:
        target, codec = self.target, self.codec
        views = {ViewRef(0, 1): self.source.view(codec)}
        face = reenact(
            target.frame(codec), plan=ONE, views=views, params=ReenactParams(), likeness=None, recognition=moves
        )
        mattes = target.mattes(codec)
        done = blend(
            target.frame(codec),
            completed=inpaint(
                target.frame(codec),
                reenacted=face,
                mattes=mattes,
                further_views=list,
                params=InpaintParams(),
            ),
            mattes=mattes,
            params=BlendParams(),
        )
        window = target.plate.data_window
        matte = np.zeros((window.height, window.width), np.float32)
        region = target.region.intersect(window)
        matte[rows(region, window)] = done.matte[rows(region, target.region)]
        return SwappedFrame(
            shown(Still(done.plate, target.face), codec), matte, target.face.landmarks, target.face.landmarks
        )

    def away(self, frame: SwappedFrame) -> float:
        return compare_descriptors(compute_descriptor(frame.picture, frame.found_landmarks), self.person[0])


def rows(part: Window, whole: Window) -> tuple[slice, slice]:
    return (slice(part.y - whole.y, part.bottom - whole.y), slice(part.x - whole.x, part.right - whole.x))


@pytest.fixture(scope="module")
def case(collins: Still, hopper: Still, codec: Codec) -> Case:
    return Case(hopper, collins, codec)


@pytest.fixture(scope="module")
def moves(case: Case, network: FaceResNet) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recognition, "SEARCH_STEPS", 30)
        return find_recognition_moves([case.swapped()], case.person, network)


def test_the_source_is_recognised_better(case: Case, moves: np.ndarray) -> None:
    """By the real warp, whose picture the search never saw, and dlib's own descriptor."""
    assert case.away(case.swapped(moves)) < 0.95 * case.away(case.swapped())


def test_moves_are_small_and_in_the_faces_plane(moves: np.ndarray) -> None:
    assert moves.shape == (68, 3) and not moves[:, 2].any()
    assert 0.2 < np.linalg.norm(moves, axis=1).mean() < 4


def test_what_is_shut_stays_shut(case: Case, moves: np.ndarray) -> None:
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65)):
        assert np.allclose(moves[upper], moves[lower], atol=1e-5)
    shut = case.target.face.landmarks.copy()
    shut[[67, 66, 65]] = shut[[61, 62, 63]]
    moved = warp_points.displace_landmarks(shut, moves)
    assert np.linalg.norm(moved[[67, 66, 65]] - moved[[61, 62, 63]], axis=1).max() < 0.05


def test_the_way_off_the_landmarks_costs(case: Case, network: FaceResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "SEARCH_STEPS", 15)
    frame = case.swapped()
    sizes = []
    for cost in (0.02, 2.0):
        monkeypatch.setattr(recognition, "LANDMARK_COST", cost)
        found = find_recognition_moves([frame], case.person, network)
        sizes.append(
            np.linalg.norm(
                warp_points.displace_landmarks(frame.found_landmarks, found) - frame.target_landmarks, axis=1
            ).mean()
        )
    assert sizes[1] < 0.5 * sizes[0]


def test_a_face_that_missed_its_place_is_brought_there(
    case: Case, network: FaceResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Landmarks read in the result against those of the target, a pixel and a half apart."""
    monkeypatch.setattr(recognition, "SEARCH_STEPS", 30)
    monkeypatch.setattr(recognition, "LANDMARK_COST", 2.0)
    right = case.swapped()
    missed = SwappedFrame(
        right.picture, right.matte, right.found_landmarks, right.target_landmarks + np.array([1.5, 0.0])
    )
    found = find_recognition_moves([missed], case.person, network)
    way = warp_points.displace_landmarks(missed.found_landmarks, found)[27:48, 0] - missed.found_landmarks[27:48, 0]
    assert 1.0 < way.mean() < 2.0


@pytest.mark.parametrize("off, low, high", [(0.004, 0.75, 1.05), (0.06, 0.0, 0.5)])
def test_lips_that_are_far_off_are_taken_for_misread(
    case: Case, network: FaceResNet, off: float, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """off: of the eyes' distance. How far the lips go after it, against a search that believes everything."""
    monkeypatch.setattr(recognition, "SEARCH_STEPS", 30)
    monkeypatch.setattr(recognition, "LANDMARK_COST", 2.0)
    right = case.swapped()
    wanted = right.target_landmarks.copy()
    wanted[48:68, 1] += off * np.linalg.norm(wanted[36] - wanted[45])
    missed = SwappedFrame(right.picture, right.matte, right.found_landmarks, wanted)
    ways = []
    for misread in (recognition.MISREAD_SHARE, 1e6):
        monkeypatch.setattr(recognition, "MISREAD_SHARE", misread)
        moved = (
            warp_points.displace_landmarks(
                right.found_landmarks, find_recognition_moves([missed], case.person, network)
            )
            - right.found_landmarks
        )
        ways.append(moved[48:68, 1].mean())
    assert low < ways[0] / ways[1] < high


def test_without_a_matte_nothing_can_move(case: Case, network: FaceResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "SEARCH_STEPS", 3)
    frame = case.swapped()
    bare = SwappedFrame(frame.picture, np.zeros_like(frame.matte), frame.found_landmarks, frame.target_landmarks)
    assert not find_recognition_moves([bare], case.person, network).any()


def test_steps_are_told(case: Case, network: FaceResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "SEARCH_STEPS", 2)
    told: list[tuple[int, int]] = []
    find_recognition_moves([case.swapped()], case.person, network, lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2)]


class TestUnlikeness:
    """How much of a person a view shows on the target's face."""

    @pytest.fixture
    def face(self, hopper: Still, codec: Codec) -> ShownFace:
        return make_close_up(ShownFace(shown(hopper, codec), hopper.face.landmarks))

    def measured(self, case: Case, network: FaceResNet, *views: ShownFace) -> np.ndarray:
        return measure_unlikeness(
            views, [ShownFace(shown(case.target, case.codec), case.target.face.landmarks)], case.person, network
        )

    def test_a_close_up_shows_the_same_face(self, face: ShownFace, case: Case, network: FaceResNet) -> None:
        assert compare_descriptors(compute_descriptors([face], network)[0], case.person[0]) < 0.06

    def test_of_another_person_it_is_large(
        self, face: ShownFace, case: Case, network: FaceResNet, codec: Codec
    ) -> None:
        other = make_close_up(ShownFace(shown(case.target, codec), case.target.face.landmarks))
        same, stranger = self.measured(case, network, face, other)
        assert 0 < same < 0.6 * stranger

    def test_the_less_a_view_is_bent_the_more_is_left(self, face: ShownFace, case: Case, network: FaceResNet) -> None:
        """On its own landmarks it is itself."""
        own = ShownFace(shown(case.source, case.codec), case.source.face.landmarks)
        assert measure_unlikeness([face], [own], case.person, network)[0] < 0.06 < self.measured(case, network, face)[0]

    def test_a_mouth_does_not_count(
        self, face: ShownFace, case: Case, network: FaceResNet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        views = face, painted(face, slice(48, 60))
        clean, mouth = self.measured(case, network, *views)
        monkeypatch.setattr(recognition, "MOUTH_GROWTH", 0.0)
        counted = np.ptp(self.measured(case, network, *views))
        assert abs(mouth - clean) < 0.2 * counted

    def test_in_the_mirror(self, face: ShownFace, case: Case, network: FaceResNet) -> None:
        there = face.mirror()
        assert there.landmarks[0, 0] < there.landmarks[16, 0]  # the jaw is still from the picture's left to its right
        back = there.mirror()
        assert np.array_equal(back.picture, face.picture) and np.allclose(back.landmarks, face.landmarks)
        plain, mirrored = self.measured(case, network, face, there)
        assert abs(mirrored - plain) < 0.1

    def test_views_are_told(self, face: ShownFace, case: Case, network: FaceResNet) -> None:
        told: list[tuple[int, int]] = []
        measure_unlikeness([face, face], [face], case.person, network, lambda done, total: told.append((done, total)))
        assert told == [(0, 2), (1, 2)]


def painted(face: ShownFace, part: slice) -> ShownFace:
    """The face with a part of it painted black."""
    picture = face.picture.copy()
    cv2.fillConvexPoly(picture, cv2.convexHull(np.rint(face.landmarks[part]).astype(np.int32)), (0, 0, 0))
    return ShownFace(picture, face.landmarks)
