"""Hands in front of a face: found by networks, cut out along the picture's edges, carried along in time.

A hand has a face's colour, so colour alone cannot tell it. Its 21 points seed a cut (GrabCut, Rother, Kolmogorov,
Blake 2004): close to a bone there is surely hand, far from all bones surely none. Each frame is measured by itself. A
frame's hand is then the mean of what neighbouring frames show, moved as the hand moves; it counts as far as these
frames agree that there is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fsgan_core.contract.layers import MATTE_FACE, MATTE_OCCLUSION
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.faces.face import Face
from fsgan_core.faces.geometry import fit_similarity
from fsgan_core.faces.hands import (
    BONES,
    Hand,
    drop_repeated_hands,
    find_palms,
    fit_square_to_hand,
    fit_square_to_palm,
    measure_hands,
)
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Image, Image8, Matte, Points, Vector
from fsgan_core.stages.guided_filter import apply_guided_filter
from fsgan_core.stages.image_ops import (
    HALF_COVERED,
    SUBPIXEL_BITS,
    SUBPIXEL_STEPS,
    draw_convex_hull,
    ease_between,
    move_picture,
    pad_plate,
    stack_planes,
)
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.warp_points import NOSE_TIP, measure_face_width

# The picture in which hands are looked for.
NOSE_TOP = 27  # landmark
SEARCH_REACH = 1.9  # of the face: how far around it hands are looked for
SEARCH_SIDE = 448  # pixels at most
FULL_8BIT = 255.0
MAX_HANDS = 2
MIN_PRESENCE = 0.1  # at the first look: below it there is no second one

# Points of a hand, as its network numbers them: wrist, then four of each finger from the palm to the tip.
WRIST = 0
INDEX_KNUCKLE, MIDDLE_KNUCKLE, LITTLE_KNUCKLE = 5, 9, 17
FINGER_BONES = tuple((start, end) for start, end in BONES if end == start + 1 and start > 0)
PALM_POINTS = (0, 1, 5, 9, 13, 17)

# The cut; lengths are shares of the palm's width.
SURE_RADIUS, LIKELY_RADIUS, POSSIBLE_RADIUS = 0.18, 0.24, 0.33  # around a bone
PALM_SHAPE = 0.5  # width of a palm over its length
FOREARM_LENGTH = 0.8  # beyond the wrist, of the palm's length
CUT_MARGIN = 1.0  # around the points
CUT_PALM = 64  # pixels: a larger palm is cut on a smaller picture
CUT_ROUNDS = 4
COLOUR_MODEL_SIZE, NO_RECTANGLE = 65, (0, 0, 0, 0)  # numbers of five Gaussians, as OpenCV keeps them; not used
CUT_BLUR = 0.7  # pixels of the cut's raster
GUIDE_RADIUS, GUIDE_EPSILON = 0.05, 1e-4  # of the palm; variance of the picture
MIN_CUT_SIDE = 8  # pixels

# Agreement over time.
NO_HAND, HAND = 0.35, 0.5  # presence, 0..1, averaged over neighbouring frames
MATCH_REACH, MATCH_FRAMES = 2.5, 2  # of the palm per frame: how far a hand may move; frames that count at most
MIN_WEIGHT = 0.02  # of frames: if all that show the hand weigh less, its shape is not known
CHANGED_HAND = 0.15  # of the palm: a hand whose points miss by this has another shape
EDGE_RANGE = (0.25, 0.75)  # averaged coverage that becomes 0, and 1

# Channels of measured mattes; they are in no file.
COVERED_MATTES = (MATTE_FACE, MATTE_OCCLUSION)
BEHIND_CHANNELS = ("behind.face", "behind.occlusion")
HAND_CHANNELS = tuple(f"matte.hand{number}" for number in range(MAX_HANDS))
META_HANDS = "fsgan/hands"


@dataclass(frozen=True)
class HandMatte:
    """One hand of one frame.

    Attributes:
        points: (21, 2) plate coordinates.
        presence: How surely it is a hand, 0..1.
        matte: Its coverage on the frame's region; all 0 if it is not near the face.
    """

    points: Points
    presence: float
    matte: Matte


def measure_hand_mattes(frame: FaceFrame, display: Image, hull: Matte) -> list[HandMatte]:
    """Find hands around a face, and cut out those that may be in front of it.

    Args:
        frame: One frame by itself.
        display: Display-like picture of the region.
        hull: On the region: where the face is.
    """
    region, square = frame.region, np.array([frame.pixel_aspect, 1.0])
    covered = cv2.resize(hull, (0, 0), fx=frame.pixel_aspect, fy=1.0) if frame.pixel_aspect != 1 else hull
    hands = []
    for points, presence in _find_hands_around(frame):
        place = (points - (region.x, region.y) + 0.5) * square - 0.5
        matte = np.zeros_like(hull)
        if (covered[_draw_bones(place, POSSIBLE_RADIUS, covered.shape) > HALF_COVERED] > HALF_COVERED).any():
            matte = cut_out_hand(display, place, frame.pixel_aspect)
        hands.append(HandMatte(points, presence, matte))
    return hands


def _find_hands_around(frame: FaceFrame) -> list[tuple[Points, float]]:
    """Points in plate coordinates and presence of the hands around a face, surest first."""
    aspect, landmarks = frame.pixel_aspect, frame.face.landmarks
    reach = SEARCH_REACH * measure_face_width(landmarks, aspect)
    x, y = landmarks[[NOSE_TOP, NOSE_TIP]].mean(0)
    left, top = int(np.floor(x - reach / aspect)), int(np.floor(y - reach))
    window = Window(left, top, 2 * round(reach / aspect), 2 * round(reach)).intersect(frame.plate.data_window)
    if window.empty:
        return []
    scale = min(1.0, SEARCH_SIDE / max(window.width * aspect, window.height))
    size = max(1, round(window.width * aspect * scale)), max(1, round(window.height * scale))
    small = cv2.resize(pad_plate(frame.plate, window), size, interpolation=cv2.INTER_AREA)
    picture = np.clip(frame.codec.encode(np.asarray(small)) * FULL_8BIT + 0.5, 0, FULL_8BIT).astype(np.uint8)
    factors = np.array([window.width / size[0], window.height / size[1]])
    return [
        ((hand.landmarks + 0.5) * factors - 0.5 + (window.x, window.y), float(hand.presence))
        for hand in _measure_hands_twice(picture)
    ]


def _measure_hands_twice(picture: Image8) -> list[Hand]:
    """Hands of a picture, each measured twice: from the palm, and from what that gave. The presence is the mean."""
    first = measure_hands(picture, [fit_square_to_palm(palm) for palm in find_palms(picture)[:MAX_HANDS]])
    first = [hand for hand in first if hand.presence > MIN_PRESENCE]
    second = measure_hands(picture, [fit_square_to_hand(hand.landmarks) for hand in first])
    both = [replace(new, presence=(old.presence + new.presence) / 2) for old, new in zip(first, second, strict=True)]
    return drop_repeated_hands(both)


def measure_palm(points: Points) -> float:
    """Measure the width of a palm, also of one that is turned edge on or foreshortened. points: (21, 2) square."""
    across = float(np.linalg.norm(points[INDEX_KNUCKLE] - points[LITTLE_KNUCKLE]))
    along = float(np.linalg.norm(points[MIDDLE_KNUCKLE] - points[WRIST]))
    finger = float(np.linalg.norm(np.diff(points[INDEX_KNUCKLE : INDEX_KNUCKLE + 4], axis=0), axis=1).sum())
    return max(across, PALM_SHAPE * max(along, finger), 1.0)


def cut_out_hand(display: Image, points: Points, aspect: float = 1.0) -> Matte:
    """Cut out a hand along the edges of the picture.

    Args:
        display: Display-like picture.
        points: (21, 2) in square pixels of the picture, that is with x times `aspect`.
        aspect: Width of the picture's pixels over their height.
    """
    height, width = display.shape[:2]
    palm = measure_palm(points)
    low, high = points.min(0) - CUT_MARGIN * palm, points.max(0) + CUT_MARGIN * palm
    left, right = np.clip((int(low[0] / aspect), int(np.ceil(high[0] / aspect))), 0, width)
    top, bottom = np.clip((int(low[1]), int(np.ceil(high[1]))), 0, height)
    matte = np.zeros((height, width), np.float32)
    if right - left < MIN_CUT_SIDE or bottom - top < MIN_CUT_SIDE:
        return matte
    part: Image = np.clip(display[top:bottom, left:right], 0, 1)
    scale = min(1.0, CUT_PALM / palm)
    size = (
        max(MIN_CUT_SIDE, round((right - left) * aspect * scale)),
        max(MIN_CUT_SIDE, round((bottom - top) * scale)),
    )
    small = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.float32)
    cut = _cut_along_edges(small, (points - (left * aspect, top) + 0.5) * scale - 0.5)
    radius = max(2, round(GUIDE_RADIUS * palm * scale))
    matte[top:bottom, left:right] = apply_guided_filter(cut, small, part, radius, GUIDE_EPSILON)
    return matte


def _cut_along_edges(picture: Image, points: Points) -> Matte:
    """The cut on its small raster of square pixels."""
    shape = picture.shape[:2]
    forearm = points[WRIST] + FOREARM_LENGTH * (points[WRIST] - points[MIDDLE_KNUCKLE])
    possible = np.maximum(
        _draw_bones(points, POSSIBLE_RADIUS, shape),
        _draw_line(points[WRIST], forearm, POSSIBLE_RADIUS * measure_palm(points), shape),
    )
    palm = draw_convex_hull(points[list(PALM_POINTS)], Window(0, 0, shape[1], shape[0]))
    sure = np.maximum(palm, _draw_bones(points, SURE_RADIUS, shape, FINGER_BONES)) > HALF_COVERED
    likely = np.maximum(palm, _draw_bones(points, LIKELY_RADIUS, shape)) > HALF_COVERED
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    labels[np.maximum(palm, possible) > HALF_COVERED] = cv2.GC_PR_BGD
    labels[likely] = cv2.GC_PR_FGD
    labels[sure] = cv2.GC_FGD
    if sure.any() and (labels == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)  # of this thread: the colour models start at random
        models = np.zeros((1, COLOUR_MODEL_SIZE)), np.zeros((1, COLOUR_MODEL_SIZE))
        levels = np.asarray(np.clip(picture, 0, 1) * FULL_8BIT + 0.5, np.uint8)
        cv2.grabCut(levels, labels, NO_RECTANGLE, models[0], models[1], CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    hand = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(hand, (0, 0), CUT_BLUR))


def _draw_bones(
    points: Points, radius: float, shape: tuple[int, ...], bones: Sequence[tuple[int, int]] = BONES
) -> Matte:
    """Capsules along bones; radius: of the palm."""
    thickness = radius * measure_palm(points)
    matte = np.zeros(shape, np.float32)
    for start, end in bones:
        matte = np.maximum(matte, _draw_line(points[start], points[end], thickness, shape))
    return matte


def _draw_line(start: Vector, end: Vector, radius: float, shape: tuple[int, ...]) -> Matte:
    matte = np.zeros(shape, np.uint8)
    ends = [tuple(round(v * SUBPIXEL_STEPS) for v in point) for point in (start, end)]
    cv2.line(matte, ends[0], ends[1], 255, max(1, round(2 * radius)), cv2.LINE_AA, SUBPIXEL_BITS)
    return matte.astype(np.float32) / np.float32(FULL_8BIT)


def add_hands(measured: Plate, hands: Sequence[HandMatte], hull: Matte, occlusions: float) -> Plate:
    """Put hands in front of measured mattes.

    What was measured without them is kept in further channels, with the mattes of the hands, for `combine_hands`.

    Args:
        measured: The mattes of one frame by itself.
        hands: `measure_hand_mattes` of that frame.
        hull: On the region: where the face is.
        occlusions: As the parameter `mask.occlusions`.
    """
    if not hands:
        return measured
    shown = merge_hands(hands, hull)
    mattes = {name: measured.get_matte(name) for name in measured.channels}
    covered = cover_by_hands(mattes, shown, hull, occlusions)
    channels = (*measured.channels, *BEHIND_CHANNELS, *HAND_CHANNELS[: len(hands)])
    pixels = [
        *(covered[name] for name in measured.channels),
        *(mattes[name] for name in COVERED_MATTES),
        *(hand.matte for hand in hands),
    ]
    text = json.dumps([[hand.presence, hand.points.tolist()] for hand in hands])
    return replace(
        measured,
        pixels=stack_planes(pixels),
        channels=channels,
        metadata={**measured.metadata, META_HANDS: text},
    )


def merge_hands(hands: Sequence[HandMatte], hull: Matte) -> Matte:
    """Merge the hands of one frame by itself to one matte, shaped as `hull`; doubtful ones count less."""
    mattes = [np.float32(_compute_certainty(hand.presence)) * hand.matte for hand in hands]
    return np.asarray(np.max([np.zeros_like(hull), *mattes], axis=0), np.float32)


def remove_hands(measured: Plate) -> Plate:
    """Give back what was measured without hands."""
    if META_HANDS not in measured.metadata:
        return measured
    channels = tuple(name for name in measured.channels if name not in BEHIND_CHANNELS + HAND_CHANNELS)
    behind = dict(zip(COVERED_MATTES, BEHIND_CHANNELS, strict=True))
    metadata = {name: value for name, value in measured.metadata.items() if name != META_HANDS}
    pixels = measured.get(*(behind.get(name, name) for name in channels))
    return replace(measured, pixels=pixels, channels=channels, metadata=metadata)


def cover_by_hands(mattes: Mapping[str, Matte], hands: Matte, hull: Matte, occlusions: float) -> dict[str, Matte]:
    """Adds hands to matte.occlusion and takes them out of matte.face; arguments as for `add_hands`."""
    hands = hands * hull
    return {
        **mattes,
        MATTE_FACE: mattes[MATTE_FACE] * (1 - np.float32(occlusions) * hands),
        MATTE_OCCLUSION: np.maximum(mattes[MATTE_OCCLUSION], hands),
    }


def combine_hands(frame: FaceFrame, neighbours: Sequence[tuple[Face, Plate]], weights: Sequence[float]) -> Matte | None:
    """Combine the hands that neighbouring frames show to those of one frame.

    Args:
        frame: The frame.
        neighbours: Face and measured mattes of the frames to combine, this frame among them.
        weights: Of each of these.

    Returns:
        Coverage on the region; None if no frame shows a hand.
    """
    seen = {face.frame: _read_hands(measured) for face, measured in neighbours}
    if not any(seen.values()):
        return None
    windows = {face.frame: measured.data_window for face, measured in neighbours}
    weight = {face.frame: w for (face, _), w in zip(neighbours, weights, strict=True)}
    result = np.zeros((frame.region.height, frame.region.width), np.float32)
    for points, hands_by_frame in _follow_hands(frame.face.frame, seen):
        presence = sum(weight[number] * hand.presence for number, hand in hands_by_frame.items()) / sum(weight.values())
        certainty = _compute_certainty(presence)
        own = hands_by_frame.get(frame.face.frame)
        if certainty <= 0 or (own is not None and not own.matte.any()):
            continue
        total, sum_of_weights = np.zeros_like(result), 0.0
        for number, hand in hands_by_frame.items():
            if not hand.matte.any():  # away from the face it was not cut out
                continue
            carried, misfit = _carry_hand(hand, windows[number], points, frame.region, frame.pixel_aspect)
            share = weight[number] * float(np.exp(-0.5 * (misfit / CHANGED_HAND) ** 2))
            total += np.float32(share) * carried
            sum_of_weights += share
        mean = total / np.float32(max(sum_of_weights, MIN_WEIGHT))
        edge = ease_between(mean, *EDGE_RANGE).astype(np.float32)
        result = np.maximum(result, np.float32(certainty) * edge)
    return result


def _compute_certainty(presence: float) -> float:
    return float(ease_between(presence, NO_HAND, HAND))


def _read_hands(measured: Plate) -> list[HandMatte]:
    listed = parse_json(str(measured.metadata.get(META_HANDS, "[]")))
    return [
        HandMatte(np.array(points), presence, measured.get_matte(name))
        for (presence, points), name in zip(listed, HAND_CHANNELS, strict=False)
    ]


def _follow_hands(frame: int, seen: Mapping[int, Sequence[HandMatte]]) -> Iterator[tuple[Points, dict[int, HandMatte]]]:
    """Each hand of a frame: its points there, and which hand it is in the frames that show it.

    A hand that the frame itself does not show, but the nearest frames before and after do, is between these two.
    """
    taken: set[int] = set()
    for hand in seen.get(frame, ()):
        hands_by_frame = {
            number: near
            for number, hands in seen.items()
            if (near := hand if number == frame else _find_nearest(hand.points, hands, number - frame)) is not None
        }
        taken |= {id(one) for one in hands_by_frame.values()}
        yield hand.points, hands_by_frame
    before = max((number for number, hands in seen.items() if number < frame and hands), default=None)
    after = min((number for number, hands in seen.items() if number > frame and hands), default=None)
    if before is None or after is None:
        return
    for hand in seen[before]:
        later = _find_nearest(hand.points, seen[after], after - before)
        if later is None or id(hand) in taken or id(later) in taken:
            continue
        points = hand.points + (frame - before) / (after - before) * (later.points - hand.points)
        others = {
            number: near
            for number, hands in seen.items()
            if number != frame and (near := _find_nearest(points, hands, number - frame)) is not None
        }
        yield points, others


def _find_nearest(points: Points, hands: Sequence[HandMatte], gap: int) -> HandMatte | None:
    """The hand nearest to where one is `gap` frames away; None if none is near."""
    reach = MATCH_REACH * measure_palm(points) * min(abs(gap), MATCH_FRAMES)
    middle = points[list(PALM_POINTS)].mean(0)
    distances = [float(np.linalg.norm(hand.points[list(PALM_POINTS)].mean(0) - middle)) for hand in hands]
    best = int(np.argmin(distances)) if distances else -1
    return hands[best] if distances and distances[best] <= reach else None


def _carry_hand(hand: HandMatte, window: Window, points: Points, region: Window, aspect: float) -> tuple[Matte, float]:
    """A hand's matte moved to where its points are in another frame, and how far they miss, as a share of the palm."""
    if points is hand.points and window == region:
        return hand.matte, 0.0
    square = (aspect, 1.0)
    move = fit_similarity(points * square, hand.points * square)
    moved = points * square @ move[:, :2].T + move[:, 2]
    misfit = float(np.sqrt(((moved - hand.points * square) ** 2).sum(1).mean())) / measure_palm(hand.points * square)
    return move_picture(hand.matte, window, move, region, aspect), misfit
