"""Hands: cut out along their edges, steady over time, none where there is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.contract.layers import MATTE_FACE, MATTE_OCCLUSION, MATTES
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.detectors.detect_blaze import find_faces
from fsgan_core.faces.hands import BONES
from fsgan_core.plates.colour import Codec, ColourConfig
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.masking import measure_mattes
from fsgan_core.stages.occluders.hands import (
    HAND_CHANNELS,
    META_HANDS,
    HandMatte,
    add_hands,
    combine_hands,
    cut_out_hand,
    measure_hand_mattes,
    measure_palm,
    remove_hands,
)
from tests.faces.test_hands import UPRIGHT
from tests.stages.conftest import Still, face_at, plate_at, posed

SIDE = 120
NO_SMOOTHING = MaskParams(smooth=0)
PALM = (0, 1, 5, 9, 13, 17)


def draw_hand(points: np.ndarray, shape: tuple[int, int], radius: float = 0.14) -> np.ndarray:
    """A hand's coverage: its palm, and fingers `radius` of the palm thick."""
    matte = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(matte, cv2.convexHull(np.round(points[list(PALM)]).astype(np.int32)), 255)
    for start, end in BONES:
        ends = [tuple(round(v * 16) for v in points[n]) for n in (start, end)]
        cv2.line(matte, ends[0], ends[1], 255, round(2 * radius * measure_palm(points)), cv2.LINE_AA, 4)
    return matte.astype(np.float32) / 255


class TestCut:
    @pytest.mark.parametrize("aspect", [1.0, 2.0])
    def test_follows_the_fingers(self, aspect: float) -> None:
        """A hand of nearly the skin's colour: palm and fingers are in, what is between and beyond is not."""
        rng = np.random.default_rng(1)
        points = 1.6 * UPRIGHT
        hand = draw_hand(points, (200, 200), 0.2)
        picture = np.float32([0.62, 0.45, 0.38]) + hand[..., None] * np.float32([0.14, 0.12, 0.1])
        picture = (picture + 0.01 * rng.standard_normal(picture.shape)).astype(np.float32)
        if aspect != 1:
            picture = cv2.resize(picture, (100, 200), interpolation=cv2.INTER_AREA)
        matte = cut_out_hand(picture, points, aspect)
        if aspect != 1:
            matte = cv2.resize(matte, (200, 200), interpolation=cv2.INTER_LINEAR)
        assert matte[hand > 0.99].mean() > 0.95
        outside = cv2.dilate(hand, np.ones((7, 7))) < 0.01
        assert matte[outside].mean() < 0.02
        assert (np.minimum(matte, hand).sum() / np.maximum(matte, hand).sum()) > 0.85

    def test_is_the_same_each_time(self) -> None:
        picture = np.random.default_rng(2).random((150, 150, 3)).astype(np.float32)
        assert np.array_equal(cut_out_hand(picture, UPRIGHT), cut_out_hand(picture, UPRIGHT))

    def test_partly_or_wholly_outside(self) -> None:
        picture = np.full((60, 60, 3), 0.4, np.float32)
        for shift in ((-40, 0), (0, -50), (500, 500), (-200, 0)):
            matte = cut_out_hand(picture, UPRIGHT + shift)
            assert matte.shape == (60, 60)
            assert np.isfinite(matte).all()
        assert not matte.any()

    def test_a_palm_seen_edge_on_has_a_width(self) -> None:
        flat = UPRIGHT * (0.1, 1.0)
        assert measure_palm(flat) > 0.5 * measure_palm(UPRIGHT)


class TestStills:
    @pytest.mark.parametrize("name", ["collins", "hopper"])
    def test_no_hand_where_there_is_none(self, name: str, codec: Codec, request: pytest.FixtureRequest) -> None:
        still: Still = request.getfixturevalue(name)
        with_hands, without = (
            measure_mattes(still.frame(codec), params=NO_SMOOTHING.replace(hands=look)) for look in (True, False)
        )
        assert np.array_equal(remove_hands(with_hands).pixels, without.pixels)
        assert np.array_equal(with_hands.get(*MATTES), without.get(*MATTES))

    def test_a_face_outside_the_plate(self, collins: Still, codec: Codec) -> None:
        away = Still(collins.plate, face_at(collins.face.landmarks + np.array([2000, 0])))
        hull = np.ones((away.region.height, away.region.width), np.float32)
        assert measure_hand_mattes(away.frame(codec), np.zeros((*hull.shape, 3), np.float32), hull) == []


