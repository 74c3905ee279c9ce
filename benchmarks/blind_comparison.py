"""Pictures and movies for somebody who judges two results without knowing which is which."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.faces.geometry import Box
from fsgan_core.plates.movies.movie_writer import write_movie
from fsgan_core.report.contact_sheet import BeforeAfter, draw_text, make_canvas, write_picture
from fsgan_core.runtime.arrays import Image8
from fsgan_core.runtime.sampling import sample_evenly

STILLS = 4
"""Frames of a pair that are shown as stills."""
CROP_SCALE = 1.6  # side of a crop over that of the face's box
MIN_SIDE = 320  # pixels; smaller crops are enlarged, all alike
MOVIE_FPS = 12.0  # half speed, so that one can see what happens
MOVIE_REPEATS = 2
SLICE_HEIGHTS = (0.36, 0.76)  # of the face's box, from its top: eyes and mouth
MIN_SLICE_FRAMES = 12
NEIGHBOURS = 8
"""Frames in a row that are shown beside each other."""
NEIGHBOUR_SIDE = 240  # pixels


def crop_square(picture: Image8, centre: Sequence[float], side: float) -> Image8:
    """Cut out the square around a point, on whole pixels; dark outside the picture."""
    size = max(16, round(side))
    x, y = round(centre[0] - size / 2), round(centre[1] - size / 2)
    crop = make_canvas(size, size)
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + size), min(height, y + size)
    if x1 > x0 and y1 > y0:
        crop[y0 - y : y1 - y, x0 - x : x1 - x] = picture[y0:y1, x0:x1]
    return crop


def write_comparison(
    output: Path,
    pair: str,
    frames: Sequence[int],
    read_old: Callable[[Sequence[int]], list[BeforeAfter]],
    read_new: Callable[[Sequence[int]], list[BeforeAfter]],
    person: Image8 | None = None,
) -> None:
    """Write one pair under a number that tells nothing, and add to key.json which of A and B is the new one.

    Args:
        output: Folder; the judge gets its subfolder `judge` only.
        pair: Name of the pair.
        frames: Frames that both results have.
        read_old: Reads frames of target and older result.
        read_new: Likewise, the newer result.
        person: The person whose face it shall be.
    """
    judge, key_path = output / "judge", output / "key.json"
    judge.mkdir(parents=True, exist_ok=True)
    key = json.loads(key_path.read_text(encoding="utf-8")) if key_path.is_file() else {}
    chance = random.SystemRandom()
    known = {entry["pair"]: number for number, entry in key.items()}
    number = known.get(pair)
    if number is None:
        number = chance.choice([text for text in (f"{n:03d}" for n in range(100, 1000)) if text not in key])
    swapped = chance.random() < 0.5
    readers = (read_new, read_old) if swapped else (read_old, read_new)
    stills = [frames[place] for place in sample_evenly(len(frames), STILLS)]
    rows = [_make_row(a, b) for a, b in zip(readers[0](stills), readers[1](stills), strict=True)]
    write_picture(judge / f"{number}.png", _stack([_make_head(rows[0].shape[1], person), *rows]))
    if len(frames) > 1:
        looks = readers[0](frames), readers[1](frames)
        place = _find_common_box([*looks[0], *looks[1]])  # the crop stands still, so that only the face moves
        film = [_make_row(a, b, place) for a, b in zip(*looks, strict=True)]
        _write_movie(film, judge / f"{number}.mp4")
    if len(frames) >= MIN_SLICE_FRAMES:
        write_picture(judge / f"{number}_slices.png", _make_slices(readers[0](frames), readers[1](frames)))
    if len(frames) >= NEIGHBOURS:
        first = (len(frames) - NEIGHBOURS) // 2
        write_picture(judge / f"{number}_neighbours.png", _make_neighbours(film[first : first + NEIGHBOURS]))
    key[number] = {"pair": pair, "A": "new" if swapped else "old", "B": "old" if swapped else "new"}
    key_path.write_text(json.dumps(dict(sorted(key.items())), indent=1) + "\n", encoding="utf-8")


def _make_head(width: int, person: Image8 | None) -> Image8:
    head = make_canvas(30, width)
    for place, text in enumerate(("target", "A", "B")):
        draw_text(head, text, (place * width // 3 + 8, 22), 0.7)
    if person is None:
        return head
    shown = make_canvas(person.shape[0] + 30, width)
    draw_text(shown, "the person whose face it shall be", (8, 22), 0.7)
    shown[30:, : min(width, person.shape[1])] = person[:, :width]
    return np.concatenate([shown, head])


def _find_common_box(looks: Sequence[BeforeAfter]) -> Box | None:
    """The square around the face's boxes in all frames; None if there is none."""
    boxes = np.array([look.face_box for look in looks if look.face_box is not None])
    if not len(boxes):
        return None
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    side = max(float((high - low).max()), float(boxes[:, 2:].max()))
    x, y = (low + high - side) / 2
    return (float(x), float(y), side, side)


