"""The pictures of the player: every frame as small JPEGs, within a limit of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from fsgan_core.contract.errors import OutputError
from fsgan_core.plates.synthetic_mark import add_mark, make_xmp
from fsgan_core.report.looks import MIN_CHANGE, WHOLE_WIDTH, FrameLook, find_largest_channel, fit_size
from fsgan_core.runtime.arrays import AnyArray
from fsgan_core.runtime.sampling import sample_evenly

__all__ = ["DIFFERENCE_FACTOR", "MAX_PAGE_BYTES", "PlayerFrame", "PlayerFrames", "encode_jpeg", "pick_player_frames"]

MAX_PAGE_BYTES = 60_000_000
"""Bytes of a page, at most."""
RESERVED_BYTES = 4_000_000
"""Of them, for everything that is not a picture of the player."""
MAX_PLAYER_FRAMES = 240
"""Frames in the player, at most; of a longer shot they are evenly spread."""
DIFFERENCE_FACTOR = 4
"""Factor of the stored difference. More is added when it is shown."""
THUMBNAIL_WIDTH = 112
THUMBNAIL_QUALITY = 75
SYNTHETIC_PARTS = frozenset({"after", "reenacted", "completed"})
"""Pictures that show a synthesised face, so they carry the mark; thumbnails do, too."""

_SPECKS = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
_TEXT_SHARE = 3 / 4  # bytes of a picture over the characters that it takes in a page
_SAFETY = 1.1  # a frame may be larger than the first one


@dataclass(frozen=True)
class _Level:
    """How large and how fine pictures are: width of the whole, longer side of the part, JPEG quality."""

    whole: int
    part: int
    quality: int


_LEVELS = (
    _Level(WHOLE_WIDTH, 1400, 88),
    _Level(WHOLE_WIDTH, 1000, 82),
    _Level(WHOLE_WIDTH, 800, 78),
    _Level(800, 640, 72),
    _Level(640, 480, 65),
)


@dataclass(frozen=True)
class PlayerFrame:
    """The pictures of a frame, as JPEG.

    Attributes:
        number: Frame number.
        whole: The whole target.
        thumbnail: The whole result, small.
        window: Where the parts lie, as x, y, width and height in shares of the picture; None: nothing changed.
        face: The face's box, likewise.
        parts: Pictures of that part by name: "before", "after", "difference", "matte", and those of the stages.
        zoom: Pixels of a part over pixels of the plate.
    """

    number: int
    whole: bytes
    thumbnail: bytes
    window: tuple[float, float, float, float] | None = None
    face: tuple[float, float, float, float] | None = None
    parts: Mapping[str, bytes] = field(default_factory=dict)
    zoom: float = 1.0

    @property
    def size(self) -> int:
        """Bytes of all pictures."""
        return len(self.whole) + len(self.thumbnail) + sum(len(part) for part in self.parts.values())


def pick_player_frames(frames: list[int], most: int = MAX_PLAYER_FRAMES) -> list[int]:
    """Picks the frames that the player shows: all, or evenly spread ones of a long shot."""
    return [frames[place] for place in sample_evenly(len(frames), most)]


class PlayerFrames:
    """Collects the pictures of the player while frames pass, and keeps their sum below a limit.

    Args:
        wanted: Frames that the player shows.
        limit: Bytes that all pictures may have in the page.
        consent: The performer's release, for the mark; empty: none is named.
        is_synthetic: Whether a frame holds synthesised pixels; else no picture is marked.
    """

    def __init__(
        self,
        wanted: Iterable[int],
        limit: int = MAX_PAGE_BYTES - RESERVED_BYTES,
        consent: str = "",
        is_synthetic: bool = True,
    ) -> None:
        self._xmp = make_xmp(consent=consent) if is_synthetic else b""
        self._wanted = list(wanted)
        self._limit = int(limit * _TEXT_SHARE)
        self._level: _Level | None = None
        self.frames: list[PlayerFrame] = []
        self.size: tuple[int, int] = (0, 0)
        """Width and height of the plate, in square pixels."""
        self.has_matte = False
        """Whether the matte is the one that was mixed with; else it is what changed."""

    def pass_looks(self, looks: Iterable[FrameLook]) -> Iterator[FrameLook]:
        """Yields the frames as they come, and keeps the pictures of those that the player shows."""
        wanted = set(self._wanted)
        for look in looks:
            if look.number in wanted:
                self._add(look)
            yield look

    def _add(self, look: FrameLook) -> None:
        self.has_matte = self.has_matte or look.matte is not None
        if self._level is not None:
            self.frames.append(_encode_frame(look, self._level, self._xmp))
            return
        self.size = (round(look.display.width * look.pixel_aspect), look.display.height)
        # The finest level at which all frames fit, if they are like this one; else the coarsest.
        for self._level in _LEVELS:
            frame = _encode_frame(look, self._level, self._xmp)
            if frame.size * len(self._wanted) * _SAFETY <= self._limit:
                break
        self.frames.append(frame)

    def finish(self) -> list[PlayerFrame]:
        """Returns the frames. If they are too large after all, only evenly spread ones."""
        kept = self.frames
        while len(kept) > 1 and (total := sum(frame.size for frame in kept)) > self._limit:
            most = min(len(kept) - 1, max(1, int(len(kept) * self._limit / total)))
            kept = [kept[place] for place in sample_evenly(len(kept), most)]
        self.frames = kept
        return kept


def _encode_frame(look: FrameLook, level: _Level, xmp: bytes) -> PlayerFrame:
    whole = _shrink(look.before, fit_size(look.before.shape[1], look.before.shape[0], level.whole))
    small = _shrink(look.after, fit_size(look.after.shape[1], look.after.shape[0], THUMBNAIL_WIDTH))
    encoded = encode_jpeg(whole, level.quality)
    thumbnail = encode_jpeg(small, THUMBNAIL_QUALITY, xmp)
    display = look.display
    face = None
    if look.face_box is not None:
        x, y, width, height = look.face_box
        face = (
            (x - display.x) / display.width,
            (y - display.y) / display.height,
            width / display.width,
            height / display.height,
        )
    window = look.relative_window
    if window is None:
        return PlayerFrame(look.number, encoded, thumbnail, face=face)
    height, width = look.part_before.shape[:2]
    across = max(1, round(width * look.pixel_aspect))
    scale = min(1.0, level.part / max(across, height))
    size = (max(1, round(across * scale)), max(1, round(height * scale)))
    difference: AnyArray = cv2.absdiff(look.part_after, look.part_before)
    pictures: dict[str, AnyArray] = {
        "before": look.part_before,
        "after": look.part_after,
        "difference": cv2.convertScaleAbs(difference, alpha=DIFFERENCE_FACTOR),
        "matte": _draw_matte(look, difference),
        **look.pictures,
    }
    parts = {
        name: encode_jpeg(_shrink(picture, size), level.quality, xmp if name in SYNTHETIC_PARTS else b"")
        for name, picture in pictures.items()
    }
    return PlayerFrame(look.number, encoded, thumbnail, window, face, parts, scale)


def _draw_matte(look: FrameLook, difference: AnyArray) -> AnyArray:
    if look.matte is not None:
        return np.asarray(np.rint(np.clip(np.nan_to_num(look.matte), 0, 1) * 255), np.uint8)
    changed = np.where(find_largest_channel(difference) > MIN_CHANGE, 255, 0).astype(np.uint8)
    return cv2.morphologyEx(changed, cv2.MORPH_CLOSE, _SPECKS)  # single pixels happen to be equal


def _shrink(picture: AnyArray, size: tuple[int, int]) -> AnyArray:
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    smaller = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def encode_jpeg(picture: AnyArray, quality: int, mark: bytes = b"") -> bytes:
    """Encodes a picture, RGB or one channel, as JPEG; `mark` is the XMP packet of one that shows a synthesised face.

    Raises:
        OutputError: It cannot be encoded.
    """
    ordered = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, encoded = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OutputError(f"a picture of {picture.shape[1]}x{picture.shape[0]} pixels could not be encoded as JPEG")
    return add_mark(encoded.tobytes(), mark) if mark else encoded.tobytes()
