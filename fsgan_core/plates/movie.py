"""Movies through OpenCV: any frame, exactly, by its number from 1.

A movie's own frame count and its seeking cannot be trusted (B-frames, variable rates, broken containers). So a
movie is decoded once from end to end; that gives the true count, each frame's time stamp and a checksum of its
pixels. A later seek is believed only when stamp and checksum agree, else the movie is decoded from its start:
reading at random gives the same pixels as reading in order.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB
from fsgan_core.plates.image_file import check_readable
from fsgan_core.plates.plate import Plate, TypedValue, Window
from fsgan_core.runtime.memory import register_cache

# FFmpeg and OpenCV print a line for every damaged packet and every file that is not a movie. Our exceptions and the log
# say what matters. The variable set in plates/__init__.py has no effect if OpenCV was loaded before.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if os.environ.get("OPENCV_LOG_LEVEL") == "ERROR":
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

log = logging.getLogger(__name__)

MOVIE_SUFFIXES = frozenset(
    {
        ".mp4",
        ".mov",
        ".m4v",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".mxf",
        ".mts",
        ".m2ts",
        ".ts",
        ".wmv",
        ".flv",
        ".ogv",
        ".3gp",
    }
)
# Decoded frames kept for readers that run in threads and ask a little out of order.
_CACHE_BYTES = 96 * 2**20
_CACHED_BEHIND = 4
# A seek costs up to a group of pictures; below this distance decoding on is cheaper.
_SEEK_DISTANCE = 48
_SEEK_MARGIN = 12
# Eight rows are the smallest block of a codec, so damage to any block shows in this share of the rows.
_CHECKSUM_ROW_STEP = 8


@dataclass(frozen=True)
class MovieIndex:
    """What one decoding from end to end told. stamps: milliseconds; checks: CRC-32 of every 8th row."""

    digest: str
    timestamps: tuple[float, ...]
    checksums: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.timestamps)


class Movie:
    """A movie file. Frames are numbered from 1; `read` may be called from any thread.

    Pixels are float32 RGB in 0..1 (8 bits, as OpenCV decodes them), turned upright as the file says; the colour
    space is sRGB unless the user knows better. Raises PlateError when the file is no movie or has no frames.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        check_readable(self.path)
        self._lock = threading.RLock()
        self._cached_frames: OrderedDict[int, np.ndarray] = OrderedDict()
        self._capture = self._open_capture()
        self._position = -1
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = _replace_invalid(self._capture.get(cv2.CAP_PROP_FPS), 25.0)
        self.pixel_aspect = _read_pixel_aspect(self._capture)
        self.index = self._load_index()

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(range(1, self.index.count + 1))

    @property
    def digest(self) -> str:
        """Hash of the file's bytes."""
        return self.index.digest

    def read(self, frame: int) -> Plate:
        """Raises PlateError for a frame outside 1..count, or when the file changes while it is read."""
        if not 1 <= frame <= self.index.count:
            raise PlateError(f"{self.path} has frames 1 to {self.index.count}; there is no frame {frame}")
        with self._lock:
            picture = self._get_frame(frame - 1)
        pixels = np.ascontiguousarray(picture[..., ::-1]).astype(np.float32) / np.float32(255.0)
        window = Window(0, 0, picture.shape[1], picture.shape[0])
        return Plate(pixels, RGB, window, window, self.pixel_aspect, self._build_metadata(), ("uint8",) * 3)

    def close(self) -> None:
        with self._lock:
            self._capture.release()
            self._cached_frames.clear()

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build_metadata(self) -> Mapping[str, Any]:
        rate = Fraction(self.fps).limit_denominator(1001)
        return {"framesPerSecond": TypedValue("rational", (rate.numerator, rate.denominator))}

    def _open_capture(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise PlateError(
                f"{self.path} cannot be read as a movie; it is damaged, or of a kind that this build of "
                "OpenCV does not decode. Convert it to an image sequence"
            )
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture

    def _restart(self) -> None:
        self._capture.release()
        self._capture = self._open_capture()
        self._position = -1

    def _load_index(self) -> MovieIndex:
        digest = get_content_digest(self.path)
        with _index_lock:
            if digest not in _indexes:
                _indexes[digest] = self._decode_all(digest)
                self._restart()
            return _indexes[digest]

    def _decode_all(self, digest: str) -> MovieIndex:
        stamps, checks = [], []
        said = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        while self._capture.grab():
            done, picture = self._capture.retrieve()
            if not done:
                break
            stamps.append(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            checks.append(_compute_checksum(picture))
        if not stamps:
            raise PlateError(f"{self.path} has no frame that can be decoded")
        if said > 0 and int(said) != len(stamps):
            log.warning("%s says that it has %d frames; %d can be decoded", self.path, said, len(stamps))
        return MovieIndex(digest, tuple(stamps), tuple(checks))

    def _get_frame(self, wanted: int) -> np.ndarray:
        """uint8 BGR of frame `wanted` from 0."""
        if wanted in self._cached_frames:
            self._cached_frames.move_to_end(wanted)
            return self._cached_frames[wanted]
        near = 0 < wanted - self._position <= _SEEK_DISTANCE
        if not (near or (wanted > _SEEK_DISTANCE and self._seek(wanted))):
            self._restart()
        if not self._advance_to(wanted):
            self._restart()
            if not self._advance_to(wanted):
                raise PlateError(
                    f"{self.path}: frame {wanted + 1} does not decode as it did before; "
                    "did the file change while it was read?"
                )
        return self._cached_frames[wanted]

    def _seek(self, wanted: int) -> bool:
        """Somewhere shortly before `wanted`, known by its stamp; False when the file does not allow it."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, max(0, wanted - _SEEK_MARGIN))
        if not self._capture.grab():
            return False
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        places = [place for place, known in enumerate(self.index.timestamps) if known == stamp]
        if len(places) != 1 or places[0] >= wanted:
            return False
        self._position = places[0]
        return True

    def _advance_to(self, wanted: int) -> bool:
        """Decodes up to `wanted` and keeps it with its last few forerunners. False when a check fails."""
        while self._position < wanted:
            if not self._capture.grab():
                return False
            self._position += 1
            if self._position > wanted - _CACHED_BEHIND:
                done, picture = self._capture.retrieve()
                if not done or _compute_checksum(picture) != self.index.checksums[self._position]:
                    return False
                self._cache_frame(self._position, picture)
        return wanted in self._cached_frames

    def _cache_frame(self, place: int, picture: np.ndarray) -> None:
        self._cached_frames[place] = picture
        self._cached_frames.move_to_end(place)
        while len(self._cached_frames) > max(_CACHED_BEHIND + 1, _CACHE_BYTES // max(1, picture.nbytes)):
            self._cached_frames.popitem(last=False)


# By content, so that the same movie opened again in one process is not decoded again.
_indexes: dict[str, MovieIndex] = {}
_index_lock = threading.Lock()


# Digests by path and state: who renders the same shot again in one process reads no file twice for its digest.
_digests: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()
_MAX_DIGESTS = 100_000
_digest_lock = threading.Lock()

register_cache(_indexes.clear)
register_cache(_digests.clear)


def get_content_digest(path: Path) -> str:
    """`file_digest`, remembered for as long as size, time and inode stay what they are. Raises PlateError."""
    try:
        state = path.stat()
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    key = (str(path), state.st_size, state.st_mtime_ns, state.st_ino)
    with _digest_lock:
        known = _digests.get(key)
    if known is None:
        known = compute_file_digest(path)
        with _digest_lock:
            _digests[key] = known
            while len(_digests) > _MAX_DIGESTS:
                _digests.popitem(last=False)
    return known


def compute_file_digest(path: Path) -> str:
    """blake2b of the file's bytes, 32 hexadecimal digits. Raises PlateError."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _compute_checksum(picture: np.ndarray) -> int:
    return zlib.crc32(picture[::_CHECKSUM_ROW_STEP].tobytes())


def _replace_invalid(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) and value > 0 else otherwise


def _read_pixel_aspect(capture: cv2.VideoCapture) -> float:
    across = _replace_invalid(capture.get(cv2.CAP_PROP_SAR_NUM), 1.0)
    down = _replace_invalid(capture.get(cv2.CAP_PROP_SAR_DEN), 1.0)
    turned = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return down / across if turned else across / down
