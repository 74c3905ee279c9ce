"""The pictures of a report: a contact sheet and a preview movie.

Pictures here are uint8 RGB, sRGB. `read_before_after` brings frames of target and result there; the rest lays them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.clips.inputs import ClipInput, check_rgb
from fsgan_core.contract.errors import OutputError
from fsgan_core.contract.layers import META_COLORSPACE, META_FACE, META_FLAGS, RGB
from fsgan_core.faces.geometry import Box
from fsgan_core.plates.c2pa_manifest import embed_manifest
from fsgan_core.plates.colour import ColourConfig
from fsgan_core.plates.movies.movie_writer import PREVIEW_CODECS, MovieCodec, write_movie
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.synthetic_mark import add_mark, make_xmp
from fsgan_core.runtime.arrays import AnyArray, Image8
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.sampling import sample_evenly

__all__ = [
    "BeforeAfter",
    "draw_text",
    "make_canvas",
    "pick_even_frames",
    "read_before_after",
    "write_contact_sheet",
    "write_picture",
    "write_preview_movie",
]

SHEET_FRAMES = 6
"""Frames on a contact sheet."""

_GAP = 8
_CANVAS_COLOUR = (24, 24, 27)
_TEXT_COLOUR, _WARNING_COLOUR = (235, 235, 235), (255, 190, 90)
_WHOLE_WIDTH = 480  # width that a whole picture gets on the sheet: half of what a report keeps of it
_CROP_SIDES = (320, 640)  # least and largest side of a face crop
_CROP_MARGIN = 1.7  # side of the crop over that of the face's box
_LABEL_WIDTH, _LABEL_HEIGHT = 240, 36  # of a label in the movie
# Of a JPEG; colours as fine as light, because lips and eyes are judged by them.
_QUALITY = (
    *(cv2.IMWRITE_JPEG_QUALITY, 92),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_MOVIE_WIDTH = 1920  # both pictures together, at most


@dataclass(frozen=True)
class BeforeAfter:
    """One frame before and after.

    Attributes:
        number: Frame number.
        before: Frame of the target.
        after: Frame of the result, of equal size.
        face_box: The face, (x, y, width, height) in array pixels (of `parts`, if there are any), or None.
        flags: Flags that the render set on the frame.
        parts: The surroundings of the face before and after at full size, if `before` and `after` are smaller.
    """

    number: int
    before: Image8
    after: Image8
    face_box: Box | None = None
    flags: str = ""
    parts: tuple[Image8, Image8] | None = None


def pick_even_frames(frames: Sequence[int], count: int = SHEET_FRAMES) -> list[int]:
    """Picks up to `count` of the frames, evenly spread, first and last among them.

    >>> pick_even_frames(range(1001, 1011), 4)
    [1001, 1004, 1007, 1010]
    """
    return [frames[place] for place in sample_evenly(len(frames), count)]


def read_before_after(
    target: ClipInput, result: ClipInput, frames: Iterable[int], config: ColourConfig, exposure: float = 0.0
) -> Iterator[BeforeAfter]:
    """Reads frames of target and result on the display window, in square pixels.

    Args:
        target: The clip that was changed.
        result: The clip with the new face; its metadata says where the face is.
        frames: Frame numbers.
        config: OCIO config.
        exposure: Stops, for scene-linear clips.

    Raises:
        PlateError: A frame cannot be read.
        ColourError: A colour space is unknown.
    """
    for frame in frames:
        before, after = target.sequence.read(frame), result.sequence.read(frame)
        check_rgb(before, str(target.sequence.get_frame_path(frame)))
        check_rgb(after, str(result.sequence.get_frame_path(frame)))
        named = after.metadata.get(META_COLORSPACE)
        space = config.resolve_space(str(named)) if named and not result.clip.colorspace else result.space
        box = _read_face_box(after)
        yield BeforeAfter(
            frame,
            _to_srgb_picture(before, target.space, config, exposure),
            _to_srgb_picture(after, space, config, exposure),
            box,
            str(after.metadata.get(META_FLAGS, "")),
        )


def _to_srgb_picture(plate: Plate, space: str, config: ColourConfig, exposure: float) -> AnyArray:
    rgb = plate.crop(plate.display_window).get(*RGB)
    if exposure and config.is_scene_linear(space):
        rgb *= np.float32(2.0**exposure)
    picture = config.to_srgb8(rgb, space)
    if plate.pixel_aspect == 1.0:
        return picture
    size = (max(1, round(picture.shape[1] * plate.pixel_aspect)), picture.shape[0])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if plate.pixel_aspect < 1 else cv2.INTER_LINEAR)


def _read_face_box(plate: Plate) -> Box | None:
    try:
        x, y, width, height = (float(part) for part in str(plate.metadata.get(META_FACE, "")).split())
    except ValueError:
        return None
    window, aspect = plate.display_window, plate.pixel_aspect
    return ((x - window.x) * aspect, y - window.y, width * aspect, height)


# Contact sheet.


def write_contact_sheet(
    frames: Iterable[BeforeAfter],
    path: Path | str,
    *,
    title: str = "",
    is_synthetic: bool = True,
    made_from: Sequence[str] = (),
    consent: str = "",
) -> Path:
    """Writes a picture with a row per frame, a PNG or JPEG, and returns its path.

    A row shows the whole picture before and after, and the face before and after at full resolution (a small face
    enlarged, one larger than the crop reduced; the label says by how much). The file is
    marked, and signed if the studio signs.

    Args:
        frames: Frames to show.
        path: The file.
        title: A line above the pictures.
        is_synthetic: Whether a frame holds synthesised pixels; else the file is neither marked nor signed.
        made_from: Names of the clips, for a signed manifest.
        consent: The performer's release, for the mark; empty: none is named.

    Raises:
        OutputError: There is no frame, or the file cannot be written.
    """
    rows = [_make_sheet_row(look) for look in frames]
    if not rows:
        raise OutputError(f"cannot write {path}: there is no frame to show")
    width = max(row.shape[1] for row in rows)
    if title:
        band = make_canvas(40, width)
        draw_text(band, title, (_GAP, 28), 0.8)
        rows.insert(0, band)
    sheet = np.concatenate([_pad_row(row, width) for row in rows], axis=0)
    return write_picture(path, sheet, is_synthetic=is_synthetic, made_from=made_from, consent=consent)


def _make_sheet_row(look: BeforeAfter) -> Image8:
    wholes = [_shrink_to_fit(picture, _WHOLE_WIDTH, _CROP_SIDES[1]) for picture in (look.before, look.after)]
    names = [f"{look.number}  before", "after"]
    pictures = list(wholes)
    if look.face_box is not None:
        full_before, full_after = look.parts or (look.before, look.after)
        before, zoom = _crop_face(full_before, look.face_box)
        pictures += [before, _crop_face(full_after, look.face_box)[0]]
        names += [f"before, {zoom:.0%}", f"after, {zoom:.0%}"]
    height = max(picture.shape[0] for picture in pictures) + 30 + 2 * _GAP
    columns = []
    for picture, name in zip(pictures, names, strict=True):
        column = make_canvas(height, picture.shape[1] + 2 * _GAP)
        column[30 + _GAP : 30 + _GAP + picture.shape[0], _GAP : _GAP + picture.shape[1]] = picture
        draw_text(column, name, (_GAP, 26), 0.6)
        columns.append(column)
    row = np.concatenate(columns, axis=1)
    if look.flags:
        draw_text(row, look.flags, (_GAP + 150, 26), 0.6, _WARNING_COLOUR)
    return row


def _crop_face(picture: Image8, box: Box) -> tuple[AnyArray, float]:
    """A square around the face, and how much it is enlarged."""
    wanted = max(16, round(max(box[2], box[3]) * _CROP_MARGIN))
    zoom = 1.0
    if wanted > _CROP_SIDES[1]:
        zoom = _CROP_SIDES[1] / wanted
    elif wanted < _CROP_SIDES[0]:
        zoom = float(min(4, -(-_CROP_SIDES[0] // wanted)))
    x, y = round(box[0] + box[2] / 2 - wanted / 2), round(box[1] + box[3] / 2 - wanted / 2)
    crop = make_canvas(wanted, wanted)
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + wanted), min(height, y + wanted)
    if x1 > x0 and y1 > y0:
        crop[y0 - y : y1 - y, x0 - x : x1 - x] = picture[y0:y1, x0:x1]
    if zoom == 1.0:
        return crop, zoom
    side = round(wanted * zoom)
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_NEAREST), zoom


def _shrink_to_fit(picture: Image8, width: int, height: int) -> AnyArray:
    """Reduced to fit; never enlarged."""
    scale = min(1.0, width / picture.shape[1], height / picture.shape[0])
    if scale == 1.0:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _pad_row(row: Image8, width: int) -> Image8:
    return np.concatenate([row, make_canvas(row.shape[0], width - row.shape[1])], axis=1)


def make_canvas(height: int, width: int) -> Image8:
    """Makes an empty picture, uint8 (height, width, 3)."""
    canvas = np.empty((height, width, 3), np.uint8)
    if canvas.size:
        cv2.rectangle(canvas, (0, 0), (width, height), _CANVAS_COLOUR, cv2.FILLED)
    return canvas


def draw_text(
    picture: Image8, text: str, place: tuple[int, int], size: float, colour: tuple[int, int, int] = _TEXT_COLOUR
) -> None:
    """Draws a line of text into `picture`; `place` is the left end of its base line."""
    ascii_only = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
    cv2.putText(picture, ascii_only, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def write_picture(
    path: Path | str,
    picture: Image8,
    *,
    is_synthetic: bool = False,
    made_from: Sequence[str] = (),
    consent: str = "",
) -> Path:
    """Writes a picture as PNG or JPEG, as the file's name says, whole or not at all, and returns the path.

    A picture that shows a synthesised face is marked, and signed if the studio signs; `made_from` are the names of its
    clips, `consent` is the performer's release for the mark.

    Raises:
        OutputError: The file cannot be written.
        SigningError: The studio's certificate or key does not work.
    """
    path = Path(path)
    done, encoded = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _QUALITY)
    if not done:
        raise OutputError(
            f"cannot write {path}: the picture of {picture.shape[1]}x{picture.shape[0]} pixels could not be encoded"
        )
    with write_atomically(path) as temporary:
        content = encoded.tobytes()
        temporary.write_bytes(add_mark(content, make_xmp(consent=consent)) if is_synthetic else content)
        if is_synthetic:
            embed_manifest(temporary, title=path.name, ingredients=made_from)
    return path


# Preview movie.


def write_preview_movie(
    frames: Iterable[BeforeAfter],
    path: Path | str,
    *,
    fps: float = 24.0,
    codecs: Sequence[MovieCodec] = PREVIEW_CODECS,
    is_synthetic: bool = True,
    made_from: Sequence[str] = (),
    consent: str = "",
) -> Path:
    """Writes before and after, side by side, as a movie; holds one frame at a time.

    If `is_synthetic`, its metadata say that it shows synthesised faces, and it is signed if the studio signs.
    `made_from` are the names of its clips, `consent` is the performer's release for the mark.

    Returns:
        The path that was written.

    Raises:
        OutputError: There is no frame, no encoder works, or the file cannot be written.
    """
    pictures = (_join_side_by_side(look) for look in frames)
    return write_movie(
        pictures, path, fps, codecs=codecs, is_synthetic=is_synthetic, made_from=made_from, consent=consent
    )


def _join_side_by_side(look: BeforeAfter) -> Image8:
    """Shows both pictures, at most 1920 wide together, with even sides."""
    halves = [_shrink_to_fit(picture, _MOVIE_WIDTH // 2, 1080) for picture in (look.before, look.after)]
    picture = np.concatenate(halves, axis=1)
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    picture = np.ascontiguousarray(picture[:height, :width]) if min(height, width) else np.zeros((2, 2, 3), np.uint8)
    for x, text in ((0, f"before  {look.number}"), (halves[0].shape[1], "after")):
        _draw_outlined(picture[:_LABEL_HEIGHT, x : x + _LABEL_WIDTH], text)
    return picture


def _draw_outlined(place: Image8, text: str) -> None:
    """Draws a label with a black outline; thicker letters would be wider, and no outline of these."""
    letters = np.zeros(place.shape, np.uint8)
    draw_text(letters, text, (10, 24), 0.6, (255, 255, 255))
    outline = cv2.dilate(letters, np.ones((3, 3), np.uint8))
    drawn = place * (1 - outline / np.float32(255)) + letters * np.float32(_TEXT_COLOUR[0] / 255)
    place[:] = np.rint(np.minimum(drawn, 255))
