"""Lips under a hand that only seems to cover them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fsgan_core.faces.mesh import INNER_LIPS, OUTER_LIPS
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Window
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.occluders import hands
from fsgan_core.stages.occluders.bare_lips import LipColour, draw_bare_lips, measure_lip_colour
from tests.stages.conftest import face_at, plate_at, posed

SIDE = 240
REGION = Window(0, 0, SIDE, SIDE)
SKIN, LIP, HAND = np.array([[0.62, 0.47, 0.40], [0.46, 0.28, 0.26], [0.85, 0.66, 0.58]], np.float32)
FACE = face_at(posed(scale=1.0, centre=(120.0, 80.0)))
MESH = FACE.get_mesh(1.0)
LIPS = draw_polygon(MESH[list(OUTER_LIPS), :2], REGION)
MIDDLE = MESH[list(INNER_LIPS), :2].mean(0)


def paint(light: float = 1.0, hand: np.ndarray | None = None) -> np.ndarray:
    """A face with lips, and perhaps a hand before it, display-like."""
    picture = SKIN + LIPS[..., None] * (LIP - SKIN)
    if hand is not None:
        picture = picture + hand[..., None] * (HAND - picture)
    noise = 0.01 * np.random.default_rng(1).standard_normal(picture.shape)
    return (light * (picture + noise)).astype(np.float32)


def draw_block(top: float) -> np.ndarray:
    """A hand as a broad block that comes up from below to `top`."""
    block = np.zeros((SIDE, SIDE), np.float32)
    block[round(top) :, 60:180] = 1
    return block


def measure(light: float = 1.0) -> LipColour:
    colour = measure_lip_colour([(paint(light), REGION, MESH)] * 3)
    assert colour is not None
    return colour


class TestColour:
    def test_is_that_of_the_lips_against_skin(self) -> None:
        offsets = measure().offsets
        assert offsets.shape == (20, 3)
        assert (offsets[:, 0] < -5).all()  # darker than skin

    def test_a_hand_in_a_few_pictures_does_not_count(self) -> None:
        covered = (paint(hand=draw_block(MIDDLE[1] - 30)), REGION, MESH)
        colour = measure_lip_colour([(paint(), REGION, MESH)] * 3 + [covered] * 2)
        assert colour is not None
        assert np.abs(colour.offsets - measure().offsets).max() < 1

    def test_too_few_pictures_say_nothing(self) -> None:
        assert measure_lip_colour([(paint(), REGION, MESH)] * 2) is None


class TestBareLips:
    def draw(self, hand: np.ndarray, matte: np.ndarray, light: float = 1.0) -> np.ndarray:
        return draw_bare_lips(paint(light, hand), MESH, REGION, 1.0, measure(), matte)

    @pytest.mark.parametrize("light", [1.0, 0.8])
    def test_lips_that_pass_for_hand_are_found(self, light: float) -> None:
        """In another light too."""
        bottom = MESH[list(OUTER_LIPS), 1].max()
        bare = self.draw(draw_block(bottom + 2), draw_block(bottom - 40), light)
        assert bare[LIPS > 0.9].mean() > 0.8
        assert not bare[LIPS == 0].any()

    def test_lips_behind_a_hand_are_not(self) -> None:
        hand = draw_block(MIDDLE[1] - 30)
        assert not self.draw(hand, hand).any()

    def test_half_covered_lips(self) -> None:
        hand = draw_block(MIDDLE[1])
        bare = self.draw(hand, draw_block(MIDDLE[1] - 40))
        above, below = (LIPS > 0.9) & (hand == 0), (LIPS > 0.9) & (hand == 1)
        assert bare[above].mean() > 0.7 and bare[below].mean() < 0.2

    def test_a_hand_of_the_lips_colour_hides_them(self) -> None:
        """What cannot be told apart is left to the cut."""
        hand = draw_block(MIDDLE[1] - 30)
        picture = paint()
        picture[hand > 0] = LIP
        assert not draw_bare_lips(picture, MESH, REGION, 1.0, measure(), hand).any()


def test_a_cut_hand_leaves_bare_lips(monkeypatch: pytest.MonkeyPatch, codec: Codec) -> None:
    """Asked for only when a hand reaches the lips."""
    bottom = MESH[list(OUTER_LIPS), 1].max()
    hand, asked = draw_block(bottom + 2), []

    def give_colour() -> LipColour:
        asked.append(1)
        return measure()

    reach = [draw_block(bottom - 40), draw_block(bottom + 30)]
    points = np.stack([np.linspace(80, 160, 21), np.linspace(bottom + 4, SIDE - 10, 21)], -1)
    monkeypatch.setattr(hands, "_find_hands_around", lambda frame: [(points, 0.95)])
    picture = paint(hand=hand)
    frame = FaceFrame(plate_at(picture), FACE, REGION, codec)
    hull = np.ones((SIDE, SIDE), np.float32)
    monkeypatch.setattr(hands, "cut_out_hand", lambda *arguments: reach[1].copy())
    hands.measure_hand_mattes(replace(frame, measure_lips=give_colour), picture, hull)
    assert not asked
    monkeypatch.setattr(hands, "cut_out_hand", lambda *arguments: reach[0].copy())
    [alone] = hands.measure_hand_mattes(frame, picture, hull)
    [informed] = hands.measure_hand_mattes(replace(frame, measure_lips=give_colour), picture, hull)
    assert asked == [1]
    assert alone.matte[LIPS > 0.9].min() == 1 > 0.2 > informed.matte[LIPS > 0.9].mean()
    assert np.array_equal(alone.matte[LIPS == 0], informed.matte[LIPS == 0])
    assert hands.shows_hand_at_lips(frame)
    monkeypatch.setattr(hands, "_find_hands_around", lambda frame: [(points + np.array([0, 300]), 0.95)])
    assert not hands.shows_hand_at_lips(frame)