class TestTime:
    """Made-up measurements of a hand that moves 4 pixels a frame."""

    region = Window(0, 0, SIDE, SIDE)
    hull = np.ones((SIDE, SIDE), np.float32)

    def measured(self, frame: int, hands: list[tuple[np.ndarray, float]]) -> tuple[object, Plate]:
        bare = Plate(np.ones((SIDE, SIDE, len(MATTES)), np.float32) * (1, 0, 0, 0), MATTES, self.region, self.region)
        mattes = [HandMatte(points, presence, draw_hand(points, (SIDE, SIDE))) for points, presence in hands]
        return face_at(posed(centre=(60, 60)), frame), add_hands(bare, mattes, self.hull, 1.0)

    def combined(self, hands: dict[int, list[tuple[np.ndarray, float]]], frame: int = 3) -> np.ndarray | None:
        neighbours = [self.measured(number, found) for number, found in hands.items()]
        weights = [float(np.exp(-0.5 * ((number - frame) / 1.2) ** 2)) for number in hands]
        plate = plate_at(np.full((SIDE, SIDE, 3), 0.2))
        codec: Codec = None  # type: ignore[assignment]
        here = FaceFrame(plate, face_at(posed(centre=(60, 60)), frame), self.region, codec)
        return combine_hands(here, neighbours, weights)

    @staticmethod
    def place(frame: int) -> np.ndarray:
        return UPRIGHT + np.array([4.0 * (frame - 3), 0.0])

    def test_moves_as_the_hand_does(self) -> None:
        matte = self.combined({n: [(self.place(n), 0.95)] for n in range(1, 6)})
        assert matte is not None
        hand = draw_hand(self.place(3), (SIDE, SIDE))
        assert matte[hand > 0.9].min() > 0.9
        assert not matte[cv2.dilate(hand, np.ones((5, 5), np.uint8)) == 0].any()

    def test_a_gap_is_bridged(self) -> None:
        hands = {n: [(self.place(n), 0.95)] if n != 3 else [] for n in range(1, 6)}
        matte = self.combined(hands)
        assert matte is not None
        assert np.abs(matte - draw_hand(self.place(3), (SIDE, SIDE))).mean() < 0.04

    def test_a_fluke_of_one_frame_is_dropped(self) -> None:
        matte = self.combined({n: [(self.place(n), 0.95)] if n == 3 else [] for n in range(1, 6)})
        assert matte is not None and not matte.any()

    def test_a_doubtful_frame_among_sure_ones_counts(self) -> None:
        matte = self.combined({n: [(self.place(n), 0.1 if n == 3 else 0.95)] for n in range(1, 6)})
        assert matte is not None
        assert matte[60:90, 50].min() > 0.9

    def test_no_hands(self) -> None:
        assert self.combined({n: [] for n in range(1, 6)}) is None

    def test_what_is_behind_is_kept(self) -> None:
        _, measured = self.measured(1, [(UPRIGHT, 0.95)])
        hand = draw_hand(UPRIGHT, (SIDE, SIDE))
        assert measured.channels[-1] == HAND_CHANNELS[0]
        assert measured.get_matte(MATTE_FACE) == pytest.approx(1 - hand)
        assert measured.get_matte(MATTE_OCCLUSION) == pytest.approx(hand)
        bare = remove_hands(measured)
        assert bare.channels == MATTES and META_HANDS not in bare.metadata
        assert bare.get_matte(MATTE_FACE).min() == 1 and bare.get_matte(MATTE_OCCLUSION).max() == 0


def test_a_hand_before_a_mouth(footage: Path, codec: Codec, config: ColourConfig) -> None:
    """asl_bird: a fist before mouth and chin. The clip's first frames show none."""
    capture = cv2.VideoCapture(str(footage / "clips" / "asl_bird.mp4"))
    frames = [capture.read()[1] for _ in range(25)]
    amounts = {}
    for number in (0, 24):
        picture = np.ascontiguousarray(frames[number][..., ::-1])
        rgb = config.convert(np.float32(picture) / 255, "sRGB", config.scene_linear)
        x, y, width, height = find_faces(picture)[0].box
        face = face_at(posed(scale=width / 130, centre=(x + width / 2, y + 0.3 * height)))
        measured = measure_mattes(Still(plate_at(rgb), face).frame(codec), params=NO_SMOOTHING)
        without = remove_hands(measured)
        amounts[number] = float((without.get_matte(MATTE_FACE) - measured.get_matte(MATTE_FACE)).sum())
        total = without.get_matte(MATTE_FACE).sum()
    assert amounts[0] == 0
    assert amounts[24] > 0.15 * total