def _make_row(a: BeforeAfter, b: BeforeAfter, place: Box | None = None) -> Image8:
    """Target, A and B around the face, or around a given box, side by side at one scale."""
    box = place or b.face_box or a.face_box or (0.0, 0.0, float(a.before.shape[1]), float(a.before.shape[0]))
    centre, side = (box[0] + box[2] / 2, box[1] + box[3] / 2), max(box[2], box[3]) * CROP_SCALE
    row = np.concatenate([crop_square(picture, centre, side) for picture in (a.before, a.after, b.after)], axis=1)
    zoom = max(1, round(MIN_SIDE / row.shape[0] + 0.3))
    return row if zoom == 1 else np.asarray(cv2.resize(row, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC))


def _stack(rows: Sequence[Image8]) -> Image8:
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [np.concatenate([row, make_canvas(row.shape[0], width - row.shape[1])], axis=1) for row in rows]
    )


def _make_slices(a: Sequence[BeforeAfter], b: Sequence[BeforeAfter]) -> Image8:
    """One line of pixels through the eyes and one through the mouth, frame below frame; flicker shows as stripes."""
    found = []
    for height in SLICE_HEIGHTS:
        columns = []
        for looks, attribute in ((a, "before"), (a, "after"), (b, "after")):
            lines = []
            for look, other in zip(looks, b, strict=True):
                box = other.face_box or look.face_box
                if box is None:
                    continue
                picture = getattr(look, attribute)
                y = min(max(round(box[1] + height * box[3]), 0), picture.shape[0] - 1)
                centre = (box[0] + box[2] / 2, float(y))
                strip = crop_square(picture, centre, box[2] * 1.2)
                line = strip[strip.shape[0] // 2][None]
                lines.append(cv2.resize(line, (360, 6), interpolation=cv2.INTER_LINEAR))
            columns.append(np.concatenate(lines))
        found.append(np.concatenate(columns, axis=1))
    return _stack([_make_head(found[0].shape[1], None), found[0], make_canvas(12, found[0].shape[1]), found[1]])


def _make_neighbours(film: Sequence[Image8]) -> Image8:
    """Frames of the film in a row, each as a column: target, A and B below each other."""
    side = (NEIGHBOUR_SIDE, NEIGHBOUR_SIDE)
    columns = [
        np.concatenate(
            [cv2.resize(part, side, interpolation=cv2.INTER_AREA) for part in np.array_split(row, 3, axis=1)]
        )
        for row in film
    ]
    return np.concatenate(columns, axis=1)


def _write_movie(rows: Sequence[Image8], path: Path) -> None:
    """Write rows as a movie, shown twice at half speed."""
    height, width = rows[0].shape[:2]
    scale = min(1.0, 1920 / width)
    size = (round(width * scale) // 2 * 2, round(height * scale) // 2 * 2)
    small = [np.asarray(cv2.resize(row, size, interpolation=cv2.INTER_AREA)) for row in rows]
    write_movie(small * MOVIE_REPEATS, path, MOVIE_FPS)
