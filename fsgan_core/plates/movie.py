"""Reads movies through OpenCV: any frame, exactly, by its number from 1.

A movie's frame count and seeking cannot be trusted (B-frames, variable rates, broken containers). So a movie is decoded
once from start to end, which gives the true count, and a time stamp and a checksum of each frame. A later seek counts
only if stamp and checksum agree; otherwise the movie is decoded from its start. So frames have the same pixels in
whatever order they are read.
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
from typing import Any, cast

import cv2
import numpy as np

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB
from fsgan_core.plates.image_file import check_readable
from fsgan_core.plates.plate import Plate, TypedValue, Window
from fsgan_core.runtime.arrays import Image8
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
# Decoded frames are kept for threads that read a little out of order.
_CACHE_BYTES = 96 * 2**20
_CACHED_BEHIND = 4
# A seek decodes up to a group of pictures; below this many frames it is cheaper to decode on.
_SEEK_DISTANCE = 48
_SEEK_MARGIN = 12
# The smallest block of a codec has eight rows, so damage to any block shows in every eighth row.
_CHECKSUM_ROW_STEP = 8


@dataclass(frozen=True)
class MovieIndex:
    """Result of one decoding from start to end.

    Attributes:
        digest: Digest of the file.
        timestamps: Time of each frame in milliseconds.
        checksums: CRC-32 of every 8th row of each frame.
    """

    digest: str
    timestamps: tuple[float, ...]
    checksums: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.timestamps)


class Movie:
    """A movie file. Frames are numbered from 1; `read` may be called from any thread.

    Pixels are RGB in 0..1 (8 bits, as OpenCV decodes them), turned upright as the file says. Their colour space is sRGB
    unless the clip names another one.

    Args:
        path: The file. Raises PlateError if it is not a movie or has no frames.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        check_readable(self.path)
        self._lock = threading.RLock()
        self._cached_frames: OrderedDict[int, Image8] = OrderedDict()
        self._capture = self._open_capture()
        self._position = -1
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.fps = _replace_invalid(self._capture.get(cv2.CAP_PROP_FPS), 25.0)
        self.pixel_aspect = _read_pixel_aspect(self._capture)
        self.index = self._load_index()

    @property
    def frames(self) -> tuple[int, ...]:
        """Frame numbers, from 1."""
        return tuple(range(1, self.index.count + 1))

    @property
    def digest(self) -> str:
        """Digest of the file."""
        return self.index.digest

    def read(self, frame: int) -> Plate:
        """Decodes a frame. Raises PlateError if it does not exist, or if the file changes while it is read."""
        if not 1 <= frame <= self.index.count:
            raise PlateError(f"{self.path} has frames 1 to {self.index.count}; there is no frame {frame}")
        with self._lock:
            picture = self._get_frame(frame - 1)
        pixels = np.ascontiguousarray(picture[..., ::-1]).astype(np.float32) / np.float32(255.0)
        window = Window(0, 0, picture.shape[1], picture.shape[0])
        return Plate(pixels, RGB, window, window, self.pixel_aspect, self._build_metadata(), ("uint8",) * 3)

    def close(self) -> None:
        """Closes the file and drops cached frames."""
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
                f"{self.path} cannot be read as a movie; it is damaged, or this build of OpenCV does not support its "
                "format. Convert it to an image sequence"
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
            checks.append(_compute_checksum(cast("Image8", picture)))
        if not stamps:
            raise PlateError(f"{self.path} has no frame that can be decoded")
        if said > 0 and int(said) != len(stamps):
            log.warning("%s claims to have %d frames; %d can be decoded", self.path, said, len(stamps))
        return MovieIndex(digest, tuple(stamps), tuple(checks))

    def _get_frame(self, wanted: int) -> Image8:
        """Decodes frame `wanted`, counted from 0, as BGR."""
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
        """Seeks to a frame shortly before `wanted`, identified by its time stamp; False if that fails."""
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
        """Decodes up to `wanted` and caches it with the frames just before it. False if a checksum differs."""
        while self._position < wanted:
            if not self._capture.grab():
                return False
            self._position += 1
            if self._position > wanted - _CACHED_BEHIND:
                done, picture = self._capture.retrieve()
                frame = cast("Image8", picture)
                if not done or _compute_checksum(frame) != self.index.checksums[self._position]:
                    return False
                self._cache_frame(self._position, frame)
        return wanted in self._cached_frames

    def _cache_frame(self, place: int, picture: Image8) -> None:
        self._cached_frames[place] = picture
        self._cached_frames.move_to_end(place)
        while len(self._cached_frames) > max(_CACHED_BEHIND + 1, _CACHE_BYTES // max(1, picture.nbytes)):
            self._cached_frames.popitem(last=False)


# File digest -> index, so that a movie that is opened again in this process is not decoded again.
_indexes: dict[str, MovieIndex] = {}
_index_lock = threading.Lock()


# (path, size, time, inode) -> digest, so that a second render in this process does not read all files again.
_digests: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()
_MAX_DIGESTS = 100_000
_digest_lock = threading.Lock()

register_cache(_indexes.clear)
register_cache(_digests.clear)


def get_content_digest(path: Path) -> str:
    """Gives the digest of a file, cached until its size, time or inode changes. Raises PlateError."""
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
    """Computes the BLAKE2b digest of a file, 32 hexadecimal digits. Raises PlateError."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _compute_checksum(picture: Image8) -> int:
    return zlib.crc32(picture[::_CHECKSUM_ROW_STEP].tobytes())


def _replace_invalid(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) and value > 0 else otherwise


def _read_pixel_aspect(capture: cv2.VideoCapture) -> float:
    across = _replace_invalid(capture.get(cv2.CAP_PROP_SAR_NUM), 1.0)
    down = _replace_invalid(capture.get(cv2.CAP_PROP_SAR_DEN), 1.0)
    turned = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return down / across if turned else across / down
